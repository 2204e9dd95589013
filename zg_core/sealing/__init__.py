"""Sealed requests and answers: HPKE to the key of an attested enclave, written once for every backend (0g-router §10).

No I/O: keys and bytes in, envelopes and bytes out. Which key is to be trusted is the attestation's affair.
"""
