"""The relay without its sockets: datagrams in, datagrams out, and `now` as a parameter.

Three calls make a server. `receive` takes a batch through the stages in the order of SPEC 11: kinds, sessions, budgets,
window, acks, sections, accept; then the parts: acknowledgements, states, messages, signals. `flush` sends what need not
wait for a tick: answers, acks that are due, new log entries, signals. `tick` sends that, and a snapshot of whatever
changed. Every stage is one function over all sessions, so a pass costs the same number of calls for 16 players as for
1,000; only joining, leaving and what goes wrong is Python per datagram.
"""

from collections.abc import Callable

import numpy as np

from protocol import dtypes
from protocol.constants import ByeReason
from protocol.drops import DropReason
from relay import egress, ingress, pacing
from relay.batch import Batch, Outgoing
from relay.columns import Ints
from relay.config import RelayConfig
from relay.lobby import MAX_BYES, MAX_REFUSED, MAX_WAITING_JOINS, Lobby
from relay.log import CREDIT_BYTES
from relay.membership import leave
from relay.messages import MAX_HELD
from relay.presence import go_away, review
from relay.requests import Requests
from relay.rooms import key_of
from relay.sessions import Random
from relay.signals import MAX_QUEUED, MAX_WAITING
from relay.stages import ColumnStages, Gathered, Plan, Stages, TakenIn
from relay.stats import Stats
from relay.world import Event, World, build_world

MAX_RESETS_PER_PASS = 16
"""Datagrams of unknown sessions, and of such whose log was given up, that are looked at one by one in a pass."""
SILENT_KEEPALIVES = 3
"""After so many keepalives left out a client is silent, not slow (chosen)."""
QUICK_S = 1.0
"""After a message, signal or join the transport gathers only briefly, for this long (design: wake-ups)."""


