"""The server thread."""

import threading

import pytest

from zg_core.localnet.base.server import ServerThread, bind


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def test_it_serves_several_sockets_from_one_thread(http):
    before = set(threading.enumerate())  # others may end meanwhile
    server, sockets = ServerThread(), [bind(), bind()]
    for sock in sockets:
        server.add(hello, sock)
    server.start()
    assert len(set(threading.enumerate()) - before) == 1
    for sock in sockets:
        assert http.get("http://{}:{}/".format(*sock.getsockname())).text == "ok"
    server.stop()
    assert not set(threading.enumerate()) - before


def test_connections_are_without_delay(http):
    """asyncio sets TCP_NODELAY only on sockets that name their protocol."""
    import socket

    server, sock = ServerThread(), bind()
    seen = []

    async def app(scope, receive, send):
        connection = scope["state"]["transport"].get_extra_info("socket")
        seen.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await hello(scope, receive, send)

    server.add(app, sock)
    server.start()
    http.get("http://{}:{}/".format(*sock.getsockname()))
    server.stop()
    assert seen[0] != 0


def test_a_taken_port_is_an_error_at_once():
    with bind() as first, pytest.raises(OSError):
        first.listen()
        bind(first.getsockname()[1])


def test_a_server_that_cannot_start_raises_in_start():
    server, sock = ServerThread(), bind()
    sock.close()
    server.add(hello, sock)
    with pytest.raises(OSError):
        server.start()
    server.stop()


def test_calls_run_on_the_loop_and_directly_when_it_is_gone():
    server, sock = ServerThread(), bind()
    server.add(hello, sock)
    server.start()
    main = threading.current_thread()
    assert server.call(threading.current_thread) is not main
    with pytest.raises(ZeroDivisionError):
        server.call(lambda: 1 / 0)
    server.stop()
    assert server.call(threading.current_thread) is main


def test_what_shall_happen_at_the_end_happens_on_the_loop():
    server, sock = ServerThread(), bind()
    server.add(hello, sock)
    done = []

    async def at_end():
        done.append(threading.current_thread().name)

    server.at_end(at_end)
    server.start()
    assert done == []
    server.stop()
    assert done == ["zerog-localnet-http"]
