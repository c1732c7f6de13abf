"""The stages of the engine that handle every datagram: what they are, and their form in numpy columns.

`ColumnStages` runs everywhere and is the meaning of each stage. `relay/loops` has the same as loops over single
datagrams, for machines with numba: about half the time, byte for byte the same datagrams (`tests/relay/loops/`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from protocol import dtypes
from protocol.constants import ACK_WITHIN_DATAGRAMS, SAMPLE_CLAMP_MS, DataSection
from protocol.drops import DropReason
from protocol.sequence import extend_array
from relay import acks, delivery, egress, ingress, pacing, snapshots
from relay.batch import ROW_BYTES, Batch, Outgoing
from relay.budgets import Budget
from relay.columns import Bytes, Ints, expand, places, windows
from relay.ingress import Received
from relay.items import Items, Order, merged
from relay.log import LOG_CAP_ENTRIES
from relay.loops.permission import may_execute
from relay.signals import ColumnQueue
from relay.world import Event, World

STAGES = ("auto", "compiled", "columns")
"""Names that `select_stages` takes."""
TOO_SLOW_S = 10.0
"""A session that takes longer to read what is in the log, or to acknowledge anything at all, ends (SPEC 13)."""
CREDIT_LOW = 8
"""A client that may send fewer messages than this is told when it may send more, without waiting for other traffic."""


@dataclass
class TakenIn:
    """What a receive pass leaves to do."""

    num_bytes: int
    """Of all datagrams of the batch."""
    cold: Ints
    """Batch rows of HELLO, JOIN, PING, BYE and PATH_RESPONSE."""
    unknown: Ints
    """Batch rows of DATA of sessions that are not there."""
    roamed: list[tuple[int, bytes]]
    """(session row, address) of accepted DATA that came from another address than its session's."""
    has_messages: bool
    """`Stages.take_messages` has something to do."""
    has_signals: bool
    """`Stages.take_signals` has."""


@dataclass
class Plan:
    """What a send begins with."""

    allowed: Ints
    """Datagrams that may be sent now, by session row."""
    bare: Ints
    """Rows of sessions that must be sent something now: acks owed, news of credit, keepalives."""
    lags: bool = True
    """False if surely nobody lacks entries of the log."""


@dataclass
class Gathered:
    """What is due to be sent."""

    items: Items
    """The first `num_items` stand."""
    num_items: int
    num_signals: int
    """Signals that were due; `items` has no more of them than their receivers may be sent."""
    keep: list[Bytes]
    """What the items point into."""

    @classmethod
    def nothing(cls) -> "Gathered":
        """Return that nothing is due."""
        return cls(Items.empty(), 0, 0, [])


@dataclass
class Overdue:
    """Rows of sessions that must end."""

    silent: Ints
    too_slow: Ints


class Stages(Protocol):
    """What the engine asks. Every call is one pass over all sessions."""

    name: str
    """One of STAGES."""

    def take_in(self, batch: Batch, now: float) -> TakenIn:
        """Check a batch (SPEC 11), accept what is left, settle its acknowledgements and write its states."""

    def take_messages(self, now: float) -> Ints:
        """Append the messages of the batch that was taken in last. Returns: rows of sessions that must end for them."""

    def take_signals(self, now: float) -> None:
        """Queue its signals. After its messages: some wait for those."""

    def find_overdue(self, now: float) -> Overdue:
        """Find sessions from which nothing came for too long, or that do not read their log."""

    def plan(self, now: float, at_tick: bool) -> Plan:
        """Tell what may, and what must be sent now."""

    def gather(self, plan: Plan, now: float, at_tick: bool) -> Gathered:
        """Find all that is due: of the log what each session lacks, queued signals, and at a tick pages."""

    def build(self, gathered: Gathered, plan: Plan, now: float) -> tuple[Outgoing, int]:
        """Cut items and bare acks into datagrams and record them. Returns: those, and how many signals went out."""


