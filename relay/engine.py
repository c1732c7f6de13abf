"""The relay without its sockets: datagrams in, datagrams out, and `now` as a parameter.

Three calls make a server. `receive` takes a batch through the stages in the order of SPEC 11: kinds, sessions, budgets,
window, acks, sections, accept; then the parts: acknowledgements, states, messages, signals. `flush` sends what need not
wait for a tick: answers, acks that are due, new log entries, signals. `tick` sends that, and a snapshot of whatever
changed. Every stage is one function over all sessions, so a pass costs the same number of calls for 16 players as for
1,000; only joining, leaving and what goes wrong is Python per datagram.
"""

import numpy as np

from protocol import dtypes
from protocol.constants import ACK_WITHIN_DATAGRAMS, SAMPLE_CLAMP_MS, ByeReason, DataSection
from protocol.drops import DropReason
from protocol.sequence import extend_array
from relay import acks, delivery, egress, ingress, pacing, snapshots
from relay.batch import Batch, Outgoing
from relay.budgets import Budget
from relay.columns import Bytes, Ints, expand, places, windows
from relay.config import RelayConfig
from relay.ingress import Received
from relay.items import Items, Order, merged
from relay.lobby import MAX_BYES, Lobby
from relay.log import CREDIT_BYTES, LOG_CAP_ENTRIES
from relay.membership import leave
from relay.messages import MAX_HELD
from relay.sessions import Random
from relay.signals import MAX_QUEUED, MAX_WAITING
from relay.stats import Stats
from relay.world import Event, build_world

TOO_SLOW_S = 10.0
"""A session that takes longer to read what is in the log, or to acknowledge anything at all, ends (SPEC 13)."""
MAX_RESETS_PER_PASS = 16
"""Datagrams of unknown sessions that are looked at one by one in a pass."""
QUICK_S = 1.0
"""After a message, signal or join the transport gathers only briefly, for this long (design: wake-ups)."""
CREDIT_LOW = 8
"""A client that may send fewer messages than this is told when it may send more, without waiting for other traffic."""


