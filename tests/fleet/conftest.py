"""A network, a wallet with money, and a PostgreSQL server for a fleet of processes."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.postgres import running
from zg_core.localnet import LocalNet, ProviderSettings


@pytest.fixture(scope="module")
def server(postgres_bin: str | None) -> Iterator[str]:
    """The URL of a PostgreSQL server of our own."""
    assert postgres_bin is not None
    with running(postgres_bin) as url:
        yield url


@pytest.fixture
def postgres(server: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database."""
    import psycopg

    base, _, _ = server.rpartition("/")
    name = f"fleet_{abs(hash(request.node.name))}"
    with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{base}/{name}"


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet(providers=2, settings=replace(ProviderSettings.fast(), settle_interval=None)) as network:
        yield network


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """For programs that start Ray: on this machine only, nothing in the home directory, nobody told."""
    # Ray's sockets are in this folder, and their paths may have 107 characters only.
    folder = tempfile.mkdtemp(prefix="zr-", dir="/tmp")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ZEROG_", "RAY_"))}
    yield {
        **kept,
        "HOME": folder,
        "RAY_TMPDIR": folder,
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    shutil.rmtree(folder, ignore_errors=True)
