"""Images made aside: jobs that are asked for, and images that are fetched by address (services §1, §3)."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Job:
    """One job. `looks` is how often it was asked for; `body` is the answer, once there is one."""

    job_id: str
    user: str
    made: float
    body: bytes | None
    headers: list[tuple[str, str]]
    error: str = ""
    looks: int = 0
    lost: bool = False


class Jobs:
    """The jobs of one provider, kept for `ttl` seconds. Used from its server thread."""

    def __init__(self, now: Callable[[], float], ttl: float) -> None:
        self._now = now
        self._ttl = ttl
        self._jobs: dict[str, Job] = {}

    def add(
        self, user: str, body: bytes | None, headers: list[tuple[str, str]], *, error: str = "", job_id: str = ""
    ) -> Job:
        """Note a new job."""
        job = Job(job_id or str(uuid.uuid4()), user, self._now(), body, headers, error)
        self._jobs[job.job_id] = job
        return job

    def find(self, job_id: str) -> Job | None:
        """A job, if it is there and not too old."""
        job = self._jobs.get(job_id)
        if job is None or job.lost or job.made + self._ttl <= self._now():
            return None
        return job

    def clear(self) -> None:
        """Forget all."""
        self._jobs.clear()


def describe(job: Job, state: str) -> dict[str, Any]:
    """What a look at a job says, without its data."""
    said: dict[str, Any] = {
        "jobId": job.job_id,
        "status": state,
        "createdAt": int(job.made),
        "updatedAt": int(job.made) + job.looks,
    }
    if state == "failed":
        said["errorMessage"] = job.error
    return said


class ImageShelf:
    """Images by key and number, for a limited time."""

    def __init__(self, now: Callable[[], float], ttl: float) -> None:
        self._now = now
        self._ttl = ttl
        self._lock = threading.Lock()
        self._images: dict[str, tuple[float, list[bytes]]] = {}

    def put(self, key: str, images: list[bytes]) -> None:
        """Offer images."""
        with self._lock:
            self._images[key.lower()] = self._now() + self._ttl, images

    def get(self, key: str, number: int) -> bytes | None:
        """One of them, or None: never there, or no longer."""
        with self._lock:
            until, images = self._images.get(key.lower(), (0.0, []))
            return images[number] if self._now() < until and 0 <= number < len(images) else None
