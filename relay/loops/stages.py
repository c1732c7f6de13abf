"""The engine's stages with compiled loops: columns of the tables go into a loop, what it found to the engine."""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from protocol import dtypes
from protocol.constants import LOG_WINDOW, MAX_SECTIONS, DataSection
from relay import egress, pacing
from relay.addresses import ADDRESS_WORDS
from relay.batch import ROW_BYTES, Batch, Outgoing
from relay.columns import Bytes, Ints, windows
from relay.delivery import fragments_per_tick, mark_entries, soon_ticks
from relay.ingress import Received, Sections, walk_sections
from relay.items import Items
from relay.loops import delivery, intake, jit, messages, packing, pages, sending, signals
from relay.loops.arrays import Arrays, Box
from relay.loops.signals import PairQueue
from relay.signals import MAX_QUEUED
from relay.stages import TOO_SLOW_S, Gathered, Overdue, Plan, TakenIn
from relay.world import World

FIRST_BODY_BYTES = 1 << 16
"""Room for bodies at first; doubled when it is not enough."""
FIRST_ITEMS = 256
"""Room for items at first; the same."""
FIRST_DATAGRAMS = 256
"""Room for datagrams at first; the same."""


MAX_IDLE_ITEMS = 1 << 16
SHRINK_BELOW = 8
"""Room for items beyond this is given back when an eighth would do: 5 MB (chosen)."""


class LoopStages:
    """`relay.stages.Stages` of a world."""

    name = "compiled"

    def __init__(self, world: World) -> None:
        """Build the stages of an empty world. All loops are compiled, or loaded, before this returns."""
        self._world = world
        queue = world.signals.queue = PairQueue()
        self._intake = _Intake(world)
        self._parts = _Parts(world, queue)
        self._packing = _Packing(world)
        sessions, config = world.sessions.table, world.config
        rooms = world.rooms.table
        self._watched = Arrays(sending.WatchedTables, (sessions, sending.Watched), (rooms, "log_head"))
        self._served = Arrays(sending.ServedTables, (sessions, sending.Served), (rooms, "log_head"))
        pace = pacing.Pace(config)
        self._rates = tuple(sending.Pace(pace.bytes_per_s, pace.burst, config.keepalive_s, world.period_s))
        self._found = sending.Found._make([_NOTHING] * len(sending.Found._fields))
        self._gathering = _Gathering(world, queue)
        self._compile()

    def _compile(self) -> None:
        """Call every loop once, with nothing to do: none may be compiled while players wait."""
        self.take_in(Batch(1), 0.0)
        self.take_messages(0.0)
        self.take_signals(0.0)
        self.find_overdue(0.0)
        plan = self.plan(0.0, at_tick=True)
        self.build(self.gather(plan, 0.0, at_tick=True), plan, 0.0)
        jit.mark_complete()

    def take_in(self, batch: Batch, now: float) -> TakenIn:
        """See `Stages`."""
        return self._intake.take_in(batch, now)

    def take_messages(self, now: float) -> Ints:
        """See `Stages`."""
        return self._parts.take_messages(self._intake.taken, now)

    def take_signals(self, now: float) -> None:
        """See `Stages`."""
        self._parts.take_signals(self._intake.taken, now)

    def find_overdue(self, now: float) -> Overdue:
        """See `Stages`."""
        world = self._world
        found = self._room_for_found()
        num_silent, num_slow = sending.find_overdue(
            self._watched.get(),
            world.sessions.live,
            now,
            world.config.timeout_s,
            world.log.is_short(),
            self._found_box,
        )
        return Overdue(found.silent[:num_silent], found.slow[:num_slow])

    def plan(self, now: float, at_tick: bool) -> Plan:
        """See `Stages`."""
        world = self._world
        found = self._room_for_found()
        num_bare, lags = sending.plan(
            self._served.get(), world.sessions.live, self._rates, now, at_tick, self._found_box
        )
        return Plan(found.allowed, found.bare[:num_bare], lags)

    def _room_for_found(self) -> sending.Found:
        """Return arrays as long as the sessions' table; `_found_box` has them."""
        rows = self._world.sessions.table.rows
        if len(self._found.bare) != rows:
            self._found = sending.Found._make([np.zeros(rows, np.int64) for _ in sending.Found._fields])
            self._found_box = Box(self._found)
        return self._found

    def gather(self, plan: Plan, now: float, at_tick: bool) -> Gathered:
        """See `Stages`."""
        return self._gathering.gather(plan, now, at_tick)

    def build(self, gathered: Gathered, plan: Plan, now: float) -> tuple[Outgoing, int]:
        """See `Stages`."""
        return self._packing.build(gathered, plan, now)


