"""What the store knows of its databases: the schema, how SQLite is shared, and what PostgreSQL's states mean.

Nothing of what is kept in them.
"""
