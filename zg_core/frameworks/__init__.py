"""What both framework packages share: fields, arguments of calls, clients and tool calls.

No framework is imported here.
"""
