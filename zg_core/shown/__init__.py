"""What others get to see: strangers' words made harmless, secrets taken out, tracebacks without local variables.

Tables of receipts and verdicts belong into `zg_core.display`, what only the command line prints into `zg_core.cli`.
"""
