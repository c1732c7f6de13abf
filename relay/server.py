"""The relay on asyncio: one engine, one socket, one task that ticks.

    transport ── batch_received ──▶ engine.receive, engine.flush ── send ──▶      as datagrams come
    beat task ── drain, then ─────▶ engine.tick ────────────────── send ──▶      tick_rate times a second

Everything runs on the loop's thread, one call at a time, so the engine needs no locks. All knowledge of rooms and
sessions is the engine's; here are time, signals, logs, and the one place that catches what should not have happened.
"""

import asyncio
import contextlib
import logging
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from protocol.constants import DEFAULT_PORT
from relay.batch import Batch, Outgoing
from relay.beats import Beats, EventWindow, LoadMeter
from relay.capture.recorder import Recorder
from relay.config import RelayConfig, documented_fields
from relay.engine import Engine
from relay.quietlog import QuietLog
from relay.stages import must_compile, select_stages
from relay.transport.base import Transport
from relay.transport.selection import open_transport, select_transport
from relay.transport.sockets import BUFFER_BYTES, open_udp_socket

SECRET_BYTES = 32
"""Length of the server's own secret, from which cookies and reset tokens are made."""
NUM_GOODBYES = 3
GOODBYE_INTERVAL_S = 0.020
"""BYE is sent three times, 20 ms apart (SPEC 6)."""
TRACEBACKS_PER_S = 1
ROOM_LINES_PER_S = 20
"""Opening rooms is cheap for a client; a log that notes each must not be cheap to flood (chosen)."""

log = logging.getLogger("tickrelay")


