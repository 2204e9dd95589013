"""OpenGradient: many vendors' models behind gateways in enclaves, paid by x402 on Base, answers signed by RSA keys.

Its wire form, its payments and what of it is proven: docs/opengradient.md.
"""