class Engine:
    """One relay. Never raises on anything from the wire."""

    def __init__(self, config: RelayConfig, secret: bytes, rng: Random) -> None:
        """Make an empty relay.

        Args:
            secret: 16 to 32 bytes that nobody else knows; the same after a restart, or clients cannot be told of it.
            rng: Source of session ids and secrets: unguessable in production, seeded in tests.
        """
        self.config = config
        self.world = build_world(config, rng)
        self.lobby = Lobby(self.world, secret)
        self._quick_until = 0.0
        self._ticks_per_adapt = max(1, round(config.tick_rate * pacing.ADAPT_S))
        self._pace = pacing.Pace(config)
        self._mark_entries = delivery.mark_entries(config.client_bytes_per_s, TOO_SLOW_S)

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

    def room_members(self, code: str) -> dict[int, str]:
        """Return player id -> name of a room, empty if there is none."""
        room = self.world.rooms.by_code.get(code.encode())
        if room is None:
            return {}
        table = self.world.sessions.table
        return {int(table.player_id[row]): self.world.sessions.name[row] for row in room.joined}

    def room_table(self, code: str) -> dict[int, bytes]:
        """Return entity id -> newest state of a room, empty if there is none."""
        room = self.world.rooms.by_code.get(code.encode())
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
        self.stats.count("datagrams_in", batch.count)
        self.stats.count("bytes_in", int(batch.length[: batch.count].sum()))
        hot, cold = ingress.split_kinds(batch, self.stats)
        if len(hot):
            self._receive_data(batch, hot, now)
        for row in cold.tolist():
            data = batch.data[row, : batch.length[row]].tobytes()
            self.lobby.handle(data, batch.address[row].tobytes(), now)
        for session in self.lobby.left:
            self._end(session, ByeReason.LEFT, now)
        self.lobby.left.clear()
        if self.lobby.answers:
            self._quick_until = now + QUICK_S

    def _receive_data(self, batch: Batch, rows: Ints, now: float) -> None:
        """Check all DATA of a batch (SPEC 11), accept what is left, and take its parts."""
        world = self.world
        received = ingress.read_headers(batch, rows, self.stats)
        received, unknown = ingress.find_sessions(received, world.sessions, self.stats)
        self._answer_unknown(unknown, now)
        received = self._within_budgets(received, now)
        received = ingress.check_window(received, world.sessions, self.stats)
        received = ingress.check_acks(received, world.sessions, world.rooms, self.stats)
        received = ingress.check_sections(received, world.sessions, world.rooms, self.stats)
        received, newest = acks.accept(received, world.sessions, self.stats, now)
        if not len(received.session):
            return
        self._challenge_paths(received, now)
        acks.handle_acks(received, newest, world.sessions, world.entities, now)
        acks.handle_log_acks(received, newest, world.sessions)
        self._take_states(received, now)
        self._take_messages_and_signals(received, now)

    def _answer_unknown(self, unknown: Received, now: float) -> None:
        """Answer DATA of sessions that are not there by RESET, a bounded number a pass."""
        for i in range(min(len(unknown.at), MAX_RESETS_PER_PASS)):
            header = unknown.header[i]
            address = unknown.address[i].tobytes()
            self.lobby.answer_unknown_session(int(header["session"]), int(header["shard"]), address, now)

    def _within_budgets(self, received: Received, now: float) -> Received:
        """Spend the sessions' budgets of datagrams and bytes (step 6)."""
        table = self.world.sessions.table
        self.world.budgets.refill(table, received.session, now)
        if self.world.budgets.take_all(table, received.session, received.length):
            return received
        kept = self.world.budgets.covered(table, received.session, Budget.DATAGRAMS)
        self.stats.count_dropped(DropReason.OVER_RATE, kept)
        received = received.where(kept)
        kept = self.world.budgets.covered_bytes(table, received.session, received.length)
        self.stats.count_dropped(DropReason.OVER_BYTE_RATE, kept)
        return received.where(kept)

    def _challenge_paths(self, received: Received, now: float) -> None:
        """Start a path check for every accepted datagram from an address that is not its session's (step 10)."""
        known = self.world.sessions.table.address[received.session]
        for i in places((received.address != known).any(axis=1)).tolist():
            self.lobby.challenge_path(int(received.session[i]), received.address[i].tobytes(), now)

    def _take_states(self, received: Received, now: float) -> None:
        """Write the states of STATE sections into the rooms' tables (SPEC 7)."""
        sections = received.sections.of(DataSection.STATE)
        if not len(sections.at):
            return
        header, _ = ingress.read_section_headers(received.source, sections, dtypes.STATE_HEADER_DTYPE)
        stride = header["stride"].astype(np.int64)
        which, k = expand(header["count"].astype(np.int64))
        at = sections.at[which] + dtypes.STATE_HEADER.size + k * (2 + stride[which])
        datagram = sections.datagram[which]
        clock = self.world.clock_ms(now)
        sample = extend_array(header["sample_ms"], np.full(len(stride), clock))
        sample = np.minimum(np.maximum(sample, clock - SAMPLE_CLAMP_MS), clock)
        session = received.session[datagram]
        self.world.entities.apply_writes(
            self.world.rooms,
            self.stats,
            received.source,
            session=session,
            room_row=self.world.sessions.table.room[session],
            entity_id=windows(received.source, "<u2")[at].astype(np.int64),
            seq=received.seq[datagram],
            sample_ms=sample[which],
            stride=stride[which],
            state_at=at + 2,
            stamp=self.world.stamp,
        )

    def _take_messages_and_signals(self, received: Received, now: float) -> None:
        """Append messages to the logs, then queue signals: a signal may wait for a message of the same datagram."""
        world = self.world
        if received.sections.hold(DataSection.MESSAGE):
            self._quick_until = now + QUICK_S
            too_long = world.intake.accept(received, world.sessions, world.rooms, world.log, self.stats, now)
            self._end_all(too_long, ByeReason.PROTOCOL, now)
        if received.sections.hold(DataSection.SIGNAL):
            self._quick_until = now + QUICK_S
            world.signals.accept(received, world.sessions, world.rooms, self.stats, now)

    # --- send

    def flush(self, now: float) -> Outgoing:
        """Send what need not wait for a tick: answers, acks that are due, new log entries, signals."""
        world = self.world
        if not (world.log.has_news or world.signals.num_queued or world.signals.num_waiting):
            return self._build(Items.empty(), self._allowed(now, at_tick=False), now, at_tick=False, keep=[])
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
        if not (len(world.sessions) or world.signals.num_queued or world.signals.num_waiting):
            return self._count_out(egress.with_answers(self.lobby.take_answers(now), egress.nothing()))
        self._end_silent(now)
        self._end_too_slow(now)
        self._end_all(world.intake.append_waiting(world.sessions, world.rooms, world.log, now), ByeReason.PROTOCOL, now)
        if world.tick // self._ticks_per_adapt > world.tick_before // self._ticks_per_adapt:
            pacing.adapt_intervals(world.sessions.table, world.sessions.live)
        world.log.release(world.rooms, world.sessions)
        world.log.tidy(world.rooms)
        return self._send(now, at_tick=True)

    def _send(self, now: float, at_tick: bool) -> Outgoing:
        """Gather what is due from log, signals and pages, cut it into datagrams, and build them."""
        world = self.world
        allowed = self._allowed(now, at_tick)
        world.signals.release_waiting(world.sessions, world.rooms, self.stats, now)
        found, tails = delivery.find_open(world.log, world.sessions, world.rooms, self._mark_entries, now)
        entries = delivery.due_entries(
            found, world.log, world.sessions.table, world.tick, world.period_s, resend=at_tick
        )
        signals, wanted, keep = world.signals.due(world.sessions, None if at_tick else allowed > 0)
        world.log.has_news = False
        parts = [entries, signals]
        if len(signals):
            parts.insert(1, delivery.empty_ranges(tails, entries, wanted))
        if at_tick:
            pages, bodies = self._due_pages()
            parts.append(pages)
            keep.append(bodies)
        keep.append(world.log.arena.bytes)
        return self._build(merged(parts), allowed, now, at_tick, keep)

    def _allowed(self, now: float, at_tick: bool) -> Ints:
        """Tell how many datagrams each session may be sent now, by row."""
        table, live = self.world.sessions.table, self.world.sessions.live
        allowed = np.zeros(table.rows, np.int64)
        allowed[live] = self._pace.allowed(table, live, now, at_tick)
        return allowed

    def _due_pages(self) -> tuple[Items, Bytes]:
        """Find due pages and encode the bodies they need."""
        world = self.world
        table, live = world.sessions.table, world.sessions.live
        receivers = snapshots.whose_turn(table, live, world.tick, world.tick_before)
        due = snapshots.find_due(table, receivers, world.rooms, world.entities, world.tick, world.period_s)
        return snapshots.build_items(due, world.rooms, world.entities, world.tick, world.period_s)

    def _build(self, items: Items, allowed: Ints, now: float, at_tick: bool, keep: list[Bytes]) -> Outgoing:
        """Cut due items and bare acks into datagrams, record them, and put the cold answers behind them."""
        world = self.world
        bare = self._needing_bare(world.sessions.live, now, at_tick)
        if not len(items) and not len(bare):
            return self._count_out(egress.with_answers(self.lobby.take_answers(now), egress.nothing()))
        wished, items = items, pacing.without_flood(items, allowed)
        chosen = egress.cut(items, bare[allowed[bare] > 0], allowed)
        outgoing = egress.build_datagrams(chosen, world.sessions, world.rooms, world.tick, now, keep)
        sent, paged = chosen.items, chosen.items.are(Order.PAGE)
        snapshots.note_sent(
            world.sessions, world.rooms, world.entities, sent.session[paged], sent.last[paged], world.tick
        )
        if len(sent) < len(wished):
            shed = np.count_nonzero(wished.are(Order.SIGNAL)) - np.count_nonzero(sent.are(Order.SIGNAL))
            self.stats.count("signals_shed", int(shed))
        return self._count_out(egress.with_answers(self.lobby.take_answers(now), outgoing))

    def _count_out(self, outgoing: Outgoing) -> Outgoing:
        """Count what is about to be sent."""
        self.stats.count("datagrams_out", len(outgoing))
        self.stats.count("bytes_out", outgoing.num_bytes())
        return outgoing

    def _needing_bare(self, live: Ints, now: float, at_tick: bool) -> Ints:
        """List sessions that must be sent something now: acks owed, news of credit, keepalives."""
        table = self.world.sessions.table
        horizon = now + self.world.period_s if at_tick else now
        needed = (table.ack_due_at[live] <= horizon) | (table.ack_owed[live] >= ACK_WITHIN_DATAGRAMS)
        if at_tick:
            needed |= now - table.sent_at[live] >= self.config.keepalive_s
            needed |= egress.has_news_of_credit(table, live, CREDIT_LOW)
        return live[needed]

    # --- ends

    def _end(self, session: int, reason: ByeReason, now: float) -> None:
        """End a session: say BYE unless the client did, and take it out of its room."""
        if self.world.sessions.table.id[session] == 0:
            return
        self.lobby.on_session_ended(session, reason, now)
        self.world.intake.append_rest(session, self.world.sessions, self.world.rooms, self.world.log)
        leave(self.world, session, reason)

    def _end_all(self, sessions: Ints, reason: ByeReason, now: float) -> None:
        for session in sessions.tolist():
            self._end(session, reason, now)

    def _end_silent(self, now: float) -> None:
        """End sessions from which nothing came for too long."""
        live = self.world.sessions.live
        silent = now - self.world.sessions.table.heard_at[live] > self.config.timeout_s
        self._end_all(live[silent], ByeReason.TIMEOUT, now)

    def _end_too_slow(self, now: float) -> None:
        """End sessions that do not read their log (SPEC 13).

        While memory for logs is short they have half the time, so that a few cannot silence every other room.
        """
        table, live = self.world.sessions.table, self.world.sessions.live
        waited_s = now - table.log_marked_at[live]
        stuck = waited_s > TOO_SLOW_S / 2
        if stuck.any() and not self.world.log.is_short():
            stuck = waited_s > TOO_SLOW_S
        # who says that it gets nothing would keep others' player ids from being given out again
        deaf = (table.send_seq > table.acked_seq)[live] & ((table.heard_at - table.acked_at)[live] > TOO_SLOW_S)
        behind = self.world.rooms.table.log_head[table.room[live]] - table.log_effective[live]
        self._end_all(live[stuck | deaf | (behind > LOG_CAP_ENTRIES)], ByeReason.TOO_SLOW, now)

    def shutdown(self, now: float) -> Outgoing:
        """Tell every client that the relay ends. Call three times, 20 ms apart; nobody can join any more."""
        self.lobby.closing = True
        table = self.world.sessions.table
        byes = [
            (table.address[row].tobytes(), self.lobby.build_bye(row, ByeReason.SHUTDOWN))
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
            "byes": (self.lobby.num_byes, MAX_BYES),
            "held_messages": (world.intake.num_held, MAX_HELD),
            "waiting_signals": (world.signals.num_waiting, MAX_WAITING),
            "queued_signals": (world.signals.num_queued, MAX_QUEUED),
            "log_entries_of_a_room": (int(behind.max(initial=0)), world.log.max_entries),
            "unread_bytes_of_a_session": (int(unread.max(initial=0)), CREDIT_BYTES),
            "log_bytes": (len(world.log.arena.bytes), world.log.arena.max_bytes),
        }
