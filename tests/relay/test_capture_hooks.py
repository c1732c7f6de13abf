"""The server with a recorder: all traffic of either transport is captured, and what goes wrong there stays there."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from protocol import codec
from protocol.client import Message
from protocol.constants import Kind
from relay.addresses import pack_address
from relay.batch import Batch, Outgoing
from relay.capture.files import CaptureFiles
from relay.capture.recorder import Recorder
from relay.client import RelayClient
from relay.config import RelayConfig
from relay.server import RelayServer
from relay.transport.selection import select_transport
from tests.relay.capture.captures import HEAD, KEY, read_file
from tests.relay.transport.doubles import run_on


def new_recorder(folder: Path, **options: Any) -> Recorder:
    return Recorder(CaptureFiles(folder / "a.pcapng", 64 << 20, HEAD), KEY, **options)


def has(transport: str) -> bool:
    try:
        return select_transport(transport) == transport
    except ValueError:
        return False


async def chat(server: RelayServer, num_messages: int = 5) -> None:
    """Let two players exchange messages."""
    host, port = server.address
    ada_client, bob_client = (RelayClient(host, port, code="ROOM", name=name) for name in ("Ada", "Bob"))
    async with ada_client as ada, bob_client as bob:
        for n in range(num_messages):
            ada.send_message(b"message %d" % n)
        seen = 0
        async for event in bob:
            seen += isinstance(event, Message)
            if seen == num_messages:
                break


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["batch", "asyncio"])
@pytest.mark.parametrize("host", ["127.0.0.1", None])
def test_a_game_over_either_transport_is_captured(transport: str, host: str | None, tmp_path: Path) -> None:
    if not has(transport):
        pytest.skip(f"no {transport} transport here")

    async def main() -> dict[str, int]:
        server = RelayServer(RelayConfig(), secret=bytes(32), host=host, port=0, transport=transport)
        await server.start()
        server.record(new_recorder(tmp_path))
        await chat(server)
        sockets = server.transport.counters
        await server.stop()
        return {"sent": sockets["datagrams_sent"], "received": server.engine.stats.counters["datagrams_in"]}

    counts: dict[str, int] = {}
    run_on("asyncio", lambda: collect(main(), counts))
    packets = read_file(tmp_path / "a.pcapng")
    port = {packet.source[1] for packet in packets} & {packet.target[1] for packet in packets}
    relay = max(port, key=lambda number: sum(number in (p.source[1], p.target[1]) for p in packets))
    assert sum(packet.source[1] == relay for packet in packets) == counts["sent"]
    assert sum(packet.target[1] == relay for packet in packets) == counts["received"]
    kinds = {Kind(packet.payload[0]) for packet in packets}
    assert {Kind.HELLO, Kind.CHALLENGE, Kind.JOIN, Kind.WELCOME, Kind.DATA, Kind.UPDATE, Kind.BYE} <= kinds
    assert sum(b"message 4" in packet.payload for packet in packets) >= 3  # up, and down to both


async def collect(work: Any, into: dict[str, int]) -> None:
    into.update(await work)


class Failing(Recorder):
    """Fails at one of its calls."""

    def __init__(self, at: str, error: Exception) -> None:
        self.at, self.error = at, error
        self.calls: list[str] = []

    def _note(self, name: str) -> None:
        self.calls.append(name)
        if name == self.at:
            raise self.error

    def begin(self, *_: Any) -> None:
        self._note("begin")

    def on_received(self, batch: Batch, now: float) -> None:
        self._note("on_received")

    def on_sent(self, outgoing: Outgoing, now: float) -> None:
        self._note("on_sent")

    def on_beat(self, now: float) -> None:
        self._note("on_beat")

    def close(self) -> None:
        self._note("close")


@pytest.mark.slow
@pytest.mark.parametrize("at", ["on_received", "on_sent", "on_beat"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("a bug")])
def test_an_error_ends_the_capture_and_not_the_relay(
    at: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Failing(at, error)

    async def main() -> None:
        server = RelayServer(RelayConfig(), secret=bytes(32), host="127.0.0.1", port=0)
        await server.start()
        server.record(recorder)
        await chat(server)
        assert server.counters["exceptions_capture"] == 1
        await server.stop()

    with caplog.at_level(logging.ERROR, "tickrelay"):
        run_on("asyncio", main)
    assert recorder.calls.count(at) == 1 and recorder.calls[-1] == "close"
    assert recorder.calls[-2] == at  # closed at once, and never called again
    (record,) = caplog.records
    is_expected = isinstance(error, OSError)
    assert ("No space left" in record.message) == is_expected and (record.exc_info is None) == is_expected


@pytest.mark.slow
def test_a_stopped_relay_has_written_everything(tmp_path: Path) -> None:
    async def main() -> None:
        server = RelayServer(RelayConfig(), secret=bytes(32), host="127.0.0.1", port=0)
        await server.start()
        server.record(new_recorder(tmp_path))
        async with RelayClient(*server.address, code="ROOM", name="Ada"):
            await server.stop()

    run_on("asyncio", main)
    packets = read_file(tmp_path / "a.pcapng")
    assert sum(packet.payload[0] == Kind.BYE for packet in packets) >= 3  # its last words


@pytest.mark.parametrize("is_broken", [False, True])
def test_what_could_not_be_sent_is_not_captured(is_broken: bool) -> None:
    """A capture showed what no player was sent."""
    recorder = Failing("", RuntimeError())

    async def main() -> None:
        server = RelayServer(RelayConfig(), secret=bytes(32), host="127.0.0.1", port=0)
        await server.start()
        server.record(recorder)

        def send(outgoing: Outgoing) -> None:
            if is_broken:
                raise OSError("broken")

        server.transport.send = send  # type: ignore[method-assign]
        batch = Batch(1)
        batch.append(codec.encode(Kind.PING, shard=0, nonce=5), pack_address("127.0.0.1", 5))
        server.batch_received(batch, server._clock())
        assert server.counters["exceptions_send"] == is_broken and server.counters["exceptions_capture"] == 0
        await server.stop()

    run_on("asyncio", main)
    assert "on_received" in recorder.calls and ("on_sent" in recorder.calls) != is_broken


def test_only_a_running_relay_can_be_captured() -> None:
    recorder = Failing("", RuntimeError())
    with pytest.raises(RuntimeError, match="not running"):
        RelayServer(RelayConfig(), secret=bytes(32)).record(recorder)


def test_the_recording_continues_with_the_relays_own_clock(tmp_path: Path) -> None:
    """`record` compares two clocks once; later changes of the wall clock must not bend the capture."""

    async def main() -> None:
        now = 50.0
        server = RelayServer(RelayConfig(), secret=bytes(32), host="127.0.0.1", port=0, clock=lambda: now)
        await server.start()
        recorder = new_recorder(tmp_path)
        server.record(recorder)
        batch = Batch(1)
        batch.append(bytes([Kind.PING]) + bytes(127), bytes(28))
        recorder.on_received(batch, now)
        recorder.on_received(batch, now + 2.0)
        await asyncio.sleep(0)
        await server.stop()

    run_on("asyncio", main)
    one, two, *_ = read_file(tmp_path / "a.pcapng")
    assert two.at_s - one.at_s == pytest.approx(2.0, abs=1e-5)