class _Intake:
    """Hands batches to `intake.take_in`."""

    def __init__(self, world: World) -> None:
        self._world = world
        entities = world.entities
        self._tables = Arrays(
            intake.Tables,
            (world.sessions.table, intake.Sessions),
            (world.rooms.table, intake.Rooms),
            (entities.table, intake.Entities),
            (entities.states, "byte"),
            (entities.pages, "changed_tick"),
            (entities.seats, "acked_tick"),
        )
        self._boxes: WeakKeyDictionary[Batch, Box] = WeakKeyDictionary()
        self._drops = _Drops(world)
        self._make_room(0)

    def _make_room(self, rows: int) -> None:
        """Make arrays for what may be found in batches of so many rows."""
        columns: list[Any] = [np.zeros(rows, np.int64) for _ in intake.Found._fields[:-1]]
        self._found = intake.Found._make([*columns, np.zeros(intake.NUM_COUNTS, np.int64)])
        self._found_box = Box(self._found)

    def take_in(self, batch: Batch, now: float) -> TakenIn:
        """See `Stages`."""
        world = self._world
        box = self._boxes.get(batch) or self._put_into_box(batch)
        intake.take_in(
            box,
            batch.count,
            self._tables.get(),
            world.budgets.per_s,
            (now, world.clock_ms(now), world.stamp),
            self._drops.counts,
            self._found_box,
        )
        found = self._found
        num_messages, num_signals, cold, unknown, roamed, accepted, num_bytes, dropped = found.counts.tolist()
        if dropped:
            self._drops.report()
        self.taken = _Taken(batch, box, found.row[:accepted], found.session[:accepted], num_messages)
        return TakenIn(
            num_bytes,
            found.cold[:cold] if cold else _NOTHING,
            found.unknown[:unknown] if unknown else _NOTHING,
            self._roamed(batch, roamed) if roamed else [],
            num_messages > 0,
            num_signals > 0,
        )

    def _put_into_box(self, batch: Batch) -> Box:
        """View a batch as `intake.Received`; once for each, they are few and used again and again."""
        flat = batch.data.reshape(-1)
        types = (dtypes.DATA_HEADER_DTYPE, dtypes.STATE_HEADER_DTYPE, dtypes.MESSAGE_HEADER_DTYPE)
        headers = [windows(flat, dtype) for dtype in (*types, dtypes.SIGNAL_UP_HEADER_DTYPE)]
        if batch.capacity > len(self._found.row):
            self._make_room(batch.capacity)
        source = intake.Source(flat, windows(flat, "<u2"), windows(flat, "<u4"), *headers)
        box = self._boxes[batch] = Box(intake.Received(source, batch.length, batch.address))
        return box

    def _roamed(self, batch: Batch, count: int) -> list[tuple[int, bytes]]:
        sessions, rows = self._found.roamed_session[:count].tolist(), self._found.roamed_row[:count].tolist()
        return [(session, batch.address[row].tobytes()) for session, row in zip(sessions, rows, strict=True)]


class _Parts:
    """Hands accepted datagrams to `messages.accept` and `signals.accept`, and what is not common to the columns."""

    def __init__(self, world: World, queue: PairQueue) -> None:
        self._world = world
        self._queue = queue
        self._drops = _Drops(world)
        sessions, rooms = world.sessions.table, world.rooms.table
        self._writers = Arrays(
            messages.Tables, (sessions, messages.Senders), (rooms, messages.Rooms), (world.log.table, messages.Entries)
        )
        self._senders = Arrays(
            signals.Tables, (sessions, signals.Senders), (rooms, signals.Rooms), (world.rooms.members, "session")
        )
        self._bytes = world.log.arena.bytes
        self._memory = _as_memory(self._bytes)

    def take_messages(self, taken: "_Taken", now: float) -> Ints:
        """See `Stages`."""
        world, arena = self._world, self._world.log.arena
        if self._bytes is not arena.bytes:
            self._bytes = arena.bytes
            self._memory = _as_memory(self._bytes)
        first, space = arena.run()
        written = messages.accept(
            taken.box, taken.row, taken.session, taken.num_messages, self._writers.get(), self._memory, first, space
        )
        if written == messages.UNCOMMON:
            return world.intake.accept(taken.columns(), world.sessions, world.rooms, world.log, world.stats, now)
        if written:
            arena.take_run(written)
            world.log.note_appended()
        return _NOTHING

    def take_signals(self, taken: "_Taken", now: float) -> None:
        """See `Stages`."""
        early, pairs, num_bytes = self._accept(taken)
        if self._queue.make_room(pairs, num_bytes):
            early, _, _ = self._accept(taken)
        self._drops.report()
        if len(early):
            world, received = self._world, taken.columns()
            kind = np.full(len(early), int(DataSection.SIGNAL))
            received.sections = Sections(early[:, 0], kind, early[:, 1], early[:, 2])
            waiting = world.signals.read(received, world.sessions)
            world.signals.hold(waiting, world.sessions, world.stats, now)

    def _accept(self, taken: "_Taken") -> tuple[Ints, int, int]:
        found: tuple[Ints, int, int] = signals.accept(
            taken.box,
            taken.row,
            taken.session,
            self._senders.get(),
            self._queue.box,
            MAX_QUEUED - self._queue.num_signals,
            self._drops.counts,
        )
        return found


