"""The sockets of a load, against an echo on this machine: with the system calls for many at a time, and without."""

import errno
import select
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from relay.batch import ROW_BYTES
from relay.transport.libc import find_mmsg_calls
from tests.tools.lag.peers import closed_port
from tools.load import wire as module
from tools.load.wire import Arrivals, TooFewFiles, Wire, raise_file_limit

PATIENCE_S = 5.0
pytestmark = pytest.mark.slow
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part of it is Linux's")


class Echo:
    """A server that sends back what it is asked to."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(PATIENCE_S)

    def hear(self, num: int) -> list[tuple[bytes, Any]]:
        return [self.sock.recvfrom(2000) for _ in range(num)]

    def answer(self, num: int) -> list[tuple[bytes, Any]]:
        heard = self.hear(num)
        for data, address in heard:
            self.sock.sendto(data, address)
        return heard


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.sock.close()


@pytest.fixture(params=["many at a time", "one at a time", "one at a time by select"])
def wire(request: pytest.FixtureRequest, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    if request.param == "many at a time" and find_mmsg_calls() is None:
        pytest.skip("this system has no recvmmsg")
    if request.param != "many at a time":
        monkeypatch.setattr(module.libc, "find_mmsg_calls", lambda: None)
    if request.param.endswith("select"):
        monkeypatch.delattr(select, "epoll", raising=False)
    opened = Wire(echo.sock.getsockname(), socket.AF_INET, 3)
    yield opened
    opened.close()


def send(wire: Wire, *datagrams: tuple[int, bytes]) -> None:
    data = np.zeros((len(datagrams), ROW_BYTES), np.uint8)
    for row, (_, payload) in zip(data, datagrams):
        row[: len(payload)] = np.frombuffer(payload, np.uint8)
    wire.send(np.array([n for n, _ in datagrams]), data, np.array([len(payload) for _, payload in datagrams]))


def receive(wire: Wire, num: int) -> list[tuple[int, bytes, float]]:
    """Wait for so many. Returns: socket, payload, time of arrival of each."""
    found: list[tuple[int, bytes, float]] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < num and time.monotonic() < deadline:
        arrivals = wire.receive()
        found += [
            (int(number), row[:length].tobytes(), float(arrived))
            for number, row, length, arrived in zip(arrivals.socket, arrivals.data, arrivals.length, arrivals.arrived)
        ]
    assert len(found) == num
    return found


def test_datagrams_go_out_of_their_sockets_and_come_back_into_them(wire: Wire, echo: Echo) -> None:
    sent = [(2, b"a" * 5), (0, b"b" * 1200), (1, b"c"), (0, b"d" * 7), (2, b"e" * 3)]
    send(wire, *sent)
    heard = echo.answer(5)
    assert len({address for _, address in heard}) == 3
    assert sorted((number, data) for number, data, _ in receive(wire, 5)) == sorted(sent)
    assert len(wire) == 3
    assert wire.counters["datagrams_up"] == wire.counters["datagrams_down"] == 5
    assert wire.counters["bytes_up"] == wire.counters["bytes_down"] == 1216


def test_those_of_one_socket_keep_their_order(wire: Wire, echo: Echo) -> None:
    sent = [(number % 3, b"%03d" % number) for number in range(90)]
    send(wire, *sent)
    echo.answer(90)
    received = receive(wire, 90)
    for number in range(3):
        assert [data for n, data, _ in received if n == number] == [data for n, data in sent if n == number]


def test_one_datagram_is_sent_without_ceremony(wire: Wire, echo: Echo) -> None:
    wire.send_one(1, b"hello")
    echo.answer(1)
    assert [(number, data) for number, data, _ in receive(wire, 1)] == [(1, b"hello")]
    assert wire.counters["datagrams_up"] == 1 and wire.counters["bytes_up"] == 5


def test_arrival_is_a_monotonic_time_between_sending_and_reading(wire: Wire, echo: Echo) -> None:
    before = time.monotonic()
    wire.send_one(0, b"x")
    echo.answer(1)
    received = receive(wire, 1)
    assert before - 0.01 <= received[0][2] <= time.monotonic() + 0.01


@on_linux
@pytest.mark.skipif(find_mmsg_calls() is None, reason="this system has no recvmmsg")
def test_arrival_is_when_the_kernel_had_it_and_not_when_it_was_read(echo: Echo) -> None:
    """Linux switches these times on in the background: the first datagrams after a socket asked for them have none."""
    wire = Wire(echo.sock.getsockname(), socket.AF_INET, 1)
    waited = []
    while not waited or (waited[-1] < 0.1 and len(waited) < 20):
        wire.send_one(0, b"x")
        echo.answer(1)
        time.sleep(0.25)
        read = time.monotonic()
        waited.append(read - receive(wire, 1)[0][2])
    assert waited[-1] == pytest.approx(0.25, abs=0.1)
    wire.close()


def test_clocks_are_compared_in_a_quiet_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    # The process was put aside between the two clocks, and everything seemed to have come 16 ms before it was sent.
    moments = iter([5.0, 5.5, 6.0, 7.0, 7.001, 7.002, 8.0, 8.4, 8.5])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(moments))
    monkeypatch.setattr(module.time, "time", lambda: next(moments) + 1000.0)
    assert module.clocks_apart_s() == pytest.approx(1000.0)


@on_linux
@pytest.mark.skipif(find_mmsg_calls() is None, reason="this system has no recvmmsg")
def test_where_the_kernel_gives_no_time_it_is_that_of_reading(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SO_TIMESTAMPNS", socket.SO_BROADCAST)
    wire = Wire(echo.sock.getsockname(), socket.AF_INET, 1)
    wire.send_one(0, b"x")
    echo.answer(1)
    assert receive(wire, 1)[0][2] == pytest.approx(time.monotonic(), abs=1.0)
    wire.close()


def test_a_socket_that_is_replaced_has_another_port_and_its_number(wire: Wire, echo: Echo) -> None:
    wire.send_one(1, b"before")
    wire.send_one(0, b"other")
    (_, old), (_, other) = echo.answer(2)
    receive(wire, 2)
    wire.reopen(1)
    wire.send_one(1, b"after")
    wire.send_one(0, b"other")
    (_, new), (_, same) = echo.answer(2)
    assert new != old and same == other
    assert sorted((number, data) for number, data, _ in receive(wire, 2)) == [(0, b"other"), (1, b"after")]


def test_nothing_there_is_nothing_read(wire: Wire) -> None:
    arrivals = wire.receive()
    assert isinstance(arrivals, Arrivals) and len(arrivals) == 0 and arrivals.data.shape == (0, ROW_BYTES)


def test_no_more_is_read_in_a_pass_than_there_is_room_for(
    wire: Wire, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", 4)
    send(wire, *((number % 3, b"%d" % number) for number in range(9)))
    echo.answer(9)
    time.sleep(0.02)
    assert len(wire.receive()) <= 4
    assert wire.counters["datagrams_down"] <= 4


@on_linux
def test_where_nobody_listens_errors_are_counted_and_nothing_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    for plainly in (False, True):
        if plainly:
            monkeypatch.setattr(module.libc, "find_mmsg_calls", lambda: None)
        wire = Wire(("127.0.0.1", closed_port()), socket.AF_INET, 1)
        deadline = time.monotonic() + PATIENCE_S
        while not wire.counters["send_errors"] + wire.counters["receive_errors"] and time.monotonic() < deadline:
            wire.send_one(0, b"x")
            send(wire, (0, b"y"))
            wire.receive()
        assert wire.counters["send_errors"] + wire.counters["receive_errors"] > 0
        wire.close()


@on_linux
@pytest.mark.skipif(find_mmsg_calls() is None, reason="this system has no sendmmsg")
def test_what_the_kernel_refuses_is_counted_and_the_rest_goes_on(echo: Echo) -> None:
    wire = Wire(echo.sock.getsockname(), socket.AF_INET, 1)
    results = [1, -errno.EAGAIN, -errno.EPERM, 2]
    calls = wire._calls
    assert calls is not None
    wire._calls = type(calls)(calls.recv, lambda fd, headers, count: results.pop(0))
    send(wire, *((0, b"x") for _ in range(5)))
    assert results == [] and wire.counters["send_overflow"] == 1 and wire.counters["send_errors"] == 1
    wire.close()


@on_linux
def test_datagrams_that_found_the_buffer_full_are_counted(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    def tiny(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    monkeypatch.setattr(module, "set_buffers", tiny)
    wire = Wire(echo.sock.getsockname(), socket.AF_INET, 2)
    wire.send_one(0, b"x")
    ((_, address),) = echo.hear(1)
    for _ in range(50):
        echo.sock.sendto(bytes(1000), address)
    lost = wire.receive_overflow()
    assert lost > 0 and wire.receive_buffer_bytes() < 20_000
    wire.reopen(0)
    assert wire.receive_overflow() == lost, "what a replaced socket lost stays counted"
    wire.close()


class FakeLimits:
    RLIMIT_NOFILE, RLIM_INFINITY = 7, -1

    def __init__(self, soft: int, hard: int) -> None:
        self.limits = (soft, hard)

    def getrlimit(self, what: int) -> tuple[int, int]:
        assert what == self.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, what: int, limits: tuple[int, int]) -> None:
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [(1024, 4096, (1024, 4096)), (100, 4096, (1000, 4096)), (100, -1, (1000, -1)), (-1, -1, (-1, -1))],
)
def test_the_limit_of_open_files_is_raised_as_far_as_needed(
    soft: int, hard: int, after: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = FakeLimits(soft, hard)
    monkeypatch.setitem(sys.modules, "resource", limits)
    raise_file_limit(1000)
    assert limits.limits == after


def test_where_it_cannot_be_raised_the_text_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", FakeLimits(100, 500))
    with pytest.raises(TooFewFiles, match=r"1000 open files are needed and 500 permitted.*ulimit -n 1000.*per-socket"):
        raise_file_limit(1000)


def test_a_system_without_such_limits_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    raise_file_limit(10**9)
    assert sys.modules["resource"] is None  # so it was not there to be asked
