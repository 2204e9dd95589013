"""What a local provider does for each type of service: what it takes, signs and bills, its jobs and its adapters.

The rules are written a second time here, from the protocol alone (services §1-§6).
"""
