"""LangChain's tools and loaders for what is no text: images made on 0G, recordings written down, pictures in a chat.

Settings, errors and receipts are those of the chat model.
"""
