"""What a database says when it cannot be used, and what to do about it."""

from __future__ import annotations

__all__ = ["MOVED", "is_the_databases", "remedy", "state_of"]

_PERMISSION = "let the database's owner grant this user what it needs, or name another user in ZEROG_STORE (store=…)"
_STANDBY = (
    "the server only reads, as after a fail-over: name the primary (target_session_attrs=read-write), or try again"
)
_STARTING = "the server is starting or stopping: wait a moment, and try again"
_CROWDED = "raise max_connections, put pgbouncer before the server, or let fewer processes share it; then try again"
# PostgreSQL's states (its appendix A) that say more than that something is wrong.
_HINTS = {"25006": _STANDBY, "57P01": _STANDBY, "57P03": _STARTING, "42501": _PERMISSION}
_HINTS |= dict.fromkeys(("53300", "QueuePool"), _CROWDED)
_WORDS = {
    "too many clients": "53300",
    "too many connections": "53300",
    "remaining connection slots": "53300",
    "no more connections allowed": "53300",  # pgbouncer
    "the database system is starting up": "57P03",
    "the database system is shutting down": "57P03",
    "session is read-only": "25006",
}
MOVED = ("25006",)
"""States of a server that is not the one to write to any more."""


def remedy(error: Exception) -> tuple[str, bool]:
    """What to do about `error`, and whether trying again may be enough."""
    usual = "check ZEROG_STORE (store=…): that the path is writable or the server runs"
    hint = _HINTS.get(state_of(error), usual)
    return hint, hint != _PERMISSION


def state_of(error: Exception) -> str:
    """PostgreSQL's word for what is wrong; of the pool, that none of its connections is free."""
    if type(error).__name__ == "TimeoutError":
        return "QueuePool"
    original = getattr(error, "orig", error)
    state = getattr(original, "sqlstate", None)
    if state is None:  # while connecting, the driver keeps only the words
        state = next((code for words, code in _WORDS.items() if words in str(original)), "")
    return str(state)


def is_the_databases(error: Exception) -> bool:
    """Whether this is a matter of the database and its settings, and not of a statement of ours."""
    from sqlalchemy.exc import DatabaseError, InterfaceError, InternalError, OperationalError
    from sqlalchemy.exc import TimeoutError as NoneFree

    if isinstance(error, OperationalError | InterfaceError | InternalError | NoneFree):
        return True
    return type(error) is DatabaseError or state_of(error) in _HINTS  # the first: SQLite's word for no database