class Engine:
    """One relay. Never raises on anything from the wire."""

    def __init__(
        self,
        config: RelayConfig,
        secret: bytes,
        rng: Random,
        build_stages: Callable[[World], Stages] = ColumnStages,
    ) -> None:
        """Make an empty relay.

        Args:
            secret: 16 to 32 bytes that nobody else knows; the same after a restart, or clients cannot be told of it.
            rng: Source of session ids and secrets: unguessable in production, seeded in tests.
            build_stages: What handles every datagram; all give the same datagrams.
        """
        self.config = config
        self.world = build_world(config, rng)
        self.lobby = Lobby(self.world, secret)
        self._quick_until = 0.0
        self._ticks_per_adapt = max(1, round(config.tick_rate * pacing.ADAPT_S))
        self._requests = self.world.intake.requests = Requests(self.world)
        self._stages = build_stages(self.world)

    # --- what whoever runs the engine may read

    @property
    def stats(self) -> Stats:
        """Counters."""
        return self.world.stats

    @property
    def events(self) -> list[Event]:
        """Lines for the server's log; the caller empties it."""
        return self.world.events

    @property
    def tick_number(self) -> int:
        """Newest tick."""
        return self.world.tick

    @property
    def stages_name(self) -> str:
        """What handles the datagrams, one of `stages.STAGES`."""
        return self._stages.name

    @property
    def num_sessions(self) -> int:
        """Players connected."""
        return len(self.world.sessions)

    @property
    def num_rooms(self) -> int:
        """Rooms open."""
        return len(self.world.rooms)

    @property
    def load_percent(self) -> int:
        """Share of each tick spent working, as the server measured it; shown in PONG."""
        return self.lobby.load_percent

    @load_percent.setter
    def load_percent(self, value: int) -> None:
        self.lobby.load_percent = value

    def wants_quick(self, now: float) -> bool:
        """Tell whether a message, signal or join was seen in the last second: then gather only briefly."""
        return now < self._quick_until

    def room_members(self, code: str, game: str = "") -> dict[int, str]:
        """Return player id -> name of a game's room, empty if there is none."""
        room = self.world.rooms.by_code.get(key_of(game.encode(), code.encode()))
        if room is None:
            return {}
        table = self.world.sessions.table
        return {int(table.player_id[row]): self.world.sessions.name[row] for row in room.joined}

    def room_table(self, code: str, game: str = "") -> dict[int, bytes]:
        """Return entity id -> newest state of a game's room, empty if there is none."""
        room = self.world.rooms.by_code.get(key_of(game.encode(), code.encode()))
        if room is None:
            return {}
        table, entities = self.world.rooms.table, self.world.entities
        first, count = int(table.entities_first[room.row]), int(table.num_entities[room.row])
        states_at, size = int(table.states_first[room.row]), room.options.max_state_bytes
        length = entities.table.length[first : first + count]
        states = entities.states.byte[states_at : states_at + count * size].reshape(count, size)
        return {i: states[i, : length[i]].tobytes() for i in length.nonzero()[0].tolist()}

    # --- receive

    def receive(self, batch: Batch, now: float) -> None:
        """Take a batch of datagrams. Everything that is not taken is counted; nothing raises.

        Args:
            batch: Rows 0 ... count - 1. It may be used again as soon as this returns.
        """
        num_bad_acks = self.stats.dropped[DropReason.BAD_ACK]
        taken = self._stages.take_in(batch, now)
        if self.stats.dropped[DropReason.BAD_ACK] > num_bad_acks:
            self._answer_behind(batch, now)
        self.stats.count("datagrams_in", batch.count)
        self.stats.count("bytes_in", taken.num_bytes)
        self._answer_unknown(batch, taken.unknown, now)
        for session, address in taken.roamed:
            self.lobby.challenge_path(session, address, now)
        self._take_messages_and_signals(taken, now)
        self.lobby.go_on(now)
        for row in taken.cold.tolist():
            data = batch.data[row, : batch.length[row]].tobytes()
            self.lobby.handle(data, batch.address[row].tobytes(), now)
        self._end_left(now)
        if self.lobby.answers:
            self._quick_until = now + QUICK_S

    def _answer_unknown(self, batch: Batch, rows: Ints, now: float) -> None:
        """Answer DATA of sessions that are not there by RESET, a bounded number a pass."""
        for row in rows[:MAX_RESETS_PER_PASS].tolist():
            header = dtypes.DATA_HEADER.decode(batch.data[row].tobytes())
            self.lobby.answer_unknown_session(header.session, header.shard, batch.address[row].tobytes(), now)

    def _answer_behind(self, batch: Batch, now: float) -> None:
        """Send who is back by itself, but whose log was given up, to come back by a resume; a bounded number a pass."""
        for row in ingress.find_behind(batch, self.world.sessions)[:MAX_RESETS_PER_PASS].tolist():
            header = dtypes.DATA_HEADER.decode(batch.data[row].tobytes())
            self.lobby.answer_behind(header.session, header.shard, batch.address[row].tobytes(), now)

    def _take_messages_and_signals(self, taken: TakenIn, now: float) -> None:
        """Append messages to the logs, then queue signals: a signal may wait for a message of the same datagram."""
        if taken.has_messages or taken.has_signals:
            self._quick_until = now + QUICK_S
        if taken.has_messages:
            self._end_all(self._stages.take_messages(now), ByeReason.PROTOCOL, now)
            self._end_removed(now)
        if taken.has_signals:
            self._stages.take_signals(now)

    # --- send

    def flush(self, now: float) -> Outgoing:
        """Send what need not wait for a tick: answers, acks that are due, new log entries, signals."""
        world = self.world
        self.lobby.go_on(now)
        if not (world.log.has_news or world.signals.num_queued or world.signals.num_waiting):
            return self._build(Gathered.nothing(), self._stages.plan(now, at_tick=False), now)
        return self._send(now, at_tick=False)

    def tick(self, now: float, num_ticks: int = 1) -> Outgoing:
        """Begin the next tick: send everything that is due, with a snapshot of what changed. Once per period.

        Args:
            num_ticks: Periods since the last call. After an overrun more than 1: ticks are left out, but server time,
                which is tick / tick_rate, goes on.
        """
        world = self.world
        world.tick_before, world.tick = world.tick, world.tick + num_ticks
        world.tick_at = now
        self.lobby.forget_ended(now)
        self.lobby.go_on(now)
        if not (len(world.sessions) or world.signals.num_queued or world.signals.num_waiting):
            return self._count_out(egress.with_answers(self.lobby.take_answers(now), egress.nothing()))
        self._end_overdue(now)
        self._end_all(world.intake.append_waiting(world.sessions, world.rooms, world.log, now), ByeReason.PROTOCOL, now)
        self._end_removed(now)
        if world.tick // self._ticks_per_adapt > world.tick_before // self._ticks_per_adapt:
            pacing.adapt_intervals(world.sessions.table, self._present())
        world.log.release(world.rooms, world.sessions, self._present())
        world.log.tidy(world.rooms)
        return self._send(now, at_tick=True)

    def _send(self, now: float, at_tick: bool) -> Outgoing:
        """Gather what is due from log, signals and pages, cut it into datagrams, and build them."""
        world = self.world
        plan = self._stages.plan(now, at_tick)
        world.signals.release_waiting(world.sessions, world.rooms, self.stats, now)
        gathered = self._stages.gather(plan, now, at_tick)
        world.log.has_news = False
        return self._build(gathered, plan, now)

    def _build(self, gathered: Gathered, plan: Plan, now: float) -> Outgoing:
        """Cut due items and bare acks into datagrams, record them, and put them behind the cold answers."""
        if not gathered.num_items and not len(plan.bare):
            return self._count_out(egress.with_answers(self.lobby.take_answers(now), egress.nothing()))
        outgoing, signals_sent = self._stages.build(gathered, plan, now)
        self.stats.count("signals_shed", gathered.num_signals - signals_sent)
        return self._count_out(egress.with_answers(self.lobby.take_answers(now), outgoing))

    def _count_out(self, outgoing: Outgoing) -> Outgoing:
        """Count what is about to be sent."""
        self.stats.count("datagrams_out", len(outgoing))
        self.stats.count("bytes_out", outgoing.num_bytes())
        return outgoing

    # --- ends

    def _end(self, session: int, reason: ByeReason, now: float, text: str = "") -> None:
        """End a session: say BYE unless the client did, and take it out of its room."""
        if self.world.sessions.table.id[session] == 0:
            return
        self.lobby.on_session_ended(session, reason, now, text)
        self.world.intake.append_rest(session, self.world.sessions, self.world.rooms, self.world.log)
        leave(self.world, session, reason)

    def _end_all(self, sessions: Ints, reason: ByeReason, now: float) -> None:
        for session in sessions.tolist():
            self._end(session, reason, now)

    def _end_left(self, now: float) -> None:
        """End the sessions whose clients said BYE, and at once whom a host removed by the last that it had to say.

        A JOIN of the same batch may have resumed one of them: then it plays on.
        """
        for session_id in self.lobby.left:
            session = self.world.sessions.find(session_id)
            if session is not None:
                self._end(session, ByeReason.LEFT, now)
        self.lobby.left.clear()
        self._end_removed(now)  # not with the tick: whoever is resumed until then has another number

    def _end_removed(self, now: float) -> None:
        """End the sessions of players whom their host removed."""
        removed = self._requests.removed
        while removed:
            session_id, reason, text = removed.pop(0)
            session = self.world.sessions.find(session_id)
            if session is not None:
                self._end(session, reason, now, text)

    def _end_overdue(self, now: float) -> None:
        """Note who is silent or back, end who is away for too long, and such as do not read (SPEC 13).

        Who is silent or away is not judged by what it does not read. So who is back is noted first: what it could not
        acknowledge meanwhile must not count, or coming back from any absence longer than TOO_SLOW_S were the end.
        """
        world, table = self.world, self.world.sessions.table
        for session in review(world, now):
            self._end(session, ByeReason.TIMEOUT, now)
        overdue = self._stages.find_overdue(now)
        for session in overdue.silent.tolist():
            if session in world.away:
                continue
            if world.config.grace_s:
                go_away(world, session, now)
            else:
                self._end(session, ByeReason.TIMEOUT, now)
        for session in overdue.too_slow.tolist():  # rarely any
            is_heard = now - table.heard_at[session] < SILENT_KEEPALIVES * world.config.keepalive_s
            if is_heard and session not in world.away:
                self._end(session, ByeReason.TOO_SLOW, now)

    def _present(self) -> Ints:
        """Return the rows of all sessions but those of players who are away."""
        live = self.world.sessions.live
        return np.setdiff1d(live, list(self.world.away), assume_unique=True) if self.world.away else live

    def shutdown(self, now: float) -> Outgoing:
        """Tell every client that the relay ends. Call three times, 20 ms apart; nobody can join any more."""
        self.lobby.closing = True
        table = self.world.sessions.table
        byes = [
            (table.address[row].tobytes(), self.lobby.build_bye(row, int(table.id[row]), ByeReason.SHUTDOWN))
            for row in self.world.sessions.live.tolist()
        ]
        return egress.with_answers(self.lobby.take_answers(now) + byes, egress.nothing())

    def gauges(self) -> dict[str, tuple[int, int]]:
        """Return name -> (value, cap) of everything that could grow (SPEC 12)."""
        world, config = self.world, self.config
        rooms, live = world.rooms.table, world.sessions.live
        behind = (rooms.log_head - rooms.log_tail)[: world.rooms.used][rooms.live[: world.rooms.used]]
        unread = world.sessions.table.unread_bytes[live]
        return {
            "sessions": (len(world.sessions), config.max_players),
            "rooms": (len(world.rooms), config.max_rooms),
            "nonces": (self.lobby.num_nonces, self.lobby.max_nonces),
            "refused_attempts": (self.lobby.num_refused, MAX_REFUSED),
            "byes": (self.lobby.num_byes, MAX_BYES),
            "waiting_joins": (self.lobby.num_waiting, MAX_WAITING_JOINS),
            "held_messages": (world.intake.num_held, MAX_HELD),
            "waiting_signals": (world.signals.num_waiting, MAX_WAITING),
            "queued_signals": (world.signals.num_queued, MAX_QUEUED),
            "log_entries_of_a_room": (int(behind.max(initial=0)), world.log.max_entries),
            "unread_bytes_of_a_session": (int(unread.max(initial=0)), CREDIT_BYTES),
            "log_bytes": (len(world.log.arena.bytes), world.log.arena.max_bytes),
        }
