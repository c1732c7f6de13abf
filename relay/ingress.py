"""From received bytes to checked datagrams: what a receive pass looks at before anything changes (SPEC 11).

All DATA of a batch is checked together, one numpy pass per check. What is left when `check` returns may be accepted.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.constants import (
    LOG_WINDOW,
    MAX_DATAGRAM_BYTES,
    MAX_FRAGMENT_BYTES,
    MAX_PLAYER_KIND,
    MAX_SECTIONS,
    MAX_SIGNAL_FRAGMENTS,
    WINDOW,
    AckFlag,
    DataSection,
    Kind,
    Target,
)
from protocol.drops import DropReason
from protocol.sequence import extend_array
from relay.batch import ROW_BYTES, Batch
from relay.columns import Bools, Bytes, Ints, places, windows
from relay.rooms import Rooms
from relay.sessions import Sessions
from relay.stats import Stats

Records = npt.NDArray[np.void]

COLD_KINDS = (Kind.HELLO, Kind.JOIN, Kind.PING, Kind.BYE, Kind.PATH_RESPONSE, Kind.LIST)
"""What a client sends beside DATA."""
_IS_COLD = np.isin(np.arange(256), COLD_KINDS)
_DATA = int(Kind.DATA)
NOTHING_RECEIVED = int(AckFlag.NOTHING_RECEIVED)
"""Plain numbers: numpy takes five times as long for an IntEnum."""
_NUM_TARGETS = np.array([0, 1, 1], np.int64)
"""Ids that a target of ALL, ALL_BUT and ONE must have."""


@dataclass
class Sections:
    """Sections of all datagrams of a pass. Axis: n sections, in no particular order."""

    datagram: Ints
    """Which datagram, (n,)."""
    kind: Ints
    at: Ints
    """Where the body begins in the batch's bytes, (n,)."""
    length: Ints
    """Bytes of the body, (n,)."""

    def of(self, kind: DataSection) -> "Sections":
        """Select the sections of one type."""
        return self.where(self.kind == int(kind))  # numpy takes five times as long to compare with an IntEnum

    def hold(self, kind: DataSection) -> bool:
        """Tell whether there is a section of one type."""
        return int(kind) in self.kind

    def take(self, which: Ints) -> "Sections":
        """Select by positions, (m,)."""
        return Sections(self.datagram[which], self.kind[which], self.at[which], self.length[which])

    def where(self, kept: Bools) -> "Sections":
        """Select by a mask, (n,)."""
        return Sections(self.datagram[kept], self.kind[kept], self.at[kept], self.length[kept])


@dataclass
class Received:
    """DATA of one pass that passed its checks. Axis: d datagrams."""

    source: Bytes
    """The batch's bytes, flat."""
    header: Records
    """DATA headers, (d,)."""
    session: Ints
    """Session rows, (d,)."""
    seq: Ints
    """Extended sequence numbers, (d,)."""
    length: Ints
    """Payload bytes, (d,)."""
    address: npt.NDArray[np.uint32]
    """Sources, (d, 7)."""
    at: Ints
    """Where the datagram begins in `source`, (d,)."""
    sections: Sections

    def where(self, kept: Bools) -> "Received":
        """Select datagrams by a mask, (d,), with their sections."""
        if kept.all():
            return self
        new_number = np.cumsum(kept) - 1
        sections = self.sections.where(kept[self.sections.datagram])
        sections.datagram = new_number[sections.datagram]
        return self.ordered(places(kept), sections)

    def ordered(self, order: Ints, sections: Sections) -> "Received":
        """Build the same with datagrams in another order, and the sections given."""
        return Received(
            self.source,
            self.header[order],
            self.session[order],
            self.seq[order],
            self.length[order],
            self.address[order],
            self.at[order],
            sections,
        )


def split_kinds(batch: Batch, stats: Stats) -> tuple[Ints, Ints]:
    """Sort a batch into rows of DATA and rows of cold kinds; count the others (steps 1 and 2)."""
    length = batch.length[: batch.count]
    kind = batch.data[: batch.count, 0]
    long_enough = length >= 2
    stats.count_dropped(DropReason.TOO_SHORT, long_enough)
    fits = length <= MAX_DATAGRAM_BYTES
    stats.count_dropped(DropReason.TOO_LONG, fits)
    fits &= long_enough
    hot = fits & (kind == _DATA)
    cold = fits & _IS_COLD[kind]
    stats.count_drop(DropReason.UNKNOWN_KIND, int(np.count_nonzero(fits & ~hot & ~cold)))
    return places(hot), places(cold)


