"""The server around the engine: time, signals, logs, and what should not have happened."""

import asyncio
import contextlib
import errno
import logging
import os
import random
import signal
from collections import Counter
from typing import Any

import pytest

from protocol.drops import DropReason
from relay import server as server_module
from relay.batch import Batch, Outgoing
from relay.beats import LEAST_WINDOW_S
from relay.config import RelayConfig
from relay.server import RelayServer, on_stop_signals
from relay.stats import Stats
from relay.transport.sockets import open_udp_socket
from relay.world import Event
from tests.relay.transport.doubles import RecordingReceiver, client_socket, needs_ipv6, outgoing_of, run_on, until

SECRET = bytes(32)


class FakeEngine:
    """Counts its calls, and fails where it is told to."""

    stages_name = "none"

    def __init__(self, config: RelayConfig, secret: bytes, rng: Any, build_stages: Any = None) -> None:
        self.calls: Counter[str] = Counter()
        self.failing: set[str] = set()
        self.events: list[Event] = []
        self.stats = Stats()
        self.load_percent = 0
        self.quick = True
        self.num_sessions = 0

    def wants_quick(self, now: float) -> bool:
        return self.quick

    def _note(self, stage: str) -> Outgoing:
        self.calls[stage] += 1
        if stage in self.failing:
            raise RuntimeError(f"{stage} is broken")
        return outgoing_of([])

    def receive(self, batch: Batch, now: float) -> None:
        self._note("receive")

    def flush(self, now: float) -> Outgoing:
        return self._note("flush")

    def tick(self, now: float, num_ticks: int = 1) -> Outgoing:
        return self._note("tick")

    def shutdown(self, now: float) -> Outgoing:
        return self._note("shutdown")


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "Engine", FakeEngine)


def new_server(**options: Any) -> tuple[RelayServer, Any]:
    """Make a server on a free port of 127.0.0.1, and return its (fake) engine too, untyped."""
    config = RelayConfig(**options.pop("config", {}))
    server = RelayServer(config, secret=SECRET, **({"host": "127.0.0.1", "port": 0} | options))
    return server, server.engine


@pytest.mark.usefixtures("fake_engine")
def test_it_ticks_at_its_rate() -> None:
    async def main() -> None:
        server, engine = new_server(config={"tick_rate": 100})
        await server.start()
        await asyncio.sleep(0.5)
        assert 40 <= engine.calls["tick"] + server.tick_overruns <= 51
        assert engine.calls["flush"] == 0
        await server.stop()
        assert engine.calls["shutdown"] == 3

    run_on("asyncio", main)


@pytest.mark.usefixtures("fake_engine")
def test_between_slow_ticks_it_flushes_so_that_acks_are_in_time() -> None:
    async def main() -> None:
        server, engine = new_server(config={"tick_rate": 1})
        await server.start()
        await asyncio.sleep(0.28)
        assert engine.calls["tick"] == 0
        assert 4 <= engine.calls["flush"] <= 6
        await server.stop()

    run_on("asyncio", main)


@pytest.mark.usefixtures("fake_engine")
def test_what_arrives_is_received_and_flushed_at_once_while_there_is_time() -> None:
    async def main() -> None:
        server, engine = new_server(config={"tick_rate": 20})
        await server.start()
        with client_socket("127.0.0.1") as client:
            client.sendto(b"x", server.address)
            await until(lambda: engine.calls["receive"] == 1)
            assert engine.calls["flush"] == 1
        await server.stop()

    run_on("asyncio", main)


@pytest.mark.usefixtures("fake_engine")
def test_a_busy_relay_gathers_everything_into_its_ticks() -> None:
    async def main() -> None:
        server, engine = new_server()
        await server.start()
        server._load.load = 0.9
        assert server.event_window_s is None
        server.batch_received(Batch(1), server._clock())
        assert engine.calls["receive"] == 1
        assert engine.calls["flush"] == 0
        server._load.load = 0.1
        assert server.event_window_s == LEAST_WINDOW_S
        await server.stop()

    run_on("asyncio", main)


@pytest.mark.usefixtures("fake_engine")
def test_the_load_is_told_to_the_engine() -> None:
    class Working(FakeEngine):
        def tick(self, now: float, num_ticks: int = 1) -> Outgoing:
            end = asyncio.get_running_loop().time() + 0.008
            while asyncio.get_running_loop().time() < end:
                pass
            return super().tick(now)

    async def main() -> None:
        server, _ = new_server(config={"tick_rate": 100})
        engine = server.engine = Working(server.config, SECRET, None)  # type: ignore[assignment]
        await server.start()
        await until(lambda: engine.load_percent > 40)
        assert server.tick_s >= 0.008
        await server.stop()

    run_on("asyncio", main)