@dataclass
class _Taken:
    """What was accepted of a batch."""

    batch: Batch
    box: Box
    """The batch as `intake.Received`."""
    row: Ints
    session: Ints
    num_messages: int

    def columns(self) -> Received:
        """Return the same with its sections, as the columns take it."""
        batch, source, at = self.batch, self.batch.data.reshape(-1), self.row * ROW_BYTES
        length = batch.length[self.row].astype(np.int64)
        _, sections = walk_sections(source, at + dtypes.DATA_HEADER.size, at + length, MAX_SECTIONS)
        header = windows(source, dtypes.DATA_HEADER_DTYPE)[at]
        return Received(source, header, self.session, _NOTHING, length, batch.address[self.row], at, sections)


class _Drops:
    """Counts of what loops drop, by the place of the reason in `intake.REASONS`."""

    def __init__(self, world: World) -> None:
        self._stats = world.stats
        self.counts = np.zeros(len(intake.REASONS), np.int64)

    def report(self) -> None:
        """Add what was counted to the relay's counters."""
        if self.counts.any():
            for reason, number in zip(intake.REASONS, self.counts.tolist(), strict=True):
                self._stats.count_drop(reason, number)
            self.counts[:] = 0


class _Bodies:
    """Hands the rooms' tables to `pages.due_pages`, and keeps the memory that bodies are written to."""

    def __init__(self, world: World) -> None:
        self._world = world
        entities = world.entities
        self._tables = Arrays(
            pages.Tables,
            (world.sessions.table, pages.Receivers),
            (world.rooms.table, pages.Rooms),
            (entities.table, pages.Entities),
            (entities.pages, pages.Pages),
            (entities.seats, pages.Seats),
            (entities.states, "byte"),
        )
        self._make_room(FIRST_BODY_BYTES, FIRST_ITEMS)

    def _make_room(self, num_bytes: int, num_pages: int) -> None:
        self._bytes = byte = np.zeros(num_bytes, np.uint8)
        self.address = np.uint64(byte.ctypes.data)
        """Where the bodies lie."""
        types = (dtypes.SECTION_HEADER_DTYPE, dtypes.PAGE_HEADER_DTYPE, dtypes.GROUP_HEADER_DTYPE)
        self._max_pages = num_pages
        columns: list[Any] = [np.zeros(num_pages, np.int64) for _ in pages.Due._fields[:-1]]
        due = pages.Due._make([*columns, np.zeros(num_pages, np.bool_)])
        self.target = Box(pages.Target(due, byte, windows(byte, "<u2"), *(windows(byte, dtype) for dtype in types)))

    def due_pages(self) -> tuple[int, Bytes]:
        """Find due pages and encode the bodies they need. Returns: how many `target` has, and the bodies' bytes."""
        num_due, limit, total = self._find()
        if limit > self._max_pages:
            self._make_room(len(self._bytes), 2 * limit)
            num_due, _, total = self._find()
        if total > len(self._bytes):
            self._make_room(2 * total, self._max_pages)
            num_due, _, _ = self._find()
        return num_due, self._bytes

    def _find(self) -> tuple[int, int, int]:
        world = self._world
        times = (world.tick, world.tick_before, world.period_s)
        return pages.due_pages(world.sessions.live, self._tables.get(), times, self.target)


