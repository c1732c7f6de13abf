"""Messages on their way into the log: accepted in order per session, kept behind a gap, limited by credit (SPEC 9).

The common case, every message in order, is a few numpy passes. Messages that arrive behind a gap are kept in rows of
a bounded hold and taken from there, per message, when the gap is filled.

The last fragment of a large message waits there too, until every member has read the fragments before it: the message
counts at the index of its last fragment, and whatever comes behind that index waits for the whole message. So nobody
else's entries wait for a fragment that was lost.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.constants import (
    FIRST_REQUEST_KIND,
    MAX_FRAGMENT_BYTES,
    MAX_KEPT_MESSAGE_BYTES,
    MAX_MESSAGE_BYTES,
    MESSAGE_WINDOW,
    PART_MORE,
    SPECIAL_MESSAGE_COST,
    DataSection,
    MessageFlag,
    RequestRefusal,
    Target,
)
from protocol.drops import DropReason
from protocol.sequence import extend_array
from relay.audience import WORDS, Audience, read_audiences
from relay.belongings import Kept
from relay.budgets import Budget, Budgets
from relay.columns import Bools, Bytes, Columns, Ints, RowPool, before, places, rank_in_run, run_ends, run_starts
from relay.ingress import Received, Records, payload_bytes, read_section_headers
from relay.log import CREDIT_BYTES, Log
from relay.rooms import Rooms
from relay.sessions import Sessions, SessionTable
from relay.stats import Stats

MAX_HELD = 4096
"""Messages kept behind gaps on the whole relay: 4.4 MB (chosen). Beyond it they are dropped and the client repeats."""
MAX_PARTS = MAX_MESSAGE_BYTES // MAX_FRAGMENT_BYTES
LARGE_PARTS = 16
"""A message of more fragments than this is large. A smaller one may hold others up by one resend, as sixteen messages
of the largest size would; and it is not worth the round trip that waiting costs (chosen)."""
LAST_WAITS_S = 1.0
"""How long the last fragment of a large message waits at most (chosen: a member with a slow line delays no longer)."""
_HEADER_DTYPE = dtypes.MESSAGE_HEADER_DTYPE
_KEEP = int(MessageFlag.KEEP)
_FLAGS_UP = int(MessageFlag.KEEP | MessageFlag.OUTLIVES_SENDER)
"""Flags that a sender may set."""


@dataclass
class Messages:
    """Messages to append. Axis: n messages; of one session side by side and in order."""

    session: Ints
    message_id: Ints
    """Extended ids."""
    header: Records
    audience: Audience
    source: Bytes
    payload_at: Ints
    payload_length: Ints

    def take(self, which: Ints | Bools) -> "Messages":
        """Select by positions or mask."""
        return Messages(
            self.session[which],
            self.message_id[which],
            self.header[which],
            self.audience[which],
            self.source,
            self.payload_at[which],
            self.payload_length[which],
        )


class HeldTable(Columns):
    """Messages that wait for one before them."""

    COLUMNS = {
        "session": ("i8", ()),
        "message_id": ("i8", ()),
        "header": (_HEADER_DTYPE, ()),  # type: ignore[dict-item]
        "audience": ("u8", (WORDS,)),
        "length": ("i8", ()),
        "payload": ("u1", (MAX_FRAGMENT_BYTES,)),
    }
    session: Ints
    message_id: Ints
    header: Records
    audience: Audience
    length: Ints
    payload: npt.NDArray[np.uint8]


class RequestHandler(Protocol):
    """Who does what messages ask for: `requests.Requests`."""

    def handle(self, session: int, message_id: int, kind: int, payload: bytes) -> None:
        """Do what a message asks for."""

    def refuse(self, session: int, message_id: int, kind: int, reason: RequestRefusal) -> None:
        """Tell a player alone that something was not done."""

    def why_not_kept(self, session: int, num_bytes: int) -> RequestRefusal | None:
        """Tell why a message of one fragment to all cannot be kept; None if it can."""

    def keep(self, session: int, index: int, message: Kept) -> None:
        """Keep a message that was just appended."""


class MessageIntake:
    """Takes MESSAGE sections into the logs."""

    requests: RequestHandler
    """Set by the engine."""

    def __init__(self) -> None:
        self.held = HeldTable(16)
        self._pool = RowPool(self.held)
        self._rows: dict[int, dict[int, int]] = {}
        """Session row -> message id -> row of `held`."""
        self._give_up_at: dict[int, float] = {}
        """Session row -> when the last fragment of its large message waits no longer."""
        self._stalled: set[int] = set()
        """Session rows whose next message is here but found no memory in the log."""
        self._cut_requests: set[int] = set()
        """Session rows whose last request said that more of it follows."""
        self.num_held = 0

    def forget(self, session: int) -> None:
        """Throw away what is held for a session that ends."""
        self._give_up_at.pop(session, None)
        self._stalled.discard(session)
        self._cut_requests.discard(session)
        for row in self._rows.pop(session, {}).values():
            self._release(row)

    def accept(self, received: Received, sessions: Sessions, rooms: Rooms, log: Log, stats: Stats, now: float) -> Ints:
        """Append every message of accepted datagrams that is next in its session's order.

        Returns: rows of sessions whose message went past MAX_MESSAGE_BYTES: they must end.
        """
        messages = self._read(received, sessions, stats)
        messages = _permitted(messages, sessions.table, log, stats)
        cost = np.where(_is_special(messages.header), SPECIAL_MESSAGE_COST, 1)
        fresh = messages.take(Budgets.covered(sessions.table, messages.session, Budget.MESSAGES, cost))
        stats.count_drop(DropReason.OVER_MESSAGE_RATE, len(messages.session) - len(fresh.session))
        in_order = _in_order(fresh, sessions.table)
        self._hold(fresh.take(~in_order), sessions.table, stats)
        too_long = self._append(fresh.take(in_order), sessions.table, rooms, log)
        filled = np.unique(fresh.session[sessions.table.message_held[fresh.session] > 0])
        if not len(filled):
            return too_long
        return np.append(too_long, self._append_held(filled, sessions.table, rooms, log, now))

    def append_waiting(self, sessions: Sessions, rooms: Rooms, log: Log, now: float) -> Ints:
        """Append what is next and need not wait any longer. Once per tick. Returns as `accept`."""
        if not (self._stalled or self._give_up_at):
            return np.zeros(0, np.int64)
        waiting = np.array(sorted(self._stalled.union(self._give_up_at)), np.int64)
        return self._append_held(waiting, sessions.table, rooms, log, now)

    def append_rest(self, session: int, sessions: Sessions, rooms: Rooms, log: Log) -> None:
        """Append what of a leaving session is next and waits only for the sake of others: its client may rely on it."""
        if session in self._give_up_at:
            self._give_up_at[session] = -math.inf
            self._append_held(np.array([session]), sessions.table, rooms, log, 0.0)

    def _append_held(self, sessions: Ints, table: SessionTable, rooms: Rooms, log: Log, now: float) -> Ints:
        """Append what is held for these sessions and is next. Returns rows of sessions that must end."""
        too_long = self._append(self._unhold(sessions, table, log.arena.free_bytes(), now), table, rooms, log)
        self._report(sessions, table)
        return too_long

    def _append(self, messages: Messages, table: SessionTable, rooms: Rooms, log: Log) -> Ints:
        """Append messages in order, and do in their turn what requests among them ask for. Returns as `append`."""
        special = _is_special(messages.header)
        if not special.any():
            return append(messages, table, rooms, log)
        too_long = []
        done = 0
        for at in [*places(special).tolist(), len(special)]:
            too_long.append(append(messages.take(np.arange(done, at)), table, rooms, log))
            if at < len(special):
                too_long.append(self._append_special(messages.take(np.arange(at, at + 1)), table, rooms, log))
            done = at + 1
        return np.concatenate(too_long)

    def _append_special(self, message: Messages, table: SessionTable, rooms: Rooms, log: Log) -> Ints:
        """Do what one request asks for, or append one message that is to be kept. Returns as `append`."""
        session, header = int(message.session[0]), message.header[0]
        is_whole = not header["more"] and table.unfinished_parts[session] == 0
        at = int(message.payload_at[0])
        payload = message.source[at : at + int(message.payload_length[0])].tobytes()
        message_id, room = int(message.message_id[0]), int(table.room[session])
        if header["kind"] >= FIRST_REQUEST_KIND:
            table.message_accepted[session] = message_id
            self._do_request(session, message_id, int(header["kind"]), bool(header["more"]), payload, is_whole)
            table.message_index[session] = rooms.table.log_head[room]
            return message.session[:0]
        can_be_kept = is_whole and header["target"] == int(Target.ALL) and len(payload) <= MAX_KEPT_MESSAGE_BYTES
        why_not = self.requests.why_not_kept(session, len(payload)) if can_be_kept else RequestRefusal.MALFORMED
        if why_not is not None:  # decided before: nobody must be told that it is kept
            message.header["flags"] &= ~np.uint8(_FLAGS_UP)
        too_long = append(message, table, rooms, log)
        if why_not is None:
            kind, flags, channel = (int(header[name]) for name in ("kind", "flags", "channel"))
            kept = Kept(int(table.player_id[session]), kind, flags & _FLAGS_UP, channel, payload)
            self.requests.keep(session, int(rooms.table.log_head[room]), kept)
        elif not header["more"] and not len(too_long):
            self.requests.refuse(session, message_id, int(header["kind"]), why_not)
        return too_long

    def _do_request(self, session: int, message_id: int, kind: int, more: bool, payload: bytes, is_whole: bool) -> None:
        """Do what a request asks for. One that was cut is refused piece by piece, and no piece of it is passed on."""
        if is_whole and session not in self._cut_requests:
            self.requests.handle(session, message_id, kind, payload)
        else:
            self.requests.refuse(session, message_id, kind, RequestRefusal.MALFORMED)
        if more:
            self._cut_requests.add(session)
        else:
            self._cut_requests.discard(session)

    def _read(self, received: Received, sessions: Sessions, stats: Stats) -> Messages:
        """Read MESSAGE sections, ordered by session and id, without repeats."""
        sections = received.sections.of(DataSection.MESSAGE)
        header, _ = read_section_headers(received.source, sections, _HEADER_DTYPE)
        session = received.session[sections.datagram]
        message_id = extend_array(header["message_id"], sessions.table.message_accepted[session])
        # of two that a client sent under one id, that of the lower sequence number is taken
        order = np.lexsort((sections.datagram, message_id, session))
        session, message_id = session[order], message_id[order]
        new = message_id > sessions.table.message_accepted[session]
        new[1:] &= (session[1:] != session[:-1]) | (message_id[1:] != message_id[:-1])
        behind = message_id - sessions.table.message_accepted[session] - 1
        held = sessions.table.message_bits[session] >> np.clip(behind, 0, MESSAGE_WINDOW - 1).astype(np.uint32)
        new &= (behind >= MESSAGE_WINDOW) | (held & np.uint32(1) == 0)
        order = order[new]
        sections, header = sections.take(order), header[order]
        length = payload_bytes(sections, header)
        audience = read_audiences(received.source, sections, header)
        payload_at = sections.at + sections.length - length
        return Messages(session[new], message_id[new], header, audience, received.source, payload_at, length)

    def _hold(self, messages: Messages, table: SessionTable, stats: Stats) -> None:
        """Keep messages that arrived behind a gap."""
        for i, (session, message_id) in enumerate(
            zip(messages.session.tolist(), messages.message_id.tolist(), strict=True)
        ):
            if self.num_held >= MAX_HELD:
                stats.count_drop(DropReason.HOLD_FULL)
                continue
            row = self._pool.take()
            self.num_held += 1
            self._rows.setdefault(session, {})[message_id] = row
            length, at = int(messages.payload_length[i]), int(messages.payload_at[i])
            self.held.header[row] = messages.header[i]
            self.held.audience[row] = messages.audience[i]
            self.held.length[row] = length
            self.held.payload[row, :length] = messages.source[at : at + length]
            table.message_held[session] += 1
        self._report(np.unique(messages.session), table)

    def _unhold(self, sessions: Ints, table: SessionTable, space: int, now: float) -> Messages:
        """Take out what is next in order for these sessions, as far as it goes and fits into `space` bytes of log."""
        session, message_id, rows = [], [], []
        for row in sessions.tolist():
            waiting = self._rows.get(row, {})
            self._stalled.discard(row)
            next_id = int(table.message_accepted[row]) + 1
            part, is_unread = int(table.unfinished_parts[row]), bool(table.unread_bytes[row] > 0)
            while next_id in waiting:
                more = bool(self.held.header["more"][waiting[next_id]])
                if not more and part >= LARGE_PARTS and is_unread and self._still_waits(row, now):
                    break
                space -= dtypes.ENTRY_HEADER.size + int(self.held.length[waiting[next_id]])
                if space < 0:
                    self._stalled.add(row)
                    break
                self._give_up_at.pop(row, None)
                session.append(row)
                message_id.append(next_id)
                rows.append(waiting.pop(next_id))
                next_id += 1
                part, is_unread = part + 1 if more else 0, True
        picked = np.array(rows, np.int64)
        source = self.held.payload[picked].reshape(-1)
        at = np.arange(len(picked)) * MAX_FRAGMENT_BYTES
        taken = Messages(
            np.array(session, np.int64),
            np.array(message_id, np.int64),
            self.held.header[picked],
            self.held.audience[picked],
            source,
            at,
            self.held.length[picked],
        )
        for one in rows:
            self._release(one)
        np.subtract.at(table.message_held, taken.session, 1)
        return taken

    def _still_waits(self, session: int, now: float) -> bool:
        """Tell whether a session's last fragment is to wait on; the first time this is asked, its time begins."""
        return now < self._give_up_at.setdefault(session, now + LAST_WAITS_S)

    def _release(self, row: int) -> None:
        self._pool.give(row)
        self.num_held -= 1

    def _report(self, sessions: Ints, table: SessionTable) -> None:
        """Set message_bits of sessions with messages behind a gap."""
        for row in sessions.tolist():
            accepted = int(table.message_accepted[row])
            table.message_bits[row] = sum(1 << message_id - accepted - 1 for message_id in self._rows.get(row, ()))


