"""What can be asked for: each task is one constant, beside what is known of its requests and answers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of request.

    Attributes:
        name: ``"chat"``, ``"embeddings"``.
        service_type: What the chain calls services of it.
        path: Where it is asked for, below a service's endpoint.
        streams: Whether its answer can come as events.
    """

    name: str
    service_type: str
    path: str
    streams: bool = False
