"""What is asked for: chat, embeddings and their kind: paths, forms, counts, replies.

0G's service types live here only.
"""