def _is_special(header: Records) -> Bools:
    """Mark the messages that ask for something, or are to be kept: the server does more than pass them on."""
    special: Bools = (header["kind"] >= FIRST_REQUEST_KIND) | (header["flags"] & _KEEP != 0)
    return special


def _permitted(messages: Messages, table: SessionTable, log: Log, stats: Stats) -> Messages:
    """Drop what goes beyond the credit that the session was given, or what the arena cannot take."""
    inside = messages.message_id <= table.message_permitted[messages.session]
    stats.count_dropped(DropReason.MESSAGE_WINDOW, inside)
    messages = messages.take(inside)
    needed = np.cumsum(messages.payload_length + dtypes.ENTRY_HEADER.size)
    fits = needed <= log.arena.free_bytes()
    stats.count_dropped(DropReason.LOG_FULL, fits)
    return messages.take(fits)


def _in_order(messages: Messages, table: SessionTable) -> Bools:
    """Tell which messages may be appended at once: all up to the first of their session that may not."""
    session, more = messages.session, messages.header["more"] != 0
    rank = rank_in_run(session)
    part, _ = _number_parts(session, more, table)
    waits = ~more & (part >= LARGE_PARTS) & ((table.unread_bytes[session] > 0) | (rank > 0))
    stops = waits | (messages.message_id != table.message_accepted[session] + 1 + rank)
    return _before_first(stops, rank)


