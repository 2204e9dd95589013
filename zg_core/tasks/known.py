"""All tasks there are: a request for anything else is refused before it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core.errors import ConfigError
from zg_core.tasks import chat, embeddings

if TYPE_CHECKING:
    from zg_core.tasks.base import Task

__all__ = ["TASKS", "task_at"]

TASKS: tuple[Task, ...] = (chat.CHAT, embeddings.EMBEDDINGS)


def task_at(path: str) -> Task:
    """The task that is asked for at `path`, below a service's endpoint.

    Raises:
        ConfigError: there is none (code ``unknown_task``); what comes from elsewhere is neither bounded nor judged.

    Example:
        >>> task_at("/chat/completions").name
        'chat'
    """
    for task in TASKS:
        if task.path == path:
            return task
    known = ", ".join(task.path for task in TASKS)
    raise ConfigError(
        f"no task is asked for at {path[:80]!r}; nothing was sent",
        code="unknown_task",
        hint=f"requests are made for {known}: their cost is bounded, their answers are judged",
    )