class _Gathering:
    """Hands the log, the queue of signals and due pages to `delivery.gather`, and keeps the memory of the items."""

    def __init__(self, world: World, queue: PairQueue) -> None:
        self._world = world
        self._bodies = _Bodies(world)
        self._queue = queue
        self._log = _Address()
        self._tables = Arrays(
            delivery.Tables,
            (world.sessions.table, delivery.Receivers),
            (world.rooms.table, delivery.Rooms),
            (world.log.table, delivery.Entries),
        )
        period_s = world.period_s
        pace = delivery.Pace(
            period_s,
            soon_ticks(period_s),
            fragments_per_tick(period_s),
            mark_entries(world.config.client_bytes_per_s, TOO_SLOW_S),
        )
        self._rates = tuple(pace)
        self._open = (*(np.zeros(LOG_WINDOW, np.int64) for _ in range(2)), np.zeros(LOG_WINDOW, np.bool_))
        self._make_room(FIRST_ITEMS)

    def _make_room(self, items: int) -> None:
        self._items = Items(*(np.zeros(items, column.dtype) for column in Items.empty().columns()))
        self._target = Box(delivery.Target(packing.Items(*self._items.columns()), *self._open))

    def gather(self, plan: Plan, now: float, at_tick: bool) -> Gathered:
        """See `Stages`."""
        world = self._world
        num_due, bodies = self._bodies.due_pages() if at_tick else (0, None)
        keep = [world.log.arena.bytes, *self._queue.data()]
        if bodies is not None:
            keep.append(bodies)
        times = (now, world.tick, at_tick, plan.lags, self._log.of(world.log.arena.bytes), self._bodies.address)
        num_items, num_signals, most = self._gather(num_due, plan.allowed, times)
        if most > len(self._items):
            self._make_room(2 * most)
            num_items, num_signals, _ = self._gather(num_due, plan.allowed, times)
        items = self._items
        if len(items) > max(MAX_IDLE_ITEMS, most * SHRINK_BELOW):
            self._make_room(FIRST_ITEMS)
        self._queue.tidy()
        return Gathered(items, num_items, num_signals, keep)

    def _gather(self, num_due: int, allowed: Ints, times: tuple[Any, ...]) -> tuple[int, int, int]:
        return delivery.gather(
            self._world.sessions.live,
            self._tables.get(),
            self._queue.box,
            self._bodies.target,
            num_due,
            allowed,
            times,
            self._rates,
            self._target,
        )


class _Packing:
    """Hands items to `packing.build`, and keeps the memory that headers and pieces are written to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tables = Arrays(
            packing.Tables,
            (world.sessions.table, packing.Receivers),
            (world.rooms.table, packing.Rooms),
            (world.entities.seats, "sent_tick"),
        )
        self._items = Items.empty()
        self._items_box = Box(packing.Items(*self._items.columns()))
        self._make_room(FIRST_DATAGRAMS, FIRST_DATAGRAMS)

    def _make_room(self, datagrams: int, items: int) -> None:
        """Make arrays for so many datagrams with so many items altogether."""
        self._num_datagrams, self._num_items = datagrams, items
        header, ranges = np.zeros(datagrams, dtypes.UPDATE_HEADER_DTYPE), np.zeros(items, egress.RANGE_DTYPE)
        self._keep = (header.view(np.uint8), ranges.view(np.uint8))
        self._arrays = packing.Target(
            header,
            ranges["section"],
            ranges["range"],
            np.zeros((datagrams + 2 * items, 2), np.uint64),
            np.zeros(datagrams + 1, np.int64),
            np.zeros((datagrams, ADDRESS_WORDS), np.uint32),
            np.array([header.ctypes.data, ranges.ctypes.data], np.uint64),
            np.zeros(packing.NUM_COUNTS, np.int64),
        )
        self._target = Box(self._arrays)

    def build(self, gathered: Gathered, plan: Plan, now: float) -> tuple[Outgoing, int]:
        """See `Stages`."""
        num_items = gathered.num_items
        if num_items and gathered.items is not self._items:
            self._items = gathered.items
            self._items_box = Box(packing.Items(*self._items.columns()))
        if num_items + len(plan.bare) > self._num_datagrams or num_items > self._num_items:
            # never room for nothing: numpy calls an array without elements contiguous, which is another type to a loop
            self._make_room(2 * (num_items + len(plan.bare)), max(2 * num_items, FIRST_DATAGRAMS))
        packing.build(
            self._items_box,
            num_items,
            plan.bare,
            plan.allowed,
            self._tables.get(),
            (now, self._world.tick),
            self._target,
        )
        out = self._arrays
        datagrams, num_pieces, _, num_signals, num_bytes = out.done.tolist()
        outgoing = Outgoing(
            out.piece[:num_pieces],
            out.first_piece[: datagrams + 1],
            out.address[:datagrams],
            (*self._keep, *gathered.keep),
            num_bytes,
        )
        return outgoing, num_signals


class _Address:
    """Where an array lies, asked once for each: numpy takes 2 us to say it, and 6 on cold caches."""

    def __init__(self) -> None:
        self._memory: Bytes | None = None
        self._address = _NOWHERE

    def of(self, memory: Bytes) -> np.uint64:
        """Return the address of an array's first byte."""
        if memory is not self._memory:
            self._memory, self._address = memory, np.uint64(memory.ctypes.data)
        return self._address


def _as_memory(memory: Bytes) -> Box:
    """View the log's bytes as loops do."""
    return Box(messages.Memory(memory, windows(memory, dtypes.ENTRY_HEADER_DTYPE)))


_NOTHING: Ints = np.zeros(0, np.int64)
_NOWHERE = np.uint64(0)