def _before_first(stops: Bools, rank: Ints) -> Bools:
    """Tell which elements come before the first stop of their run; `rank` numbers each run from 0."""
    stopped = np.cumsum(stops)
    before_run = np.maximum.accumulate(np.where(rank == 0, stopped - stops, 0))
    return stopped == before_run


def append(messages: Messages, table: SessionTable, rooms: Rooms, log: Log) -> Ints:
    """Append messages to their rooms' logs and move their sessions' accepted ids.

    Args:
        messages: Those of one session side by side, consecutive from the next id on.
    Returns: rows of sessions whose unfinished message has grown past MAX_PARTS.
    """
    if not len(messages.session):
        return messages.session
    by_room = np.argsort(table.room[messages.session], kind="stable")
    messages = messages.take(by_room)
    session, more = messages.session, messages.header["more"] != 0
    room = table.room[session]
    part, begins = _number_parts(session, more, table)
    if (part >= MAX_PARTS).any():
        # No client could read such an entry. The session ends: of it, only what came before is appended.
        over = _before_first(part >= MAX_PARTS, rank_in_run(session))
        return np.append(np.unique(session[~over]), append(messages.take(over), table, rooms, log))
    index = rooms.table.log_head[room] + 1 + rank_in_run(room)
    first, audience = _audience_of_message(messages, index, begins, table)
    header = np.zeros(len(session), dtypes.ENTRY_HEADER_DTYPE)
    for name in ("kind", "channel"):
        header[name] = messages.header[name]
    header["flags"] = messages.header["flags"] & _FLAGS_UP
    header["sender"] = table.player_id[session]
    header["part"] = part | np.where(more, PART_MORE, 0)
    log.append(
        rooms, room, header, session, first, audience, messages.source, messages.payload_at, messages.payload_length
    )
    ends = run_ends(session)
    table.message_accepted[session[ends]] = messages.message_id[ends]
    np.add.at(table.unread_bytes, session, messages.payload_length + table.entry_charge[session])
    table.unfinished_parts[session[ends]] = np.where(more, part + 1, 0)[ends]
    table.unfinished_first[session[ends]] = first[ends]
    table.unfinished_audience[session[ends]] = audience[ends]
    table.message_index[session[ends]] = index[ends]
    return session[:0]