class ColumnStages:
    """Each stage as numpy calls over all sessions at once."""

    name = "columns"

    def __init__(self, world: World) -> None:
        self._world = world
        self._pace = pacing.Pace(world.config)
        self._mark_entries = delivery.mark_entries(world.config.client_bytes_per_s, TOO_SLOW_S)
        self._queue = world.signals.queue = ColumnQueue()

    # --- receive

    def take_in(self, batch: Batch, now: float) -> TakenIn:
        """See `Stages`: the steps of SPEC 11, one function each."""
        world, stats = self._world, self._world.stats
        hot, cold = ingress.split_kinds(batch, stats)
        received = ingress.read_headers(batch, hot, stats)
        received, unknown = ingress.find_sessions(received, world.sessions, stats)
        received = self._within_budgets(received, now)
        received = ingress.check_window(received, world.sessions, stats)
        received = ingress.check_acks(received, world.sessions, world.rooms, stats)
        received = ingress.check_sections(received, world.sessions, world.rooms, stats)
        received, newest = acks.accept(received, world.sessions, stats, now)
        if len(received.session):
            acks.handle_acks(received, newest, world.sessions, world.entities, now)
            acks.handle_log_acks(received, newest, world.sessions)
            self._take_states(received, now)
        self._received, sections = received, received.sections
        has_messages, has_signals = sections.hold(DataSection.MESSAGE), sections.hold(DataSection.SIGNAL)
        num_bytes = int(batch.length[: batch.count].sum())
        return TakenIn(num_bytes, cold, unknown.at // ROW_BYTES, self._roamed(received), has_messages, has_signals)

    def take_messages(self, now: float) -> Ints:
        """See `Stages`."""
        world = self._world
        return world.intake.accept(self._received, world.sessions, world.rooms, world.log, world.stats, now)

    def take_signals(self, now: float) -> None:
        """See `Stages`."""
        world = self._world
        world.signals.accept(self._received, world.sessions, world.rooms, world.stats, now)

    def _within_budgets(self, received: Received, now: float) -> Received:
        """Spend the sessions' budgets of datagrams and bytes (step 6)."""
        world, table = self._world, self._world.sessions.table
        world.budgets.refill(table, received.session, now)
        if world.budgets.take_all(table, received.session, received.length):
            return received
        kept = world.budgets.covered(table, received.session, Budget.DATAGRAMS)
        world.stats.count_dropped(DropReason.OVER_RATE, kept)
        received = received.where(kept)
        kept = world.budgets.covered_bytes(table, received.session, received.length)
        world.stats.count_dropped(DropReason.OVER_BYTE_RATE, kept)
        return received.where(kept)

    def _roamed(self, received: Received) -> list[tuple[int, bytes]]:
        """List accepted datagrams from an address that is not their session's (step 10)."""
        known = self._world.sessions.table.address[received.session]
        moved = places((received.address != known).any(axis=1)).tolist()
        return [(int(received.session[i]), received.address[i].tobytes()) for i in moved]

    def _take_states(self, received: Received, now: float) -> None:
        """Write the states of STATE sections into the rooms' tables (SPEC 7)."""
        world = self._world
        sections = received.sections.of(DataSection.STATE)
        if not len(sections.at):
            return
        header, _ = ingress.read_section_headers(received.source, sections, dtypes.STATE_HEADER_DTYPE)
        stride = header["stride"].astype(np.int64)
        which, k = expand(header["count"].astype(np.int64))
        at = sections.at[which] + dtypes.STATE_HEADER.size + k * (2 + stride[which])
        datagram = sections.datagram[which]
        clock = world.clock_ms(now)
        sample = extend_array(header["sample_ms"], np.full(len(stride), clock))
        sample = np.minimum(np.maximum(sample, clock - SAMPLE_CLAMP_MS), clock)
        session = received.session[datagram]
        world.entities.apply_writes(
            world.rooms,
            world.stats,
            received.source,
            session=session,
            room_row=world.sessions.table.room[session],
            entity_id=windows(received.source, "<u2")[at].astype(np.int64),
            seq=received.seq[datagram],
            log_cursor=received.header["log_cursor"][datagram].astype(np.int64),
            sample_ms=sample[which],
            stride=stride[which],
            state_at=at + 2,
            stamp=world.stamp,
        )

    # --- send

    def find_overdue(self, now: float) -> Overdue:
        """See `Stages`. While memory for logs is short, those who do not read have half the time.

        So a few cannot silence every other room.
        """
        world = self._world
        table, live = world.sessions.table, world.sessions.live
        silent = now - table.heard_at[live] > world.config.timeout_s
        waited_s = now - table.log_marked_at[live]
        stuck = waited_s > TOO_SLOW_S / 2
        if stuck.any() and not world.log.is_short():
            stuck = waited_s > TOO_SLOW_S
        # who says that it gets nothing would keep others' player ids from being given out again
        deaf = (table.send_seq > table.acked_seq)[live] & ((table.heard_at - table.acked_at)[live] > TOO_SLOW_S)
        behind = world.rooms.table.log_head[table.room[live]] - table.log_effective[live]
        return Overdue(live[silent], live[stuck | deaf | (behind > LOG_CAP_ENTRIES)])

    def plan(self, now: float, at_tick: bool) -> Plan:
        """See `Stages`."""
        table, live = self._world.sessions.table, self._world.sessions.live
        allowed = np.zeros(table.rows, np.int64)
        allowed[live] = self._pace.allowed(table, live, now, at_tick)
        horizon = now + self._world.period_s if at_tick else now
        needed = (table.ack_due_at[live] <= horizon) | (table.ack_owed[live] >= ACK_WITHIN_DATAGRAMS)
        if at_tick:
            needed |= now - table.sent_at[live] >= self._world.config.keepalive_s
            needed |= egress.has_news_of_credit(table, live, CREDIT_LOW)
        return Plan(allowed, live[needed])

    def gather(self, plan: Plan, now: float, at_tick: bool) -> Gathered:
        """See `Stages`."""
        world, table = self._world, self._world.sessions.table
        found, tails = delivery.find_open(world.log, world.sessions, world.rooms, self._mark_entries, now)
        entries = delivery.due_entries(found, world.log, table, world.tick, world.period_s, resend=at_tick)
        signals, wanted, keep = self._queue.due(world.sessions, None if at_tick else plan.allowed > 0)
        parts = [entries, signals]
        if len(signals):
            parts.insert(1, delivery.empty_ranges(tails, entries, wanted))
        if at_tick:
            pages, bodies = self._due_pages()
            parts.append(pages)
            keep.append(bodies)
        keep.append(world.log.arena.bytes)
        items = merged(parts)
        if len(signals):
            items = pacing.without_flood(items, plan.allowed)
        return Gathered(items, len(items), len(signals), keep)

    def _due_pages(self) -> tuple[Items, Bytes]:
        """Find due pages and encode the bodies they need. Returns: the items, and the bodies' bytes."""
        world = self._world
        table, live = world.sessions.table, world.sessions.live
        receivers = snapshots.whose_turn(table, live, world.tick, world.tick_before)
        due = snapshots.find_due(table, receivers, world.rooms, world.entities, world.tick, world.period_s)
        return snapshots.build_items(due, world.rooms, world.entities, world.tick, world.period_s)

    def build(self, gathered: Gathered, plan: Plan, now: float) -> tuple[Outgoing, int]:
        """See `Stages`."""
        world, allowed, bare = self._world, plan.allowed, plan.bare
        chosen = egress.cut(gathered.items, bare[allowed[bare] > 0], allowed)
        outgoing = egress.build_datagrams(chosen, world.sessions, world.rooms, world.tick, now, gathered.keep)
        sent, paged = chosen.items, chosen.items.are(Order.PAGE)
        snapshots.note_sent(
            world.sessions, world.rooms, world.entities, sent.session[paged], sent.last[paged], world.tick
        )
        return outgoing, int(np.count_nonzero(sent.are(Order.SIGNAL)))


def select_stages(name: str) -> Callable[[World], Stages]:
    """Turn a name of STAGES into what builds them; it raises ValueError if compiled ones were asked for and fail.

    `auto` is `compiled` where numba is installed and works, and `columns` everywhere else.

    Raises: ValueError if the name is unknown.
    """
    if name not in STAGES:
        raise ValueError(f"stages is {name!r}; permitted: {', '.join(STAGES)}")
    builders: dict[str, Callable[[World], Stages]] = {"auto": _build_best, "compiled": _build_compiled}
    return builders.get(name, ColumnStages)


def must_compile(name: str) -> bool:
    """Tell whether building stages of that name will take some 40 s, for this version's were not compiled yet."""
    if name == "columns" or not _has_numba():
        return False
    try:
        from relay.loops import jit
    except Exception:
        return False  # building them will say why
    return not jit.is_complete()


def _has_numba() -> bool:
    return find_spec("numba") is not None


def _build_best(world: World) -> Stages:
    """Build compiled stages, or columns where those cannot be had: a relay that is slower is better than none."""
    if not _has_numba():
        return ColumnStages(world)
    try:
        return _build_compiled(world)
    except ValueError as error:
        world.events.append(Event(f"serving with the slower stages: {error}"))
        return ColumnStages(world)


def _build_compiled(world: World) -> Stages:
    """Build compiled stages. Raises: ValueError that says why they cannot be had."""
    if not _has_numba():
        raise ValueError("stages is 'compiled', which needs numba: pip install 'tickrelay[fast]'; or use auto")
    if not may_execute():
        raise ValueError(
            "stages is 'compiled', but this process may not make memory executable (MemoryDenyWriteExecute of "
            "systemd, or the like); use auto"
        )
    try:
        from relay.loops import jit
        from relay.loops.stages import LoopStages

        return jit.with_whole_cache(lambda: LoopStages(world))
    except Exception as error:  # numba and LLVM raise what they like, at import, while compiling and while loading
        raise ValueError(f"stages is 'compiled', which does not work here ({error!r}); use auto") from error
