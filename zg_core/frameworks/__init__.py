"""What both framework packages share: fields, clients and tool calls.

No framework is imported here.
"""
