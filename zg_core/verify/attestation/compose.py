"""What runs in the enclave, by its authenticated compose file: the images, and whether what is measured fixes it.

A compose file is measured, an image only by what the file says of it. So a file pins what runs only where everything
that decides it is written there, in fields that are known here; whatever is unknown or unreadable pins nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from zg_core.jsontext import parse_json
from zg_core.verify.attestation.yamltext import UnreadableYaml, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Composition", "Image", "composition_of"]

_MOST_CHARACTERS = 1024 * 1024
_MOST_REMEMBERED = 64 * 1024
_MOST_REASONS = 20
_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]*@sha256:[0-9a-f]{64}")
_VARIABLE = re.compile(r"(?<!\$)(?:\$\$)*\$[A-Za-z_{]")  # "$$" is a dollar sign
_RUNNER = "docker-compose"
# dstack's boot scripts source or run these before, or instead of, the compose file.
_SCRIPTS = ("pre_launch_script", "init_script", "bash_script")
# Variables that the operator sets may not steer which compose file, which daemon and which programs are used.
_STEERING = re.compile(
    r"(COMPOSE|DOCKER|BUILDKIT|BUILDX|CONTAINERD|LD|BASH)_.*|PATH|HOME|ENV|BASHOPTS|SHELLOPTS|IFS|PS4"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OUTER = _words(
    "manifest_version name features runner docker_compose_file docker_config public_logs public_sysinfo public_tcbinfo "
    "kms_enabled gateway_enabled tproxy_enabled local_key_provider_enabled key_provider key_provider_id allowed_envs "
    "no_instance_id secure_time storage_fs swap_size event_log_version port_policy requirements verity_volumes "
    "default_gateway_domain launch_token_hash salt"
) | frozenset(_SCRIPTS)
_FILE = _words("version name services networks volumes configs secrets")
# Compose's fields of a service, but those that bring in what is not written here: build, extends, provider, models.
_SERVICE = _words(
    "annotations attach blkio_config cap_add cap_drop cgroup cgroup_parent command configs container_name cpu_count "
    "cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec depends_on "
    "deploy device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file environment expose "
    "external_links extra_hosts gpus group_add healthcheck hostname image init ipc isolation label_file labels links "
    "logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit network_mode networks oom_kill_disable "
    "oom_score_adj pid pids_limit platform ports post_start pre_stop privileged profiles pull_policy read_only restart "
    "runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs "
    "tty ulimits user userns_mode uts volumes volumes_from working_dir"
)
_DECIDING = ("command", "entrypoint", "env_file", "healthcheck", "post_start", "pre_stop", "runtime", "volumes")


@dataclass(frozen=True, slots=True)
class Image:
    """One container image."""

    name: str

    @property
    def pinned(self) -> bool:
        """Whether the name fixes the bytes: without a digest, whoever owns the name decides what runs."""
        return _PINNED.fullmatch(self.name) is not None

    @property
    def digest(self) -> str:
        """``sha256:…`` of a pinned image, else ""."""
        return self.name.rpartition("@")[2] if self.pinned else ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"image": self.name, "pinned": self.pinned}


@dataclass(frozen=True, slots=True)
class Composition:
    """What a compose file says of what runs.

    Attributes:
        images: The images it names, in order, each once.
        loose: Why another thing may run while the measurement stays the same, in words; empty where nothing in the
            file leaves that open.
        readable: Whether it could be read at all here: without PyYAML it cannot.
    """

    images: tuple[Image, ...] = ()
    loose: tuple[str, ...] = ()
    readable: bool = True

    @property
    def pinned(self) -> bool:
        """Whether the file fixes what is started, every image by its digest.

        What a pinned image loads while it runs, and what it makes of the values in its environment, no file shows.
        """
        return self.readable and not self.loose


def composition_of(app_compose: str) -> Composition:
    r"""What dstack's ``app_compose`` JSON, and the compose file inside of it, start.

    Example:
        >>> found = composition_of('{"runner": "docker-compose", "docker_compose_file": '
        ...                        '"services:\\n  a:\\n    image: vendor/a:1\\n"}')
        >>> found.images, found.loose
        ((Image(name='vendor/a:1'),), ("the image 'vendor/a:1' is not pinned by digest",))
    """
    try:
        return (_remembered if len(app_compose) <= _MOST_REMEMBERED else _composition)(app_compose)
    except ModuleNotFoundError:  # which an installation mends: not to be remembered
        why = "PyYAML is not installed, so the compose file was not read: pip install 'zerog-integrations[attestation]'"
        return Composition(loose=_few([*_around(_outer(app_compose)), why]), readable=False)


def _composition(app_compose: str) -> Composition:
    try:
        outer = _outer(app_compose)
    except (ValueError, RecursionError) as error:
        return Composition(loose=(f"what was measured is not dstack's JSON: {str(error)[:120]}",))
    reasons = list(_around(outer))
    text = outer.get("docker_compose_file")
    if not isinstance(text, str):
        return Composition(loose=_few([*reasons, "it holds no compose file"]))
    try:
        file = read_yaml(text)
    except UnreadableYaml as error:
        return Composition(loose=_few([*reasons, f"the compose file is not read here: {error}"]))
    images: dict[str, None] = {}
    reasons += _inside(file, images)
    return Composition(tuple(map(Image, images)), _few(reasons))


_remembered = lru_cache(maxsize=16)(_composition)
"""Nothing but the text decides what comes out, and reading YAML takes longer than all else of an attestation."""


def _few(reasons: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reasons))[:_MOST_REASONS]


def _outer(text: str) -> dict[str, Any]:
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"it is longer than {_MOST_CHARACTERS} characters")
    value = parse_json(text, unique=True)
    if not isinstance(value, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - a value of the wrong form, not a wrong call
    return value


def _around(outer: dict[str, Any]) -> Iterator[str]:
    """What lies around the compose file."""
    if outer.get("runner") != _RUNNER:
        yield f"the runner is {_named(outer.get('runner'))}, not {_RUNNER}"
    for name in _SCRIPTS:
        if outer.get(name):
            yield f"a script runs beside the compose file ({name})"
    for name in sorted(outer.keys() - _OUTER):
        yield f"it has the field {_named(name)}, which is not known here"
    allowed = outer.get("allowed_envs") or []
    if not isinstance(allowed, list) or not all(isinstance(name, str) for name in allowed):
        yield "the list of variables that the operator may set is none"
        return
    for name in allowed:
        if _STEERING.fullmatch(name):
            yield f"the operator may set {_named(name)}, which steers what is started"


def _inside(file: Any, images: dict[str, None]) -> Iterator[str]:
    """What the compose file leaves open; its images are added to `images`."""
    if not isinstance(file, dict):
        yield "the compose file is no mapping"
        return
    for name in file:
        if name not in _FILE and not name.startswith("x-"):
            yield f"the compose file has the field {_named(name)}, which is not known here"
    services = file.get("services")
    if not isinstance(services, dict) or not services:
        yield "the compose file starts no service"
        services = {}
    for name, service in services.items():
        yield from _service(name, service, images)
    for kind in ("configs", "secrets"):
        if _has_variable(file.get(kind)):
            yield f"one of the {kind} takes a variable, whose value is not measured"


def _service(name: str, service: Any, images: dict[str, None]) -> Iterator[str]:
    whose = f"the service {_named(name)}"
    if not isinstance(service, dict):
        yield f"{whose} is no mapping"
        return
    volumes = service.get("volumes")
    mounted = [each for each in (volumes if isinstance(volumes, list) else []) if isinstance(each, dict)]
    for image in [service.get("image"), *(each.get("source") for each in mounted if each.get("type") == "image")]:
        if not isinstance(image, str):
            yield f"{whose} names no image"
            continue
        images[image] = None
        if not Image(image).pinned:
            yield f"the image {_named(image)} is not pinned by digest"
    for field, value in service.items():
        if field not in _SERVICE and not field.startswith("x-"):
            yield f"{whose} has the field {_named(field)}: it brings in what is not written here, or is not known here"
        elif field in _DECIDING and _has_variable(value):
            yield f"{whose} takes a variable in {field}, whose value is not measured"


def _has_variable(value: Any) -> bool:
    """Whether a text in `value` holds a variable that is filled in at the start; each object is looked at once."""
    waiting, seen = [value], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            if _VARIABLE.search(each):
                return True
        elif isinstance(each, dict | list) and id(each) not in seen:
            seen.add(id(each))
            waiting += each if isinstance(each, list) else [*each, *each.values()]
    return False


def _named(value: Any) -> str:
    return repr(value)[:160] if isinstance(value, str) else "nothing" if value is None else f"a {type(value).__name__}"
