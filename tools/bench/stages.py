"""What each stage inside the engine costs: `tickrelay bench --stages`.

One process holds an engine, the batch transport and the players of `tools.load`, on real loopback sockets and a clock
that is moved by hand: the players send, the relay drains, ticks and sends, the players read, a hundred times. The
functions that the engine calls are wrapped with a stopwatch that counts each only without those it calls in turn.

What that does to the figures: the stopwatch itself takes about 0.6 us per call (measured), and there are some 40 calls
a tick, so 0.4 us per player-tick at 64 players and next to nothing at 500; ticks follow each other without a pause, so
caches stay warmer than in a server; and there is one receive pass per tick. The parts are right beside each other; what
the relay costs altogether is the other rows' business.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

from protocol import dtypes
from protocol.client import ClientConnection, JoinMode, JoinRequest
from protocol.constants import Kind
from relay import acks, delivery, egress, ingress, pacing, snapshots
from relay.addresses import pack_address
from relay.batch import ROW_BYTES, Batch, Outgoing
from relay.config import RelayConfig
from relay.engine import Engine
from relay.stages import select_stages
from relay.transport import libc
from relay.transport.batch_transport import BatchTransport
from relay.transport.sockets import open_udp_socket
from tools.bench.rows import PER_ROOM, TICK_RATE
from tools.bench.run import compile_stages
from tools.load.audience import Aim
from tools.load.checks import Checks
from tools.load.crowd import Crowd
from tools.load.plan import Plan
from tools.load.reading import Shape
from tools.load.wire import Wire

PLAYERS = (64, 500, 4000)
"""The default rows' sizes."""
WARM_UP_TICKS = 60
"""Until everybody is sent everything in every tick, and arrays have grown."""
TICKS = 120
STAGES = ("receive", "parse", "accept", "states", "log", "bodies", "headers", "send", "other")
"""In the order of a tick. Compiled, parsing and writing states belong to `accept`. `other` is the engine without what
is wrapped, and the stopwatch."""
JOIN_STEP_S = 0.001
"""The clock moves by this for each join: the relay takes 2,000 HELLO a second (SPEC 12)."""
_HOST = "127.0.0.1"


Calls = dict[str, list[tuple[Any, Sequence[str]]]]
"""Stage -> where its functions hang, and their names there."""


class Stopwatch:
    """Sums time by stage. Of nested calls each counts only what it does itself."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        """Stage -> seconds so far."""
        self._running = ["other"]
        self._since = time.perf_counter()

    def wrap(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return `call` with its time counted as `stage`."""

        def timed(*args: Any, **named: Any) -> Any:
            self._switch()
            self._running.append(stage)
            try:
                return call(*args, **named)
            finally:
                self._switch()
                self._running.pop()

        return timed

    def _switch(self) -> None:
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    @contextmanager
    def on(self) -> Iterator[None]:
        """Count what happens inside; what is not wrapped counts as `other`."""
        self._since = time.perf_counter()
        yield
        self._switch()


def wrapped_calls(engine: Engine) -> list[tuple[str, Any, str]]:
    """List what is timed: stage, where the function hangs, its name there. All of it is called in every tick."""
    by_stage = _loops(engine) if engine.stages_name == "compiled" else _columns(engine)
    return [(stage, place, name) for stage, places in by_stage.items() for place, names in places for name in names]


def _loops(engine: Engine) -> Calls:
    """List the compiled loops. Parsing, accepting and writing states are one of them."""
    from relay.loops import delivery, intake, messages, packing, pages, signals

    return {
        "accept": [(intake, ("take_in",))],
        "log": [
            (messages, ("accept",)),
            (signals, ("accept",)),
            (delivery, ("gather",)),
            (engine.world.log, ("release", "tidy")),
        ],
        "bodies": [(pages, ("due_pages",))],
        "headers": [(packing, ("build",))],
    }


