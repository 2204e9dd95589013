"""A server hangs up exactly while the next request is on its way (encode/httpx#96, NVIDIA-NeMo/Gym#1555)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.chain.field import CALLS, Connection, Expectations, FieldServer, answer, async_calls, short, sync_calls


def gone_in_between(connection: Connection) -> None:
    """Answers the first request of a connection, and hangs up without a word when the second one is there."""
    if connection.request() is None:
        return
    connection.send(answer(b"first"))
    if connection.number == 1:
        connection.request()  # the idle timer had fired
        return
    while connection.request() is not None:
        connection.send(answer(b"again"))


def announces(connection: Connection) -> None:
    """Says that it keeps connections for a second, and does."""
    while True:
        try:
            if connection.request(seconds=1.0) is None:
                return
        except TimeoutError:
            return
        connection.send(answer(b"x", Keep_Alive="timeout=1", Connection="keep-alive"))


@pytest.mark.parametrize("calls", CALLS)
def test_a_get_on_a_connection_that_died_while_idle_is_sent_again(calls: Any, expect: Expectations) -> None:
    with FieldServer(gone_in_between) as server:
        results = calls(server.url, 2, 0.05)
    expect(
        "a GET on a connection that died while idle is repeated on a new one (RFC 9110 §9.2.2, idempotent)",
        not isinstance(results[1], Exception),
        short(results[1]),
    )


@pytest.mark.parametrize("calls", CALLS)
def test_a_read_of_the_chain_is_sent_again_too(calls: Any, expect: Expectations) -> None:
    with FieldServer(gone_in_between) as server:
        results = calls(server.url, 2, 0.05, method="POST", body=b"{}")
    expect("a POST that costs nothing is repeated", not isinstance(results[1], Exception), short(results[1]))


@pytest.mark.parametrize("calls", CALLS)
def test_a_post_that_may_be_billed_is_not(calls: Any, expect: Expectations) -> None:
    with FieldServer(gone_in_between) as server:
        results = calls(server.url, 2, 0.05, method="POST", body=b"{}", once=True)
        made = server.connections
    code = getattr(results[1], "code", "")
    expect("a POST that may be billed is not repeated", code in ("connection_lost", "timeout"), short(results[1]))
    expect("… nor is a further connection made", made == 1, made)


def test_a_connection_whose_end_has_arrived_is_not_used(expect: Expectations) -> None:
    with FieldServer(announces) as one, FieldServer(announces) as other:
        blocking, looping = sync_calls(one.url, 2, 1.5), async_calls(other.url, 2, 1.5)
    met = not isinstance(blocking[1], Exception) and not isinstance(looping[1], Exception)
    expect("a connection whose FIN has arrived is not used", met, (short(blocking[1]), short(looping[1])))