@pytest.mark.usefixtures("fake_engine")
@pytest.mark.parametrize("stage", ["receive", "flush", "tick", "shutdown"])
def test_an_unexpected_error_is_counted_logged_now_and_then_and_served_past(
    stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server, engine = new_server(config={"tick_rate": 100})
        engine.failing.add(stage)
        await server.start()
        with client_socket("127.0.0.1") as client:
            for number in range(3):
                client.sendto(b"x", server.address)
                await until(lambda number=number: engine.calls["receive"] > number)  # type: ignore[misc]
        await until(lambda: engine.calls["tick"] >= 10)
        await server.stop()
        assert server.counters[f"exceptions_{stage}"] >= 1
        assert set(server.counters) == {f"exceptions_{stage}"}

    run_on("asyncio", main)
    assert 1 <= caplog.text.count(f"RuntimeError: {stage} is broken") <= 2


@pytest.mark.usefixtures("fake_engine")
def test_a_transport_that_fails_does_not_stop_the_ticks() -> None:
    async def main() -> None:
        server, engine = new_server(config={"tick_rate": 100})
        await server.start()

        def broken(*_: object) -> None:
            raise OSError("broken")

        server.transport.drain = broken  # type: ignore[method-assign]
        await until(lambda: engine.calls["tick"] > 5)
        assert server.counters["exceptions_receive"] >= 5
        await server.stop()

    run_on("asyncio", main)


@pytest.mark.usefixtures("fake_engine")
def test_ticks_missed_by_a_blocked_loop_are_left_out_and_counted() -> None:
    async def main() -> None:
        server, engine = new_server(config={"tick_rate": 100})
        await server.start()
        await until(lambda: engine.calls["tick"] == 2)
        end = asyncio.get_running_loop().time() + 0.2
        while asyncio.get_running_loop().time() < end:
            pass
        await asyncio.sleep(0.015)
        assert 15 <= server.tick_overruns <= 21
        assert engine.calls["tick"] <= 5
        await server.stop()

    run_on("asyncio", main)


@pytest.mark.usefixtures("fake_engine")
def test_rooms_that_open_and_close_are_logged_but_no_flood_of_them(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server, engine = new_server(config={"tick_rate": 100})
        await server.start()
        engine.events += [Event(f"room R{number} opened") for number in range(1000)]
        await until(lambda: not engine.events)
        await server.stop()

    caplog.set_level(logging.INFO, "tickrelay")
    run_on("asyncio", main)
    assert "room R0 opened" in caplog.messages
    assert sum(message.startswith("room R") for message in caplog.messages) <= 2 * server_module.ROOM_LINES_PER_S


@pytest.mark.usefixtures("fake_engine")
@pytest.mark.parametrize(
    ("host", "words"),
    [
        pytest.param(None, "all IPv4 and IPv6 addresses", marks=needs_ipv6),
        pytest.param("::1", "[::1]:", marks=needs_ipv6),
        ("127.0.0.1", "UDP 127.0.0.1:"),
    ],
)
def test_the_log_tells_address_ticks_transport_and_limits(
    host: str | None, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server, engine = new_server(host=host, config={"tick_rate": 60, "max_players": 123})
        await server.start()
        engine.stats.count_drop(DropReason.BAD_MAGIC, 7)
        await server.stop()
        await server.stop()

    caplog.set_level(logging.INFO, "tickrelay")
    run_on("asyncio", main)
    assert words in caplog.text
    assert "60 ticks/s, transport " in caplog.text
    assert "max_players 123" in caplog.text
    assert "stopped; dropped since the start: bad_magic 7" in caplog.text


@pytest.mark.usefixtures("fake_engine")
def test_a_port_in_use_raises_and_leaves_nothing_open() -> None:
    async def main() -> None:
        with open_udp_socket("127.0.0.1", 0) as taken:
            server, _ = new_server(port=taken.getsockname()[1])
            with pytest.raises(OSError) as caught:
                await server.start()
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(RuntimeError, match="not running"):
            _ = server.address

    run_on("asyncio", main)


@pytest.mark.usefixtures("fake_engine")
def test_a_transport_that_cannot_open_leaves_the_port_free(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = []

    async def fails(name: str, sock: Any, receiver: Any) -> None:
        sockets.append(sock)
        raise OSError("no")

    async def main() -> None:
        server, _ = new_server()
        with pytest.raises(OSError, match="no"):
            await server.start()
        assert sockets[0].fileno() == -1

    monkeypatch.setattr(server_module, "open_transport", fails)
    run_on("asyncio", main)


def test_a_secret_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        RelayServer(RelayConfig(), secret=b"short")


def test_an_unknown_transport_is_refused() -> None:
    with pytest.raises(ValueError, match="auto, batch, asyncio"):
        RelayServer(RelayConfig(), secret=SECRET, transport="quic")


def test_the_random_source_can_be_given() -> None:
    assert RelayServer(RelayConfig(), secret=SECRET, rng=random.Random(7)).engine.num_sessions == 0


@pytest.mark.usefixtures("fake_engine")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("has_signal_handlers", [True, False])
def test_a_signal_ends_it_cleanly(
    number: signal.Signals, has_signal_handlers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        if not has_signal_handlers:
            monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", unavailable)
        server, engine = new_server()
        await server.start()
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)
        async with asyncio.timeout(2.0):
            await server.serve_forever()
        assert engine.calls["shutdown"] == 3
        with pytest.raises(RuntimeError):
            _ = server.address

    def unavailable(*_: object) -> None:
        raise NotImplementedError

    before = signal.getsignal(number)
    run_on("asyncio", main)
    assert signal.getsignal(number) is before


@pytest.mark.usefixtures("fake_engine")
def test_a_cancelled_server_says_goodbye_too() -> None:
    async def main() -> None:
        server, engine = new_server()
        await server.start()
        serving = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0.01)
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        assert engine.calls["shutdown"] == 3

    run_on("asyncio", main)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    async def main() -> None:
        before = signal.getsignal(signal.SIGTERM)
        await asyncio.to_thread(run_on, "asyncio", inner)
        assert signal.getsignal(signal.SIGTERM) is before

    async def inner() -> None:
        on_stop_signals(lambda: None)()

    run_on("asyncio", main)


def test_the_doubles_and_the_server_have_the_same_face() -> None:
    assert {"next_beat", "event_window_s", "batch_received"} <= set(dir(RelayServer))
    assert {"batch_received"} <= set(dir(RecordingReceiver))