def _columns(engine: Engine) -> Calls:
    """List the stages in numpy columns."""
    world = engine.world
    return {
        "parse": [(ingress, ("split_kinds", "read_headers", "find_sessions", "check_sections"))],
        "accept": [
            (ingress, ("check_window", "check_acks")),
            (world.budgets, ("refill", "covered", "covered_bytes")),
            (acks, ("accept", "handle_acks")),
        ],
        "states": [(world.entities, ("apply_writes",))],
        "log": [
            (acks, ("handle_log_acks",)),
            (world.intake, ("accept", "append_waiting")),
            (world.signals, ("accept", "release_waiting")),
            (world.signals.queue, ("due",)),
            (world.log, ("release", "tidy")),
            (delivery, ("find_open", "due_entries", "empty_ranges")),
        ],
        "bodies": [(snapshots, ("whose_turn", "find_due", "build_items", "note_sent"))],
        "headers": [(egress, ("cut", "build_datagrams")), (pacing, ("without_flood",))],
    }


@contextmanager
def timed_stages(engine: Engine, watch: Stopwatch) -> Iterator[None]:
    """Wrap the functions of all stages until the block ends."""
    with ExitStack() as undo:
        for stage, place, name in wrapped_calls(engine):
            undo.enter_context(patch.object(place, name, watch.wrap(stage, getattr(place, name))))
        yield


