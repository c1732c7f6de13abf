"""One run of the load generator: players join, play, come and go, fall silent, and all is counted up.

    ramp-up ──▶ warm-up ──▶ load ──▶ settling ──▶ over
    all join    they play    measured  nobody acts   tables and logs are compared

A loop of passes a few milliseconds apart: read what came, let everybody act whose moment it is, send, sleep.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any

import numpy as np

from protocol.client import ByeReason
from protocol.constants import Kind
from relay.batch import ROW_BYTES
from relay.columns import Ints
from tools.load.acting import Acting
from tools.load.checks import Checks, unconverged
from tools.load.crowd import Crowd
from tools.load.joining import AGAIN_S, COLD_KINDS, DEADLINE_S, Joining, made_up_welcome
from tools.load.plan import Plan
from tools.load.reading import Shape
from tools.load.relay_process import RelayProcess, Usage
from tools.load.uplink import Outbound
from tools.load.weather import Direction, Parcel
from tools.load.wire import Arrivals, Wire

STEP_S = 0.004
"""Time between passes. Receive times are the kernel's, so it costs no accuracy; much shorter, and a pass is all
overhead."""
STEP_OF_MANY_S = 0.008
MANY = 1000
"""... and with more players than this: 2,000 who each send 5 messages a second take half a core then, not all."""
STEP_IN_WEATHER_S = 0.016
"""... and with network conditions: what comes out of order is taken apart datagram by datagram, which a pass for few
makes dear, and their times of arrival are the conditions'. 1,000 players take half a core, not all."""
RAMP_UP_PATIENCE_S = 30.0
"""Joining takes no longer than it should at the join rate and this; then the run goes on with those who are in."""
QUIET_S = 0.5
"""When nothing new has arrived for so long after the load, nothing will (with the longest delay of the network)."""
BYE_COPIES = 3
REJOIN_S = 0.5
"""A player who left or crashed comes back after this."""
NUM_PARTS = 3
"""Parts of the load whose cost is told apart."""
TIMEOUT_MARGIN_S = 2.0
"""So long after its timeout a silent player may still be in a table."""


class Phase(Enum):
    """Where a run is."""

    RAMP_UP = "ramp-up"
    WARM_UP = "warm-up"
    LOAD = "load"
    SETTLING = "settling"
    OVER = "over"


@dataclass
class Moment:
    """Everything that is counted, at one moment."""

    at: float
    cpu_s: float
    """CPU time of this process."""
    relay: Usage | None
    datagrams_up: int
    datagrams_down: int
    bytes_up: int
    bytes_down: int
    decided_up: int
    """Datagrams of which it is known whether the relay got them."""
    lost_up: int
    expected_down: int
    received_down: int
    published: int
    pairs: int
    delivered: int
    left_out: int


@dataclass
class Ends:
    """How lives ended."""

    left: int = 0
    crashed: int = 0
    moved: int = 0
    by_relay: list[str] = field(default_factory=list)