def read_headers(batch: Batch, rows: Ints, stats: Stats) -> Received:
    """Gather the headers of DATA rows (step 4). Sessions and seqs are not looked up yet, sections not walked."""
    length = batch.length[rows].astype(np.int64)
    long_enough = length >= dtypes.DATA_HEADER.size
    stats.count_dropped(DropReason.TOO_SHORT, long_enough)
    rows, length = rows[long_enough], length[long_enough]
    source = batch.data.reshape(-1)
    at = rows * ROW_BYTES
    header = windows(source, dtypes.DATA_HEADER_DTYPE)[at]
    nothing = np.zeros(0, np.int64)
    return Received(
        source, header, nothing, nothing, length, batch.address[rows], at, Sections(nothing, nothing, nothing, nothing)
    )


def find_sessions(received: Received, sessions: Sessions, stats: Stats) -> tuple[Received, Received]:
    """Look sessions up (step 5).

    Returns: the datagrams of known sessions, ordered by session and else as they arrived; and the others.
    """
    rows, known = sessions.find_rows(received.header["session"])
    received.session = received.seq = rows  # seq has its meaning from check_window on
    stats.count_dropped(DropReason.UNKNOWN_SESSION, known)
    nobody = received.ordered(places(~known), received.sections)
    found = received.where(known)
    return found.ordered(np.argsort(found.session, kind="stable"), found.sections), nobody


def check_window(received: Received, sessions: Sessions, stats: Stats) -> Received:
    """Extend sequence numbers and drop what is too old or was here before (step 7)."""
    newest = sessions.table.recv_newest[received.session]
    seq = extend_array(received.header["seq"], newest)
    behind = newest - seq
    recent = (behind < WINDOW) & (seq >= 1)
    stats.count_dropped(DropReason.TOO_OLD, recent)
    shift = np.minimum(np.maximum(behind, 0), WINDOW - 1).astype(np.uint64)
    seen = (behind >= 0) & ((sessions.table.recv_mask[received.session] >> shift & np.uint64(1)) != 0)
    seen &= recent
    stats.count_drop(DropReason.DUPLICATE, int(np.count_nonzero(seen)))
    received.seq = seq
    return received.where(recent & ~seen)


def check_acks(received: Received, sessions: Sessions, rooms: Rooms, stats: Stats) -> Received:
    """Drop what acknowledges something that was never sent (step 8)."""
    table, rows = sessions.table, received.session
    ack = extend_array(received.header["ack"], table.acked_seq[rows])
    nothing = (received.header["flags"] & NOTHING_RECEIVED) != 0
    cursor = received.header["log_cursor"].astype(np.int64)
    good = nothing | ((ack >= 1) & (ack <= table.send_seq[rows]))
    good &= (cursor >= table.log_start[rows]) & (cursor <= rooms.table.log_head[table.room[rows]])
    stats.count_dropped(DropReason.BAD_ACK, good)
    return received.where(good)


def find_behind(batch: Batch, sessions: Sessions) -> Ints:
    """Find DATA of sessions whose log was given up, rows of the batch: it is acknowledged from before where it begins.

    Only for a batch of which something was dropped as BAD_ACK. What is wrong with a datagram was counted then.
    """
    counted = Stats()
    received = read_headers(batch, split_kinds(batch, counted)[0], counted)
    rows, known = sessions.find_rows(received.header["session"])
    behind = known & (received.header["log_cursor"] < sessions.table.log_start[rows])
    return received.at[behind] // ROW_BYTES


def check_sections(received: Received, sessions: Sessions, rooms: Rooms, stats: Stats) -> Received:
    """Walk all sections and drop every datagram that has a malformed one (step 9)."""
    begin = received.at + dtypes.DATA_HEADER.size
    good, sections = walk_sections(received.source, begin, received.at + received.length, MAX_SECTIONS)
    max_state = rooms.table.max_state_bytes[sessions.table.room[received.session]]
    present = np.bincount(sections.kind, minlength=len(DataSection) + 1)
    for kind, check in _CHECKS.items():
        if present[kind]:
            some = sections.of(kind)
            wrong = ~check(received.source, some, max_state)
            good[some.datagram[wrong]] = False
    if present[DataSection.LOG_BITS]:
        good &= np.bincount(sections.of(DataSection.LOG_BITS).datagram, minlength=len(good)) <= 1
    stats.count_dropped(DropReason.BAD_SECTION, good)
    received.sections = sections
    return received.where(good)