class Rig:
    """An engine behind the batch transport, told the time. What it is to the transport: `transport.base.Receiver`."""

    next_beat = 0.0
    """Always due: the rig drains by itself, the transport sets no timers."""
    event_window_s = None

    def __init__(self, num_players: int, stages: str = "columns") -> None:
        """Build an engine with stages of that name, one of `relay.stages.STAGES`."""
        config = RelayConfig(
            tick_rate=TICK_RATE,
            max_players=num_players,
            max_rooms=num_players,
            max_sessions_per_host=100_000,
        )
        self.now = 0.0
        self.engine = Engine(config, bytes(32), random.Random(1), select_stages(stages))
        self.watch = Stopwatch()
        self.transport: BatchTransport
        self._receive: Callable[[Batch, float], None] = self.engine.receive

    async def open(self) -> None:
        """Bind the socket."""
        self.transport = await BatchTransport.open(open_udp_socket(_HOST, 0), self, lambda: self.now)

    def batch_received(self, batch: Batch, now: float) -> None:
        """Give a batch to the engine."""
        self._receive(batch, now)

    def join_players(self, num_players: int) -> "Players":
        """Let players join, by handing their datagrams straight to the engine. Returns: them, on their sockets."""
        plan = Plan(port=1, rooms=-(-num_players // PER_ROOM), players=PER_ROOM, aim=Aim.ALL)
        host, port = self.transport.local_address
        players = Players(plan, Wire((host, port), socket.AF_INET, -(-num_players // plan.per_socket)))
        for number in range(num_players):
            address = pack_address(*players.wire.local_address(number // plan.per_socket))
            players.adopt(number, self._join(number, address), self.now)
        return players

    def _join(self, number: int, address: bytes) -> Any:
        """Run one handshake. Returns: the fields of its WELCOME."""
        request = JoinRequest(
            mode=JoinMode.JOIN_OR_CREATE,
            code=f"STAGES-{number // PER_ROOM}",
            name=f"player {number}",
            max_players=PER_ROOM,
            max_state_bytes=Plan.state_bytes,
        )
        attempt = ClientConnection(request, nonce=number + 1, now=self.now)
        batch = Batch(2)
        while True:
            self.now += JOIN_STEP_S
            batch.clear()
            for datagram in attempt.poll(self.now):
                batch.append(datagram, address)
            self.engine.receive(batch, self.now)
            for _, payload in self.engine.flush(self.now).datagrams():
                if payload[0] == Kind.WELCOME:
                    return dtypes.WELCOME_FIELDS.decode(payload)
                attempt.receive(payload, self.now)

    def play(self, players: "Players", ticks: int) -> None:
        """Let ticks pass: everybody publishes, the relay works, which is timed, and everybody reads."""
        drain = self.watch.wrap("receive", self.transport.drain)
        send: Callable[[Outgoing], None] = self.watch.wrap("send", self.transport.send)
        self._receive = self.watch.wrap("other", self.engine.receive)
        for _ in range(ticks):
            players.publish(self.now)
            self.now += 1 / TICK_RATE
            with self.watch.on():
                drain()
                send(self.engine.tick(self.now))
            players.receive(self.now)


class Players:
    """A crowd of `tools.load` on its sockets, whose every tick is the rig's."""

    def __init__(self, plan: Plan, wire: Wire) -> None:
        self.wire = wire
        self.checks = Checks()
        self.crowd: Crowd
        self._plan = plan
        self._rows = np.zeros(0, np.int64)

    def adopt(self, number: int, welcome: Any, now: float) -> None:
        """Take over a player who has joined."""
        if not number:
            shape = Shape(welcome.player_slots, welcome.page_ids, self._plan.state_bytes)
            self.crowd = Crowd(shape, self._plan.habits, TICK_RATE, welcome.keepalive_ms / 1000, self.checks)
            self.checks.attach(self.crowd, self._plan, TICK_RATE)
        self._rows = np.append(self._rows, self.crowd.adopt(welcome, number // PER_ROOM, now))

    def publish(self, now: float) -> None:
        """Let everybody publish and send."""
        self.crowd.publish(self._rows, now)
        outbound = self.crowd.build_tick(self._rows, now)
        self.wire.send(outbound.row // self._plan.per_socket, outbound.data, outbound.length)

    def receive(self, now: float) -> None:
        """Let everybody read what has come."""
        while len(arrivals := self.wire.receive()):
            at = np.flatnonzero(arrivals.data[:, 0] == Kind.UPDATE)
            self.crowd.receive(arrivals.data.reshape(-1), at * ROW_BYTES, arrivals.length[at], np.full(len(at), now))
        self.checks.freshness.settle(self.crowd.downlink.newest_tick)


def why_not() -> str | None:
    """Tell why the stages cannot be measured here; None if they can."""
    return None if libc.find_mmsg_calls() is not None else "the batch transport needs 64-bit Linux"


def kinds_of_stages() -> list[str]:
    """List the names of stages that can be measured here."""
    try:
        compile_stages()
    except ValueError:
        return ["columns"]
    return ["compiled", "columns"]


def measure_stages(num_players: int, kind: str, tell: Callable[[str], None], ticks: int = TICKS) -> dict[str, float]:
    """Measure the stages of a kind at one size. Returns: stage -> CPU us per player and tick."""
    return asyncio.run(_measure(num_players, kind, tell, ticks))


async def _measure(num_players: int, kind: str, tell: Callable[[str], None], ticks: int) -> dict[str, float]:
    rig = Rig(num_players, kind)
    await rig.open()
    try:
        players = rig.join_players(num_players)
        rig.play(players, WARM_UP_TICKS)
        rig.watch = Stopwatch()
        freshness = players.checks.freshness
        freshness.measured_from = players.crowd.downlink.newest_tick
        with timed_stages(rig.engine, rig.watch):
            rig.play(players, ticks)
        freshness.settle_all(players.crowd.downlink.newest_tick)
        players.wire.close()
        tell(f"{kind} stages, {num_players} players: delivered share {freshness.delivered_share or 0:.4f}")
    finally:
        rig.transport.close()
    return {stage: seconds / (num_players * ticks) * 1e6 for stage, seconds in rig.watch.seconds.items()}


def stages_text(kind: str, found: dict[int, dict[str, float]]) -> str:
    """Write the table of one kind: a line per stage, a column per size."""
    lines = [[f"us, {kind} stages", *(f"{players:,} players" for players in found)]]
    for stage in STAGES:
        lines.append([stage, *(f"{figures[stage]:.2f}" for figures in found.values())])
    lines.append(["together", *(f"{sum(figures.values()):.2f}" for figures in found.values())])
    return "\n".join(line[0].ljust(24) + "".join(cell.rjust(16) for cell in line[1:]) for line in lines)
