"""What stands before the local chain: an RPC endpoint that is as clumsy and hostile as those of the field, on demand.

Which faults there are, what another node would say, and how they change what is asked and answered.
"""
