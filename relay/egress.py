"""From due items to datagrams: cut per session, write headers, list the pieces (SPEC 5).

A datagram is a header of its own and pieces of memory that many share: bodies of pages, entries of the log, signals.
Nothing is copied together; the list of pieces is what `sendmmsg` takes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.constants import ACK_DELAY_MAX_MS, LOG_WINDOW, MAX_BODY_BYTES, WINDOW, AckFlag, Kind, UpdateSection
from relay.addresses import ADDRESS_WORDS
from relay.batch import Outgoing
from relay.columns import Bools, Bytes, Ints, expand, places, rank_in_run, run_ends, run_starts
from relay.items import PAGE_BLOCK, Items, Order
from relay.messages import creditable, grant_credit
from relay.rooms import Rooms
from relay.sessions import Sessions, SessionTable

SPACE_BYTES = MAX_BODY_BYTES - dtypes.UPDATE_HEADER.size
"""What the items of one datagram may fill: 1,160 - 32 = 1,128."""
RANGE_BYTES = dtypes.SECTION_HEADER.size + dtypes.RANGE_HEADER.size
RANGE_DTYPE = np.dtype([("section", dtypes.SECTION_HEADER_DTYPE), ("range", dtypes.RANGE_HEADER_DTYPE)])


@dataclass
class Cut:
    """Items cut into datagrams. Axes: d datagrams, n items that go out."""

    session: Ints
    """Receiver of each datagram, (d,), ascending; a datagram may have no items."""
    items: Items
    """Items in order of their datagrams, (n,)."""
    datagram: Ints
    """Datagram of each item, (n,)."""


def cut(items: Items, bare: Ints, allowed: Ints) -> Cut:
    """Cut items into datagrams, greedily, session by session.

    Args:
        items: Ordered by session.
        bare: Rows of sessions that must get a datagram even if no item is due for them.
        allowed: Datagrams permitted, by session row. Items beyond are left out: states and entries are due again.
    Returns: datagrams ordered by session, those of one session in the order of their items.
    """
    cost = items.length + np.where((items.order % 2 == 0) & ~items.linked, RANGE_BYTES, 0)
    ends = np.cumsum(cost)
    break_at = _next_break(items)
    starts = places(run_starts(items.session))
    session_end = np.concatenate([starts[1:], [len(items)]])
    left = allowed[items.session[starts]]
    begins: list[Ints] = []
    stops: list[Ints] = []
    at, going = starts, left > 0
    while going.any():
        at, session_end, left = at[going], session_end[going], left[going]
        space = SPACE_BYTES - np.where(items.linked[at], RANGE_BYTES, 0)
        stop = np.searchsorted(ends, ends[at] - cost[at] + space, "right")
        stop = np.minimum(np.minimum(stop, session_end), break_at[at])
        begins.append(at)
        stops.append(stop)
        at, left = stop, left - 1
        going = (at < session_end) & (left > 0)
    begin = np.concatenate([*begins, np.zeros(0, np.int64)]).astype(np.int64)
    stop = np.concatenate([*stops, np.zeros(0, np.int64)]).astype(np.int64)
    served = np.zeros(len(allowed), np.bool_)
    served[items.session[begin]] = True
    return _join_bare(items, begin, stop, bare, served)


def _next_break(items: Items) -> Ints:
    """For each item the position of the next one that must begin a datagram, or n."""
    n = len(items)
    if not items.apart.any():
        return np.full(n, n)
    position = np.where(items.apart, np.arange(n), n)
    following = np.append(position[1:], n)
    return np.minimum.accumulate(following[::-1])[::-1][:n]


def _join_bare(items: Items, begin: Ints, stop: Ints, bare: Ints, served: Bools) -> Cut:
    """Put the datagrams in order and add those without items, for sessions that were not `served` any."""
    with_items = items.session[begin]
    bare = bare[~served[bare]]
    session = np.concatenate([with_items, bare])
    begin = np.concatenate([begin, np.zeros(len(bare), np.int64)])
    stop = np.concatenate([stop, np.zeros(len(bare), np.int64)])
    order = np.lexsort((begin, session))
    session, begin, count = session[order], begin[order], (stop - begin)[order]
    datagram, k = expand(count)
    if len(datagram) < len(items):  # else all go out, and are in order already
        items = items.take(begin[datagram] + k)
    return Cut(session, items, datagram)


def build_datagrams(
    chosen: Cut, sessions: Sessions, rooms: Rooms, tick: int, now: float, keep: list[Bytes]
) -> Outgoing:
    """Write headers and ranges, list the pieces, and record in the session table what went out."""
    items = chosen.items
    heads_range = _begins_range(chosen)
    ranges = _build_ranges(items, heads_range)
    rank = rank_in_run(chosen.session)
    headers = _build_headers(chosen.session, rank, sessions.table, rooms, tick, now)
    has_bytes = items.length > 0
    num_datagrams = len(chosen.session)
    per_item = heads_range.astype(np.int64) + has_bytes
    per_datagram = 1 + np.bincount(chosen.datagram, weights=per_item, minlength=num_datagrams).astype(np.int64)
    first_piece = np.concatenate([np.zeros(1, np.int64), np.cumsum(per_datagram)])
    pieces = np.empty((int(first_piece[-1]), 2), np.uint64)
    pieces[first_piece[:-1], 0] = _pointers(headers)
    pieces[first_piece[:-1], 1] = headers.dtype.itemsize
    at = np.cumsum(per_item) - per_item + chosen.datagram + 1
    range_at = at[heads_range]
    pieces[range_at, 0] = _pointers(ranges)
    pieces[range_at, 1] = RANGE_BYTES
    item_at = (at + heads_range)[has_bytes]
    pieces[item_at, 0] = items.pointer[has_bytes]
    pieces[item_at, 1] = items.length[has_bytes].astype(np.uint64)
    pieces, first_piece = _merge_pieces(pieces, first_piece)
    address = sessions.table.address[chosen.session]
    sizes = np.add.reduceat(pieces[:, 1], first_piece[:-1]).astype(np.int64) if num_datagrams else first_piece[:0]
    _record(chosen, rank, sessions.table, sizes, tick, now)
    arrays = (headers.view(np.uint8), ranges.view(np.uint8), *keep)
    return Outgoing(pieces, first_piece, address, arrays)


def _pointers(records: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    """Return the address of each record."""
    return np.uint64(records.ctypes.data) + np.arange(len(records), dtype=np.uint64) * np.uint64(records.itemsize)


def _merge_pieces(pieces: npt.NDArray[np.uint64], first_piece: Ints) -> tuple[npt.NDArray[np.uint64], Ints]:
    """Join pieces of one datagram that lie side by side in memory."""
    adjoins = np.zeros(len(pieces), np.bool_)
    adjoins[1:] = pieces[1:, 0] == pieces[:-1, 0] + pieces[:-1, 1]
    adjoins[first_piece[:-1]] = False
    if not adjoins.any():
        return pieces, first_piece
    kept = places(~adjoins)
    joined = pieces[kept]
    joined[:, 1] = np.add.reduceat(pieces[:, 1], kept)
    return joined, np.append(np.searchsorted(kept, first_piece[:-1]), len(kept))


def _begins_range(chosen: Cut) -> Bools:
    """Tell which items need a range header before them: log entries not linked, or first in their datagram."""
    items = chosen.items
    return (items.order % 2 == 0) & (~items.linked | run_starts(chosen.datagram))


def _build_ranges(items: Items, heads_range: Bools) -> npt.NDArray[np.void]:
    """Write the section and range header of every range."""
    starts = places(heads_range)
    ranges = np.zeros(len(starts), RANGE_DTYPE)
    if not len(starts):
        return ranges
    is_log = items.order % 2 == 0
    size = np.add.reduceat(np.where(is_log, items.length, 0), starts)
    last_item = np.maximum.reduceat(np.where(is_log, np.arange(len(items)), 0), starts)
    ranges["section"]["type"] = UpdateSection.LOG_RANGE
    ranges["section"]["length"] = dtypes.RANGE_HEADER.size + size
    ranges["range"]["first"] = items.first[starts]
    ranges["range"]["last"] = items.last[last_item]
    ranges["range"]["after"] = items.after[starts]
    return ranges


def _build_headers(
    session: Ints, rank: Ints, table: SessionTable, rooms: Rooms, tick: int, now: float
) -> npt.NDArray[np.void]:
    """Write the UPDATE header of every datagram; `rank` numbers those of a session from 0."""
    headers = np.zeros(len(session), dtypes.UPDATE_HEADER_DTYPE)
    headers["kind"] = Kind.UPDATE
    headers["shard"] = rooms.table.shard[table.room[session]]
    headers["seq"] = (table.send_seq[session] + 1 + rank) & 0xFFFF
    headers["session"] = table.id[session]
    heard = table.recv_newest[session] > 0
    headers["ack"] = table.recv_newest[session] & 0xFFFF
    headers["ack_bits"] = table.recv_mask[session] >> np.uint64(1) & np.uint64(0xFFFFFFFF)
    delay_ms = (now - table.recv_at[session]) * 1000
    headers["ack_delay"] = np.where(heard, np.minimum(np.maximum(delay_ms, 0), ACK_DELAY_MAX_MS), 0)
    headers["flags"] = np.where(heard, 0, int(AckFlag.NOTHING_RECEIVED))
    headers["tick"] = tick
    headers["message_ack"] = table.message_accepted[session] & 0xFFFF
    headers["message_bits"] = table.message_bits[session]
    headers["message_credit"] = grant_credit(table, session)
    return headers


def _record(chosen: Cut, rank: Ints, table: SessionTable, sizes: Ints, tick: int, now: float) -> None:
    """Remember what every datagram carried, until it is acknowledged or forgotten."""
    session, items = chosen.session, chosen.items
    ends = run_ends(session)
    seq = table.send_seq[session] + 1 + rank
    slot = seq % WINDOW
    before = np.cumsum(sizes) - sizes
    run_start = np.maximum.accumulate(np.where(rank == 0, before, 0))
    table.history_tick[session, slot] = tick
    table.history_at[session, slot] = now
    table.history_bytes[session, slot] = table.sent_bytes[session] + before - run_start + sizes
    _record_pages(chosen, table, slot)
    rows, count = session[ends], rank[ends] + 1
    idle = rows[table.send_seq[rows] == table.acked_seq[rows]]
    table.acked_at[idle] = now
    sent_bytes = table.history_bytes[session, slot][ends]
    table.send_tokens[rows] -= sent_bytes - table.sent_bytes[rows]
    table.sent_bytes[rows] = sent_bytes
    table.send_seq[rows] = seq[ends]
    new = (np.uint64(1) << count.astype(np.uint64)) - np.uint64(1)
    table.flight_mask[rows] = table.flight_mask[rows] << count.astype(np.uint64) | new
    table.sent_at[rows] = now
    table.ack_owed[rows] = 0
    table.ack_due_at[rows] = np.inf
    logged = places(items.index > 0)
    table.log_sent_tick[items.session[logged], items.index[logged] % LOG_WINDOW] = tick


def _record_pages(chosen: Cut, table: SessionTable, slot: Ints) -> None:
    """Remember which pages each datagram carried: those only, for a page that was not sent has no newer tick there."""
    items, session = chosen.items, chosen.session
    table.history_pages[session, slot] = 0
    paged = places(items.are(Order.PAGE))
    if not len(paged):
        return
    starts = places(run_starts(chosen.datagram[paged]))
    page, datagram = items.last[paged], chosen.datagram[paged[starts]]
    row, place = session[datagram], slot[datagram]
    table.history_page[row, place] = page[starts] // PAGE_BLOCK * PAGE_BLOCK
    bit = np.uint64(1) << (page % PAGE_BLOCK).astype(np.uint64)
    table.history_pages[row, place] = np.bitwise_or.reduceat(bit, starts)


def nothing() -> Outgoing:
    """Build an `Outgoing` without datagrams."""
    return Outgoing(np.zeros((0, 2), np.uint64), np.zeros(1, np.int64), np.zeros((0, ADDRESS_WORDS), np.uint32), ())


def with_answers(answers: list[tuple[bytes, bytes]], outgoing: Outgoing) -> Outgoing:
    """Put whole datagrams, (address, payload), before those of sessions: a WELCOME before the first UPDATE."""
    if not answers:
        return outgoing
    data = np.frombuffer(b"".join(payload for _, payload in answers), np.uint8)
    length = np.array([len(payload) for _, payload in answers], np.uint64)
    pieces = np.empty((len(answers), 2), np.uint64)
    pieces[:, 0] = np.uint64(data.ctypes.data) + np.cumsum(length) - length
    pieces[:, 1] = length
    address = np.frombuffer(b"".join(address for address, _ in answers), np.uint32).reshape(-1, ADDRESS_WORDS)
    return Outgoing(
        np.concatenate([pieces, outgoing.pieces]),
        np.concatenate([np.arange(len(answers)), outgoing.first_piece + len(answers)]),
        np.concatenate([address, outgoing.address]),
        (data, *outgoing.keep),
        len(data) + outgoing.num_bytes(),
    )


def has_news_of_credit(table: SessionTable, rows: Ints, low: int) -> Bools:
    """Tell which sessions were last told of fewer than `low` messages that they may send, and may send more now."""
    told = table.message_permitted[rows]
    return (told - table.message_accepted[rows] < low) & (creditable(table, rows) > told)