class RelayServer:
    """One relay. `await start()`, then `await serve_forever()`, or `await stop()` when it is time."""

    def __init__(
        self,
        config: RelayConfig,
        *,
        secret: bytes,
        host: str | None = None,
        port: int = DEFAULT_PORT,
        transport: str = "auto",
        stages: str = "columns",
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build a relay that does not listen yet.

        Args:
            config: Limits and rates.
            secret: 32 bytes. A relay that is started again with the same ones tells clients of the one before at
                once that their sessions are gone.
            host: Name or numeric address to listen on; None for all IPv4 and IPv6 addresses.
            port: UDP port; 0 lets the system choose, `address` tells.
            transport: auto, batch or asyncio.
            stages: auto, compiled or columns, see `stages.select_stages`.
            rng: Source of session ids, cookies and codes; None for the system's. Only tests give another.
            clock: Monotonic seconds.
        Raises: ValueError if the secret is not 32 bytes, or transport or stages are unknown or not there.
        """
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"secret has {len(secret)} bytes; permitted: {SECRET_BYTES}")
        self.config = config
        build_stages = select_stages(stages)
        if must_compile(stages):
            log.info("compiling the fast stages: once for this version, some 40 s")
        self.engine = Engine(config, secret, rng or random.SystemRandom(), build_stages)
        self.counters: Counter[str] = Counter()
        """exceptions_receive, exceptions_flush, exceptions_tick, exceptions_send, exceptions_shutdown,
        exceptions_capture."""
        self._transport_name = select_transport(transport)
        self._listen_on = (host, port)
        self._clock = clock
        self._beats = Beats(config.tick_rate, clock())
        self._load = LoadMeter(clock())
        self._event_window = EventWindow(self._beats.period_s)
        self._num_early = 0
        """Datagrams sent between beats since the newest tick."""
        self._trouble_log = QuietLog(log, TRACEBACKS_PER_S)
        self._room_log = QuietLog(log, ROOM_LINES_PER_S)
        self._transport: Transport | None = None
        self._beat_task: asyncio.Task[None] | None = None
        self._recorder: Recorder | None = None
        self._is_in_beat = False

    # --- its life

    async def start(self) -> None:
        """Bind the port and begin to tick. Raises: OSError if the port is in use or the host not ours."""
        sock = open_udp_socket(*self._listen_on)
        self._beats = Beats(self.config.tick_rate, self._clock())
        self._load = LoadMeter(self._clock())
        try:
            self._transport = await open_transport(self._transport_name, sock, self)
        except BaseException:
            sock.close()
            raise
        self._beat_task = asyncio.create_task(self._run_beats())
        self._log_start(self._transport)

    async def serve_forever(self) -> None:
        """Serve until SIGINT or SIGTERM, or until cancelled; then say goodbye to every client and close."""
        asked_to_stop = asyncio.Event()
        undo = on_stop_signals(asked_to_stop.set)
        try:
            await asked_to_stop.wait()
            log.info("asked to stop")
        finally:
            undo()
            await self.stop()

    async def stop(self) -> None:
        """Tell every client, and close the socket. May be called twice."""
        transport, self._transport = self._transport, None
        if transport is None or self._beat_task is None:
            return
        self._beat_task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._beat_task
        for number in range(NUM_GOODBYES):
            if number:
                await asyncio.sleep(GOODBYE_INTERVAL_S)
            self._send(transport, self._guarded("shutdown", self.engine.shutdown, self._clock()))
        transport.close()
        await transport.wait_closed()
        self._end_capture()
        self._log_events()
        log.info("stopped; dropped since the start: %s", self._dropped_text(transport))

    def record(self, recorder: Recorder) -> None:
        """Capture what is received and sent from now on. Raises: RuntimeError if the relay is not running."""
        is_compiled = self.engine.stages_name == "compiled"
        recorder.begin(self.engine.world, self.address, time.time() - self._clock(), is_compiled)
        self._recorder = recorder

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that the relay is bound to. Raises: RuntimeError if it is not running."""
        return self.transport.local_address

    @property
    def transport(self) -> Transport:
        """The transport in use. Raises: RuntimeError if the relay is not running."""
        if self._transport is None:
            raise RuntimeError("the relay is not running")
        return self._transport

    @property
    def tick_s(self) -> float:
        """How long the newest tick took, receiving and sending included."""
        return self._load.tick_s

    @property
    def tick_overruns(self) -> int:
        """Ticks left out because the relay was late by more than a period."""
        return self._beats.tick_overruns

    # --- what the transport asks and brings (transport.base.Receiver)

    @property
    def next_beat(self) -> float:
        """When the socket is drained next in any case."""
        return self._beats.next_at

    @property
    def event_window_s(self) -> float | None:
        """Least time between drains while what arrives should not wait for the next beat; None while it may."""
        return self._event_window.seconds(self._load.load) if self.engine.wants_quick(self._clock()) else None

    def batch_received(self, batch: Batch, now: float) -> None:
        """Give a batch to the engine, and send what it causes at once unless a tick follows or time is short."""
        self._guarded("receive", self.engine.receive, batch, now)
        if self._recorder is not None:
            self._captured(self._recorder.on_received, batch, now)
        if self._is_in_beat:
            self._load.add_work(self._clock() - now)
            return
        if self._transport is not None and not self._load.is_busy:
            outgoing = self._guarded("flush", self.engine.flush, now)
            self._send(self._transport, outgoing)
            self._num_early += len(outgoing) if outgoing is not None else 0
        took_s = self._clock() - now
        self._load.add_work(took_s)
        self._event_window.on_early(took_s)

    # --- beats

    async def _run_beats(self) -> None:
        """Beat until cancelled.

        The task waits once, and each beat sets the timer of the next one: a task that sleeps in a loop is woken twice
        for each beat, first its timer and then itself, in another turn of the loop.
        """
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def plan() -> None:
            nonlocal timer
            timer = loop.call_later(max(0.0, self._beats.next_at - self._clock()), beat)

        def beat() -> None:
            try:
                self._beat()
            finally:
                plan()

        plan()
        try:
            await loop.create_future()
        finally:
            timer.cancel()

    def _beat(self) -> None:
        """Read what waits, tick if it is time, send."""
        transport = self._transport
        if transport is None:
            return
        began = self._clock()
        num_ticks = self._beats.begin(began)
        self._is_in_beat = True
        self._guarded("receive", transport.drain)
        self._is_in_beat = False
        now = self._clock()
        if num_ticks:
            self._send(transport, self._guarded("tick", self.engine.tick, now, num_ticks))
        else:
            self._send(transport, self._guarded("flush", self.engine.flush, now))
        if self._recorder is not None:
            self._captured(self._recorder.on_beat, now)
        end = self._clock()
        self._load.add_work(end - now)
        if num_ticks:
            self._load.close_tick(end, end - began)
            self.engine.load_percent = self._load.percent
            self._event_window.close_tick(self._num_early, self.engine.num_sessions)
            self._num_early = 0
        self._log_events()

    def _send(self, transport: Transport, outgoing: Outgoing | None) -> None:
        if outgoing is not None and len(outgoing):
            self._guarded("send", self._send_and_record, transport, outgoing)

    def _send_and_record(self, transport: Transport, outgoing: Outgoing) -> None:
        transport.send(outgoing)
        if self._recorder is not None:  # behind sending: players do not wait for the disk, and what raised was not sent
            self._captured(self._recorder.on_sent, outgoing, self._clock())

    def _guarded(self, stage: str, call: Callable[..., Any], *args: Any) -> Any:
        """Call a stage. What it should never raise is counted and logged, and the relay serves on.

        Returns: What the stage returned, or None if it raised.
        """
        try:
            return call(*args)
        except Exception as error:
            self.counters[f"exceptions_{stage}"] += 1
            self._trouble_log.log(self._clock(), logging.ERROR, f"unexpected error in {stage}; serving on", error)
            return None

    def _captured(self, call: Callable[..., None], *args: Any) -> None:
        """Let the recorder capture. What it raises ends the capture, never the relay."""
        try:
            call(*args)
        except Exception as error:
            self.counters["exceptions_capture"] += 1
            if isinstance(error, OSError):
                log.error("capture ended, serving on without: %s", error.strerror)
            else:
                log.error("unexpected error in capture; serving on without", exc_info=error)
            recorder, self._recorder = self._recorder, None
            if recorder is not None:
                with contextlib.suppress(Exception):  # it is broken already
                    recorder.close()

    def _end_capture(self) -> None:
        if self._recorder is not None:
            self._captured(self._recorder.close)
            self._recorder = None

    # --- logs

    def _log_events(self) -> None:
        events = self.engine.events
        if events:
            now = self._clock()
            for event in events:
                self._room_log.log(now, logging.INFO, event.text)
            events.clear()

    def _log_start(self, transport: Transport) -> None:
        host, port = transport.local_address
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if self._listen_on[0] is None:
            where += " (all IPv4 and IPv6 addresses)" if ":" in host else " (all IPv4 addresses; no IPv6 here)"
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        config = self.config
        log.info(
            "tickrelay %s listening on UDP %s, %d ticks/s, transport %s on %s, stages %s",
            config.release, where, config.tick_rate, transport.name, loop, self.engine.stages_name,
        )  # fmt: skip
        limits = [name for name, _ in documented_fields() if name != "release"]
        log.info("limits: %s", ", ".join(f"{name} {getattr(config, name)}" for name in limits))
        receive, send = (size // 1024 for size in transport.buffer_bytes)
        asked = BUFFER_BYTES // 1024
        if min(receive, send) < asked:
            log.info(
                "socket buffers: receive %d KiB, send %d KiB of %d KiB asked for; for many players raise "
                "net.core.rmem_max and net.core.wmem_max (Linux)",
                receive, send, asked,
            )  # fmt: skip

    def _dropped_text(self, transport: Transport) -> str:
        """List every drop and trouble counter that is not 0."""
        drops = {reason.name.lower(): count for reason, count in self.engine.stats.dropped.items()}
        troubles = {name: count for name, count in transport.counters.items() if name != "datagrams_sent"}
        all_counts = drops | troubles | dict(self.counters) | {"tick_overruns": self.tick_overruns}
        return ", ".join(f"{name} {count}" for name, count in sorted(all_counts.items()) if count) or "nothing"


def on_stop_signals(call: Callable[[], object]) -> Callable[[], None]:
    """Call `call` on the running loop when the process is asked to end (SIGINT, SIGTERM).

    Returns: What to call to undo it. Outside the main thread, where signals cannot be caught, nothing happens.
    """
    loop = asyncio.get_running_loop()
    undo = contextlib.ExitStack()
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number) or signal.SIG_DFL
        try:
            loop.add_signal_handler(number, call)
            undo.callback(signal.signal, number, before)  # the loop would put Python's own in, though it was ignored
            undo.callback(loop.remove_signal_handler, number)
        except (NotImplementedError, AttributeError):
            # Windows. The loop notices at its next turn; the beats see to it that there is one.
            with contextlib.suppress(ValueError):
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(call))
                undo.callback(signal.signal, number, before)
        except (ValueError, RuntimeError):
            pass  # not the main thread
    return undo.close