class Run:
    """See the head of this module. `step` until `phase` is OVER; then `tools.load.summary` tells how it was."""

    def __init__(
        self, plan: Plan, wire: Wire, relay: RelayProcess | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; nothing is sent yet."""
        self.plan = plan
        self.wire = wire
        self.relay = relay
        self.phase = Phase.RAMP_UP
        self.phase_began = clock()
        self.began = self.phase_began
        self.checks = Checks()
        self.crowd: Crowd | None = None
        """None until the first player is in."""
        self.acting: Acting | None = None
        self.ends = Ends()
        self.tick_rate = 0
        self.begin: Moment | None = None
        """When the load began, after the warm-up."""
        self.end: Moment | None = None
        self.thirds: list[Usage] = []
        """The relay's usage at the beginning of the load and after each third of it."""
        self.unconverged: Ints | None = None
        """Players whose table was not right in the end; None before."""
        self.clock = clock
        self._rng = np.random.default_rng(plan.seed)
        self.joining = Joining(plan, Random(plan.seed * 7919 + int(self.began * 1e6)), self._send_one)
        self._player_of: list[int] = []
        self._silent: list[tuple[float, int, int]] = []  # until, room, player id of crashed players
        self._byes: list[tuple[float, int, bytes]] = []
        self._churned_at = self.began
        self._quiet_since = self.began
        self._num_received = -1
        self._timeout_s = 0.0
        self._kept_s = 0.0
        """How long the relay keeps the place of a player who crashed."""
        paths = spread_paths(plan)
        self.up = Direction(paths, True, self._rng) if paths else None
        self.down = Direction(paths, False, self._rng) if paths else None
        if plan.floor:
            self.tick_rate = round(plan.rate)
            for player in range(plan.num_players):
                self._admit(player, made_up_welcome(plan, player, self.tick_rate), self.began)
        else:
            for player in range(plan.num_players):
                self.joining.want(player, self.began)

    # --- passes

    def step(self) -> None:
        """Make one pass."""
        self._take(self.clock())
        now = self.clock()  # what is said from here on is sent at once: reading for others must not count as its way
        self.joining.step(now)
        if self.crowd is not None and self.acting is not None:
            self.crowd.downlink.expire(now)
            rows = self.acting.step(now, self.phase in (Phase.WARM_UP, Phase.LOAD))
            self._send(self.crowd.build_tick(rows, now), now)
            self._send(self.crowd.build_words(now), now)
            self.checks.freshness.note_sent(now, int(self.crowd.people.published.sum()))
            self.checks.freshness.settle(self.crowd.downlink.newest_tick)
            self._end_silent(now)
        if self.phase is Phase.LOAD:
            self._churn(now)
        self._send_byes(now)
        self._send_delayed(now)
        self._move_on(now)

    def rest_s(self, pass_began: float) -> float:
        """Tell how long to sleep before the next pass, seconds."""
        step_s = STEP_S if self.plan.num_players <= MANY else STEP_OF_MANY_S
        return max(0.0, pass_began + (STEP_IN_WEATHER_S if self.up is not None else step_s) - self.clock())

    def stop(self) -> None:
        """End the load early; what has been measured counts."""
        now = self.clock()
        if self.phase in (Phase.RAMP_UP, Phase.WARM_UP):
            self._part()
            self._enter(Phase.OVER, now)
        elif self.phase is Phase.LOAD:
            self._end_load(now)
        else:
            self._finish(now)

    def living(self) -> int:
        """Count players in a room."""
        return 0 if self.crowd is None else len(self.crowd.people.living)

    def moment(self, now: float) -> Moment:
        """Read all counters."""
        counters = self.wire.counters
        freshness, people = self.checks.freshness, None if self.crowd is None else self.crowd.people
        assert people is not None
        return Moment(
            now,
            time.process_time(),
            None if self.relay is None else self.relay.usage(),
            counters["datagrams_up"],
            counters["datagrams_down"],
            counters["bytes_up"],
            counters["bytes_down"],
            *people.count_lost(),
            int(people.recv_newest[: people.used].sum()),
            int(people.recv_count[: people.used].sum()),
            int(people.published[: people.used].sum()),
            freshness.pairs,
            freshness.delivered,
            freshness.ticks_left_out,
        )

    # --- receiving

    def _take(self, now: float) -> None:
        arrivals = self.wire.receive()
        if self.down is not None:
            if len(arrivals):
                player = self._players_of(arrivals)
                self.down.push(player, arrivals.data, arrivals.length, arrivals.socket, now)
            parcel = self.down.pop(now)
            arrivals = Arrivals(parcel.data, parcel.length, parcel.due, parcel.tag)
        if not len(arrivals):
            return
        is_update = arrivals.data[:, 0] == Kind.UPDATE
        for i in np.flatnonzero(~is_update).tolist():
            data = arrivals.data[i, : arrivals.length[i]].tobytes()
            self._take_cold(data, int(arrivals.socket[i]), float(arrivals.arrived[i]))
        if self.crowd is not None and is_update.any():
            at = np.flatnonzero(is_update)
            self.crowd.receive(arrivals.data.reshape(-1), at * ROW_BYTES, arrivals.length[at], arrivals.arrived[at])

    def _players_of(self, arrivals: Arrivals) -> Ints:
        """Find out whose path each datagram takes."""
        player = np.zeros(len(arrivals), np.int64)
        sessions = arrivals.data[:, 4:12].copy().view("<u8")[:, 0]
        if self.crowd is not None:
            row, known = self.crowd.people.find(sessions)
            known &= arrivals.data[:, 0] == Kind.UPDATE
            player[known] = np.array(self._player_of, np.int64)[row[known]]
        for i in np.flatnonzero(arrivals.data[:, 0] != Kind.UPDATE).tolist():
            player[i] = self._player_of_cold(arrivals.data[i, :16].tobytes())
        return player

    def _player_of_cold(self, data: bytes) -> int:
        """Find out whose path a rare datagram takes: a handshake's by its nonce, a session's by its number.

        What is nobody's takes the first player's.
        """
        player = self.joining.player_of(data)
        if player is None and self.crowd is not None:
            row, known = self.crowd.people.find(np.frombuffer(data, "<u8", 1, 2))
            player = self._player_of[int(row[0])] if known[0] else None
        return player or 0

    def _take_cold(self, data: bytes, number: int, arrived: float) -> None:
        if not data:
            return
        if data[0] in COLD_KINDS:
            admitted = self.joining.handle(data, arrived)
            if admitted is not None:
                self._admit(*admitted, arrived)
            return
        answer = None if self.crowd is None else self.crowd.handle_cold(data, arrived)
        if answer is None:
            return
        row, what = answer
        if isinstance(what, bytes):
            self.wire.send_one(number, what)
        else:
            reason = what if isinstance(what, ByeReason) else _reason_of(what)
            self._end(row, reason.name if isinstance(reason, ByeReason) else f"reason {reason}")

    def _admit(self, player: int, welcome: Any, now: float) -> None:
        """A player is in."""
        plan = self.plan
        if self.crowd is None or self.acting is None:
            self.tick_rate = welcome.tick_rate
            self._timeout_s = welcome.timeout_ms / 1000
            self._kept_s = self._timeout_s + welcome.grace_s
            shape = Shape(welcome.player_slots, welcome.page_ids, plan.habits.state_bytes)
            self.crowd = Crowd(shape, plan.habits, self.tick_rate, welcome.keepalive_ms / 1000, self.checks)
            self.checks.attach(self.crowd, plan, self.tick_rate)
            self.acting = Acting(plan, self.crowd, self._rng)
        row = self.crowd.adopt(welcome, player // plan.players, now)
        self._player_of.append(player)
        self.acting.begin(row, now)

    # --- sending

    def _socket_of(self, player: Ints) -> Ints:
        return player // self.plan.per_socket

    def _send(self, outbound: Outbound, now: float) -> None:
        if not len(outbound.row):
            return
        player = np.array(self._player_of, np.int64)[outbound.row]
        if self.up is None:
            self.wire.send(self._socket_of(player), outbound.data, outbound.length)
        else:
            self.up.push(player, outbound.data, outbound.length, self._socket_of(player), now)

    def _send_one(self, player: int, datagram: bytes) -> None:
        if self.up is None:
            self.wire.send_one(int(self._socket_of(np.array([player]))[0]), datagram)
            return
        data = np.zeros((1, ROW_BYTES), np.uint8)
        data[0, : len(datagram)] = np.frombuffer(datagram, np.uint8)
        lane = np.array([player])
        self.up.push(lane, data, np.array([len(datagram)]), self._socket_of(lane), self.clock())

    def _send_delayed(self, now: float) -> None:
        if self.up is not None:
            parcel: Parcel = self.up.pop(now)
            if len(parcel.length):
                self.wire.send(parcel.tag, parcel.data, parcel.length)

    # --- coming and going

    def _churn(self, now: float) -> None:
        """Let players leave, crash and move, at their rates."""
        elapsed, self._churned_at = now - self._churned_at, now
        plan, rng = self.plan, self._rng
        for _ in range(int(rng.poisson(plan.leaves * elapsed))):
            self._leave(self._anybody(), now)
        for _ in range(int(rng.poisson(plan.crashes * elapsed))):
            self._crash(self._anybody(), now)
        for _ in range(int(rng.poisson(plan.moves * elapsed))):
            number = int(rng.integers(len(self.wire)))
            self.wire.reopen(number)
            self.ends.moved += plan.per_socket

    def _anybody(self) -> int | None:
        assert self.crowd is not None
        living = self.crowd.people.living
        return int(self._rng.choice(living)) if len(living) else None

    def _leave(self, row: int | None, now: float) -> None:
        if row is None or self.crowd is None:
            return
        bye = self.crowd.build_bye(row)
        player = self._player_of[row]
        self._byes += [(now + 0.020 * copy, player, bye) for copy in range(BYE_COPIES)]
        self._end_life(row)
        self.ends.left += 1
        self.joining.want(player, now + REJOIN_S)

    def _crash(self, row: int | None, now: float) -> None:
        if row is None or self.crowd is None:
            return
        people = self.crowd.people
        self._silent.append((now + self._kept_s + TIMEOUT_MARGIN_S, int(people.room[row]), int(people.player_id[row])))
        self._end_life(row)
        self.ends.crashed += 1
        self.joining.want(self._player_of[row], now + REJOIN_S)

    def _send_byes(self, now: float) -> None:
        for _, player, bye in [bye for bye in self._byes if bye[0] <= now]:
            self._send_one(player, bye)
        self._byes = [bye for bye in self._byes if bye[0] > now]

    def _end(self, row: int, reason: str) -> None:
        """The relay has ended a session, or fallen silent."""
        self._end_life(row)
        self.ends.by_relay.append(reason)

    def _end_life(self, row: int) -> None:
        assert self.crowd is not None and self.acting is not None
        self.acting.end(row)
        self.crowd.end(row)

    def _end_silent(self, now: float) -> None:
        assert self.crowd is not None
        if self.plan.floor:
            return  # it sends no keepalives
        living = self.crowd.people.living
        for row in living[self.crowd.people.heard_at[living] + self._timeout_s <= now].tolist():
            self._end(row, "the relay fell silent")

    # --- phases

    def _enter(self, phase: Phase, now: float) -> None:
        self.phase, self.phase_began = phase, now

    def _move_on(self, now: float) -> None:
        elapsed = now - self.phase_began
        plan = self.plan
        if self.phase is Phase.RAMP_UP:
            limit = plan.num_players / plan.join_rate + RAMP_UP_PATIENCE_S
            is_hopeless = self.crowd is None and elapsed > DEADLINE_S + AGAIN_S
            if self.living() == plan.num_players or elapsed > limit or is_hopeless:
                self._enter(Phase.WARM_UP if self.crowd is not None else Phase.OVER, now)
        elif self.phase is Phase.WARM_UP and elapsed >= plan.warm_up_s:
            self._begin_load(now)
        elif self.phase is Phase.LOAD:
            if elapsed >= len(self.thirds) * plan.duration_s / NUM_PARTS:
                self._note_usage()
            if elapsed >= plan.duration_s or self._is_deserted():
                self._end_load(now)
        elif self.phase is Phase.SETTLING and (self._is_quiet(now) or elapsed > plan.settle_s + plan.longest_delay_s):
            self._finish(now)

    def _is_deserted(self) -> bool:
        """Tell whether all players were thrown out: who was does not come back."""
        return not self.living() and not self.joining.num_waiting

    def _begin_load(self, now: float) -> None:
        assert self.crowd is not None
        self.checks.freshness.measured_from = self.crowd.downlink.newest_tick
        self.checks.set_timing(True)
        self.begin = self.moment(now)
        self._churned_at = now
        self._enter(Phase.LOAD, now)

    def _note_usage(self) -> None:
        usage = None if self.relay is None else self.relay.usage()
        if usage is not None:
            self.thirds.append(usage)

    def _end_load(self, now: float) -> None:
        assert self.crowd is not None
        self.checks.freshness.measured_to = self.crowd.downlink.newest_tick
        self.checks.set_timing(False)
        self.end = self.moment(now)
        self._quiet_since = now
        self._enter(Phase.SETTLING, now)

    def _is_quiet(self, now: float) -> bool:
        """Tell whether everything has arrived: all is acknowledged, all tables are equal, and nothing new comes.

        Who was about to come back when the load ended does so first.
        """
        assert self.crowd is not None
        if self.plan.has_churn and self.joining.num_waiting:
            return False
        received = self.checks.ledger.messages["received"] + self.checks.ledger.signals["received"]
        if received != self._num_received:
            self._num_received, self._quiet_since = received, now
        if now - self._quiet_since < QUIET_S + self.plan.longest_delay_s:
            return False
        return not len(self.crowd.unsettled()) and not len(self._different(now))

    def _different(self, now: float) -> Ints:
        assert self.crowd is not None
        self._silent = [seat for seat in self._silent if seat[0] > now]
        return unconverged(self.crowd, self.plan.rooms, [(room, player_id) for _, room, player_id in self._silent])

    def _finish(self, now: float) -> None:
        """Count everything up, and leave."""
        assert self.crowd is not None
        crowd = self.crowd
        self.unconverged = np.union1d(self._different(now), [] if self.plan.floor else crowd.unsettled())
        rows = np.arange(crowd.people.used)
        self.checks.freshness.settle_all(crowd.downlink.newest_tick)
        self.checks.ledger.count_up(crowd.log.done(rows))
        self._part()
        self._enter(Phase.OVER, now)

    def _part(self) -> None:
        """Say goodbye for everybody, so that the relay need not wait for their timeouts."""
        if self.crowd is not None:
            for row in self.crowd.people.living.tolist():
                self.wire.send_one(self._player_of[row] // self.plan.per_socket, self.crowd.build_bye(row))


def _reason_of(number: int) -> ByeReason | int:
    try:
        return ByeReason(number)
    except ValueError:
        return number


def spread_paths(plan: Plan) -> list[Any]:
    """Give every player a path, by the shares of the plan; none if the network is left alone."""
    if not plan.paths:
        return []
    ends = np.cumsum([share for share, _ in plan.paths])
    place = (np.arange(plan.num_players) * 0.618033988749895) % 1.0  # spreads every share evenly over the rooms
    which = np.minimum(np.searchsorted(ends, place, "right"), len(plan.paths) - 1)
    return [plan.paths[i][1] for i in which.tolist()]
