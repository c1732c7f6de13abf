"""Which transport is used where."""

import ctypes
import sys

import pytest

from relay.transport import selection
from relay.transport.selection import open_transport, select_transport
from relay.transport.sockets import open_udp_socket
from tests.relay.transport.doubles import RecordingReceiver, run_on


def test_auto_is_batch_where_libc_has_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "find_mmsg_calls", lambda: object())
    assert select_transport("auto") == "batch"
    assert select_transport("asyncio") == "asyncio"


def test_auto_is_asyncio_elsewhere_and_batch_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "find_mmsg_calls", lambda: None)
    assert select_transport("auto") == "asyncio"
    with pytest.raises(ValueError, match="64-bit Linux only"):
        select_transport("batch")


def test_an_unknown_name_tells_what_is_permitted() -> None:
    with pytest.raises(ValueError, match="auto, batch, asyncio"):
        select_transport("quic")


@pytest.mark.parametrize("name", ["auto", "asyncio"])
def test_the_transport_is_opened_under_the_name_that_was_selected(name: str) -> None:
    async def main() -> None:
        sock = open_udp_socket("127.0.0.1", 0)
        port = sock.getsockname()[1]
        transport = await open_transport(name, sock, RecordingReceiver())
        assert transport.name == select_transport(name)
        assert transport.local_address == ("127.0.0.1", port)
        transport.close()
        transport.close()

    run_on("asyncio", main)


@pytest.mark.parametrize("broken", ["platform", "libc", "32 bit"])
def test_the_calls_are_not_found_on_other_systems(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def no_libc(*args: object, **kwargs: object) -> None:
        raise OSError("no libc")

    if broken == "platform":
        monkeypatch.setattr(sys, "platform", "win32")
    elif broken == "libc":
        monkeypatch.setattr(ctypes, "CDLL", no_libc)
    else:
        monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert select_transport("auto") == "asyncio"
