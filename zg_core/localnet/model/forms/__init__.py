"""Answers in a form that a prompt asks for in words.

Belongs here: reading what form is meant, and giving it. JSON schemas and tools of a request are next door.
"""