def walk_sections(source: Bytes, begin: Ints, end: Ints, max_sections: int) -> tuple[Bools, Sections]:
    """Find all sections of many datagrams: round k reads the k-th section of every datagram that has one.

    Args:
        source: Bytes in which a section header may be read from anywhere before an `end`.
        begin: Where the first section of each datagram begins, (d,).
        end: Where each datagram ends, (d,).
        max_sections: More make a datagram bad. At most so many rounds.
    Returns: which datagrams have only whole sections, (d,); and all whole sections.
    """
    at = begin.copy()
    good = np.ones(len(at), np.bool_)
    types, sizes = windows(source, "u1"), windows(source, "<u2")
    found: list[tuple[Ints, Ints, Ints, Ints]] = []
    active = places(at < end)
    for _ in range(max_sections):
        if not len(active):
            break
        body = at[active] + dtypes.SECTION_HEADER.size
        whole = body <= end[active]
        header_at = np.where(whole, at[active], 0)
        length = sizes[header_at + 1].astype(np.int64)
        whole &= body + length <= end[active]
        good[active[~whole]] = False
        kind = types[header_at].astype(np.int64)
        found.append((active[whole], kind[whole], body[whole], length[whole]))
        at[active] = body + length
        active = active[whole]
        active = active[at[active] < end[active]]
    good[active] = False  # more than max_sections
    if len(found) == 1:
        return good, Sections(*found[0])
    if not found:
        nothing = np.zeros(0, np.int64)
        return good, Sections(nothing, nothing, nothing, nothing)
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    return good, Sections(*columns)


def _check_states(source: Bytes, sections: Sections, max_state: Ints) -> Bools:
    header, fits = read_section_headers(source, sections, dtypes.STATE_HEADER_DTYPE)
    count, stride = header["count"].astype(np.int64), header["stride"].astype(np.int64)
    exact = sections.length == dtypes.STATE_HEADER.size + count * (2 + stride)
    return fits & exact & (count >= 1) & (stride <= max_state[sections.datagram])


def _check_log_bits(source: Bytes, sections: Sections, max_state: Ints) -> Bools:
    return (sections.length >= 4) & (sections.length <= LOG_WINDOW // 8) & (sections.length % 4 == 0)


def _check_messages(source: Bytes, sections: Sections, max_state: Ints) -> Bools:
    header, fits = read_section_headers(source, sections, dtypes.MESSAGE_HEADER_DTYPE)
    more, payload = header["more"], payload_bytes(sections, header)
    return fits & _check_target(header) & _check_payload(header, payload) & (more <= 1) & ((more == 0) | (payload >= 1))


def _check_signals(source: Bytes, sections: Sections, max_state: Ints) -> Bools:
    header, fits = read_section_headers(source, sections, dtypes.SIGNAL_UP_HEADER_DTYPE)
    part, last = header["fragment"] & 15, header["fragment"] >> 4
    numbered = (part <= last) & (last < MAX_SIGNAL_FRAGMENTS)
    return fits & _check_target(header) & _check_payload(header, payload_bytes(sections, header)) & numbered


_CHECKS = {
    DataSection.STATE: _check_states,
    DataSection.LOG_BITS: _check_log_bits,
    DataSection.MESSAGE: _check_messages,
    DataSection.SIGNAL: _check_signals,
}


def _check_target(header: Records) -> Bools:
    """Tell whether target and number of ids agree."""
    target, count = header["target"], header["target_count"]
    expected = _NUM_TARGETS[np.minimum(target, Target.ONE)]
    return np.where(target < Target.LIST, count == expected, (target == Target.LIST) & (count >= 1))


def _check_payload(header: Records, payload: Ints) -> Bools:
    """Tell whether kind and payload length are permitted."""
    kind = header["kind"]
    return (kind >= 1) & (kind <= MAX_PLAYER_KIND) & (payload >= 0) & (payload <= MAX_FRAGMENT_BYTES)


def payload_bytes(sections: Sections, header: Records) -> Ints:
    """Return what is left of message or signal sections behind header and target ids; negative: they do not fit."""
    return sections.length - header.dtype.itemsize - 2 * header["target_count"].astype(np.int64)


def read_section_headers(source: Bytes, sections: Sections, dtype: np.dtype[np.void]) -> tuple[Records, Bools]:
    """Gather the headers of sections of one type; the mask tells which sections are long enough to have one.

    A header that does not fit is read from the spare bytes of its batch row: 1,200 + 10 < ROW_BYTES.
    """
    return windows(source, dtype)[sections.at], sections.length >= dtype.itemsize
