"""Binding the relay's socket."""

import errno
import socket
from typing import Any

import pytest

from relay.transport import sockets
from tests.relay.transport.doubles import HOSTS, needs_ipv6


@needs_ipv6
def test_all_addresses_means_ipv4_and_ipv6_in_one_socket() -> None:
    with sockets.open_udp_socket(None, 0) as sock:
        assert sock.family == socket.AF_INET6
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
        assert not sock.getblocking()


@pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_without_ipv6_all_addresses_means_ipv4(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    real = socket.socket

    def no_ipv6(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(code, "no IPv6 here")
        return real(family, kind)

    monkeypatch.setattr(sockets.socket, "socket", no_ipv6)
    with sockets.open_udp_socket(None, 0) as sock:
        assert sock.family == socket.AF_INET


@pytest.mark.parametrize("host", HOSTS)
def test_a_given_host_is_bound_alone(host: str) -> None:
    with sockets.open_udp_socket(host, 0) as sock:
        assert sock.family == (socket.AF_INET6 if ":" in host else socket.AF_INET)
        assert sock.getsockname()[0] == host


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
def test_a_port_in_use_is_told_and_not_shared(host: str | None) -> None:
    with sockets.open_udp_socket("127.0.0.1", 0) as taken, pytest.raises(OSError) as caught:
        sockets.open_udp_socket(host, taken.getsockname()[1])
    assert caught.value.errno == errno.EADDRINUSE


def test_an_unknown_name_raises() -> None:
    with pytest.raises(socket.gaierror):
        sockets.open_udp_socket("no-such-host.invalid", 0)


def test_buffers_are_asked_for_and_what_was_granted_is_told() -> None:
    with sockets.open_udp_socket("127.0.0.1", 0) as sock:
        receive, send = sockets.buffer_bytes(sock)
    assert 0 < receive <= sockets.BUFFER_BYTES
    assert 0 < send <= sockets.BUFFER_BYTES


def test_a_system_that_refuses_large_buffers_is_no_error() -> None:
    class Stubborn:
        asked = 0

        def setsockopt(self, *args: Any) -> None:
            self.asked += 1
            raise OSError(errno.ENOBUFS, "too large")

    sock = Stubborn()
    sockets.set_buffers(sock)  # type: ignore[arg-type]
    assert sock.asked == 2


class FakeLoop:
    """Runs what is called soon when told to."""

    def __init__(self) -> None:
        self.soon: list[Any] = []

    def call_soon(self, call: Any) -> None:
        self.soon.append(call)


class FakeProactorEndpoint:
    """What the Proactor loop's datagram transport looks like after an error: no read under way, none planned."""

    def __init__(self, *, read_under_way: bool = False, closing: bool = False) -> None:
        self._read_fut = object() if read_under_way else None
        self._closing = closing
        self.reads = 0

    def is_closing(self) -> bool:
        return self._closing

    def _loop_reading(self) -> None:
        self.reads += 1


@pytest.mark.parametrize(
    ("endpoint", "reads"),
    [
        (FakeProactorEndpoint(), 1),
        (FakeProactorEndpoint(read_under_way=True), 0),
        (FakeProactorEndpoint(closing=True), 0),
    ],
)
def test_the_proactor_loop_is_made_to_read_on_after_an_error(endpoint: FakeProactorEndpoint, reads: int) -> None:
    loop = FakeLoop()
    sockets.resume_reading(endpoint, loop)
    for call in loop.soon:
        call()
    assert endpoint.reads == reads


def test_other_loops_read_on_by_themselves() -> None:
    loop = FakeLoop()
    sockets.resume_reading(object(), loop)
    assert not loop.soon