def _number_parts(session: Ints, more: Bools, table: SessionTable) -> tuple[Ints, Bools]:
    """Number fragments within their messages. Returns part (n,) and a mask of the entries that begin a message."""
    starts = run_starts(session)
    begins = np.where(starts, table.unfinished_parts[session] == 0, ~before(more))
    position = np.arange(len(session))
    run_start = np.maximum.accumulate(np.where(starts | begins, position, 0))
    carried = np.where(begins, 0, table.unfinished_parts[session])[run_start]
    return position - run_start + carried, begins


def _audience_of_message(messages: Messages, index: Ints, begins: Bools, table: SessionTable) -> tuple[Ints, Audience]:
    """Give every fragment the audience and the index of its message's first fragment."""
    session = messages.session
    opener = np.where(begins, index, table.unfinished_first[session])
    position = np.arange(len(session))
    run_start = np.maximum.accumulate(np.where(run_starts(session) | begins, position, 0))
    audience = np.where(begins[:, None], messages.audience, table.unfinished_audience[session])
    return opener[run_start], audience[run_start]


def creditable(table: SessionTable, rows: Ints) -> Ints:
    """Return the highest message id that each session may send, by what it has in the log unread."""
    left = np.maximum(CREDIT_BYTES - table.unread_bytes[rows], 0) // (MAX_FRAGMENT_BYTES + table.entry_charge[rows])
    return table.message_accepted[rows] + np.minimum(left, MESSAGE_WINDOW)


def grant_credit(table: SessionTable, rows: Ints) -> npt.NDArray[np.uint16]:
    """Decide the highest message id that each session may send, and return its low 16 bits for UPDATE.

    What was granted is never taken back, or a message under way would be dropped.
    """
    table.message_permitted[rows] = np.maximum(table.message_permitted[rows], creditable(table, rows))
    return table.message_permitted[rows].astype(np.uint16)
