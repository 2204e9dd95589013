"""Receipts beside what was charged for them: what an audit finds, in one shape for every backend.

Here are that shape and the sums over bills; how bills are read is each backend's own.
"""
