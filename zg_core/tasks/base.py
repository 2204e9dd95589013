"""What can be asked for: every task there is, and where it is asked for. Anything else is refused before it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zg_core.errors import ConfigError

__all__ = [
    "CHAT", "EMBEDDINGS", "IMAGES", "IMAGE_EDITS", "TASKS", "TRANSCRIPTION", "Task", "task_at", "task_of",
    "task_selling",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of request.

    Attributes:
        name: ``"chat"``, ``"embeddings"``, ``"images"``, ``"image_edits"``, ``"transcription"``.
        service_type: What 0G's chain and Router call services of it.
        path: Where it is asked for, below a service's endpoint.
        form: How a request is encoded: ``"json"`` or ``"multipart"``.
        streams: Whether its answer can come as events.
        counted: What its answers are billed by: names of ``usage``, or ``("images",)``, ``("seconds",)``.
    """

    name: str
    service_type: str
    path: str
    form: Literal["json", "multipart"] = "json"
    streams: bool = False
    counted: tuple[str, ...] = ("prompt_tokens", "completion_tokens")


CHAT = Task("chat", "chatbot", "/chat/completions", streams=True)
EMBEDDINGS = Task("embeddings", "embedding", "/embeddings", counted=("prompt_tokens",))
IMAGES = Task("images", "text-to-image", "/images/generations", counted=("images",))
IMAGE_EDITS = Task("image_edits", "image-editing", "/images/edits", form="multipart", counted=("images",))
TRANSCRIPTION = Task(
    "transcription",
    "speech-to-text",
    "/audio/transcriptions",
    form="multipart",
    streams=True,
    counted=("seconds", "prompt_tokens", "completion_tokens", "words"),
)
TASKS = (CHAT, EMBEDDINGS, IMAGES, IMAGE_EDITS, TRANSCRIPTION)


def task_selling(service_type: str) -> Task:
    """The task that services of this type serve.

    Raises:
        ConfigError: there is none (code ``unknown_task``).

    Example:
        >>> task_selling("embedding").path
        '/embeddings'
    """
    for task in TASKS:
        if service_type in (task.service_type, task.name):
            return task
    known = ", ".join(task.service_type for task in TASKS)
    message = f"no task is served by services of type {service_type[:80]!r}"
    raise ConfigError(message, code="unknown_task", hint=f"service_type takes one of {known}")


def task_of(service_type: str) -> str:
    """Name of the task that services of this type serve; the type itself where it is none of ours.

    Example:
        >>> task_of("chatbot"), task_of("something-new")
        ('chat', 'something-new')
    """
    return next((task.name for task in TASKS if task.service_type == service_type), service_type)


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
    if path.rstrip("/").endswith("/messages"):
        raise ConfigError(
            "Anthropic's form of a chat (/messages) is not spoken here, in the clear or sealed; nothing was sent",
            code="unknown_task",
            hint="ask the same model at /chat/completions: messages, tools and tool_choice of that form can be sealed",
        )
    asked, query, _ = path.partition("?")  # in what follows there may be a key
    raise ConfigError(
        f"no task is asked for at {asked[:80]!r}{' with a query' if query else ''}; nothing was sent",
        code="unknown_task",
        hint=f"requests are made for {known}: their cost is bounded, their answers are judged",
    )
