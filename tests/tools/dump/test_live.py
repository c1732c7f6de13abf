"""Live capture, with a socket of the tests' own instead of an interface."""

import errno
import json
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.tools.dump.made import ipv4, ordinary_capture
from tools import dump
from tools.dump import live

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="live capture is for Linux")
FRAMES = [ipv4(packet) for packet in ordinary_capture(0.5)]


class Interface:
    """A packet socket: it gives what it has, and then does what it was told."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._frames = list(FRAMES)
        self._then = then
        self._ends = socket.socketpair()
        self._ends[1].send(b"!")  # always readable

    def recvfrom(self, _: int) -> tuple[bytes, Any]:
        if not self._frames:
            self._then()
            raise BlockingIOError
        return self._frames.pop(0), ("eth0", 0x0800, 0, 1, b"")

    def fileno(self) -> int:
        return self._ends[0].fileno()

    def close(self) -> None:
        for end in self._ends:
            end.close()

    def getsockopt(self, *_: int) -> bytes:
        return bytes(8)

    def setsockopt(self, *_: int) -> None: ...

    def setblocking(self, _: bool) -> None: ...

    def bind(self, _: object) -> None: ...


def capture(monkeypatch: pytest.MonkeyPatch, then: Callable[[], None], *arguments: str) -> int:
    """Run the command on an interface. Returns: the exit code."""
    interface = Interface(then)
    monkeypatch.setattr(live.socket, "socket", lambda *_: interface)
    return dump.main(["--live", "eth0", *arguments], {})


@pytest.fixture
def own_handlers() -> Iterator[Callable[..., None]]:
    """Handlers without which a signal that nobody catches would end the tests."""

    def not_caught(*_: object) -> None:
        raise AssertionError("the signal was not caught")

    before = {number: signal.signal(number, not_caught) for number in (signal.SIGINT, signal.SIGTERM)}
    yield not_caught
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_sums_of_what_was_seen(
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    own_handlers: Callable[..., None],
) -> None:
    assert capture(monkeypatch, lambda: signal.raise_signal(number), "--stats", "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["datagrams"] == len(FRAMES)
    assert f"{len(FRAMES)} datagrams of a relay" in shown.err
    assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT) is own_handlers


def test_an_interface_that_goes_down_is_told_after_what_was_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def go_down() -> None:
        raise OSError(errno.ENETDOWN, "Network is down")

    assert capture(monkeypatch, go_down, "--stats", "--json") == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["datagrams"] == len(FRAMES)
    assert shown.err.splitlines()[-1] == "tickrelay dump: capturing on eth0 ended: Network is down"


def test_a_socket_that_cannot_be_had_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(live.socket, "socket", refuse)
    assert dump.main(["--live", "eth0"], {}) == 1
    assert capsys.readouterr().err == "tickrelay dump: cannot capture: Too many open files\n"
