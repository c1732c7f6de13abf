"""The sections of many UPDATEs as columns: pages, log ranges and signals, checked as SPEC 11 (client, 3) asks.

The relay encodes a page once for everybody who lacks the same; so here it is decoded once. Sections that say the same
of one page, byte for byte, share a body, and a crowd of thousands reads as many bodies as there are rooms.
"""

from dataclasses import dataclass

import numpy as np

from protocol import dtypes
from protocol.constants import NO_PLAYER, PART_MORE, StateEncoding
from protocol.records import MAX_MESSAGE_FRAGMENTS
from relay.columns import Bools, Bytes, Ints, expand, windows
from relay.ingress import Records, Sections
from tools.load import claims
from tools.load.claims import Use, Words

_PAGE = dtypes.PAGE_HEADER.size
_GROUP = dtypes.GROUP_HEADER.size
_ENTRY = dtypes.ENTRY_HEADER.size


@dataclass
class Bodies:
    """Bodies of PAGE sections. Axes: g bodies, h states, m removals."""

    good: Bools
    """Well-formed, (g,)."""
    room: Ints
    """(g,)"""
    page: Ints
    tick: Ints
    since: Ints
    state_body: Ints
    """Which body a state stands in, (h,), ascending."""
    entity_id: Ints
    life: Ints
    """Whose state it claims to be, (h,)."""
    counter: Ints
    proven: Bools
    """Its bytes are what that life wrote at that counter, (h,)."""
    gone_body: Ints
    """Which body a removal stands in, (m,), ascending."""
    gone_id: Ints

    def __len__(self) -> int:
        """Return g."""
        return len(self.good)

    @property
    def keys(self) -> Words:
        """The word of each state's claim, (h,); 0, as for no state at all, where it does not prove itself."""
        return np.where(self.proven, claims.keys_of(self.life, self.counter), 0).astype(np.uint64)


@dataclass
class Shape:
    """What all rooms of a load have in common."""

    player_slots: int
    page_ids: int
    state_bytes: int
    """Of every state; the rooms' max_state_bytes."""

    @property
    def num_pages(self) -> int:
        """Pages of a room: one entity per player slot."""
        return -(-self.player_slots // self.page_ids)


def read_pages(source: Bytes, sections: Sections, room: Ints, tick: Ints, shape: Shape) -> tuple[Ints, Bodies]:
    """Read PAGE sections.

    Args:
        source: The bytes that the sections stand in, flat, with a row's spare bytes behind each datagram.
        sections: PAGE sections, (n,).
        room: Room of each section's receiver, (n,).
        tick: Tick of each section's UPDATE, (n,).
    Returns: the number of each section's body, (n,), and the bodies.
    """
    header = windows(source, dtypes.PAGE_HEADER_DTYPE)[sections.at]
    page, since = header["page"].astype(np.int64), header["since"].astype(np.int64)
    body_of, first = _share(source, sections, room, tick, page, since)
    heads, some = header[first], sections.take(first)
    good = _check_heads(some, heads, shape)
    state_body, entity_id, life, counter, proven = _read_groups(source, heads, some, shape, good)
    gone_body, gone_id = _read_removed(source, heads, some, good)
    first_id = page[first] * shape.page_ids
    for which, ids in ((state_body, entity_id), (gone_body, gone_id)):
        last_id = np.minimum(first_id[which] + shape.page_ids, shape.player_slots)
        good[which[(ids < first_id[which]) | (ids >= last_id)]] = False
    kept, kept_gone = good[state_body], good[gone_body]
    return body_of, Bodies(
        good,
        room[first],
        page[first],
        tick[first],
        since[first],
        state_body[kept],
        entity_id[kept],
        life[kept],
        counter[kept],
        proven[kept],
        gone_body[kept_gone],
        gone_id[kept_gone],
    )


def _share(source: Bytes, sections: Sections, room: Ints, tick: Ints, page: Ints, since: Ints) -> tuple[Ints, Ints]:
    """Find equal sections. Returns: the body of each, (n,), and one section of each body, (g,)."""
    order = np.lexsort((sections.length, since, page, tick, room))
    starts = np.zeros(len(order), np.bool_)
    starts[:1] = True
    for key in (room, tick, page, since, sections.length):
        ordered = key[order]
        starts[1:] |= ordered[1:] != ordered[:-1]
    body_of = np.empty(len(order), np.int64)
    body_of[order] = np.cumsum(starts) - 1
    first = order[starts]
    different = np.flatnonzero(~_equal_bytes(source, sections, first[body_of]))
    body_of[different] = len(first) + np.arange(len(different))
    return body_of, np.concatenate([first, different])


def _equal_bytes(source: Bytes, sections: Sections, other: Ints) -> Bools:
    """Compare each section with another of the same length, (n,)."""
    equal = np.ones(len(other), np.bool_)
    apart = np.flatnonzero(other != np.arange(len(other)))
    lengths = sections.length[apart]
    for length in np.unique(lengths).tolist():
        some = apart[lengths == length]
        content = windows(source, f"V{length}")
        mine = content[sections.at[some]].view(np.uint8).reshape(-1, length)
        theirs = content[sections.at[other[some]]].view(np.uint8).reshape(-1, length)
        equal[some] = (mine == theirs).all(axis=1)
    return equal


def _check_heads(sections: Sections, header: Records, shape: Shape) -> Bools:
    fits: Bools = sections.length >= _PAGE + 2 * header["removed_count"].astype(np.int64)
    fits &= (header["layer"] == 0) & (header["page"] < shape.num_pages)
    return fits


def _read_removed(source: Bytes, header: Records, sections: Sections, good: Bools) -> tuple[Ints, Ints]:
    """List what good bodies say is removed: (body, entity id), each (m,)."""
    which, k = expand(np.where(good, header["removed_count"].astype(np.int64), 0))
    ids = windows(source, "<u2")[sections.at[which] + _PAGE + 2 * k]
    return which, ids.astype(np.int64)


def _read_groups(
    source: Bytes, header: Records, sections: Sections, shape: Shape, good: Bools
) -> tuple[Ints, Ints, Ints, Ints, Bools]:
    """Read the groups of bodies, round k the k-th of each; clear `good` where one is malformed.

    Returns: body, entity id, life, counter, proven, each (h,).
    """
    end = sections.at + sections.length
    at = sections.at + _PAGE + 2 * header["removed_count"].astype(np.int64)
    groups = header["group_count"].astype(np.int64)
    nothing = np.zeros(0, np.int64)
    body, id_at, state_at = [nothing], [nothing], [nothing]
    for k in range(int(groups.max(initial=0))):
        active = np.flatnonzero(good & (groups > k))
        good[active[at[active] + _GROUP > end[active]]] = False
        active = active[good[active]]
        group = windows(source, dtypes.GROUP_HEADER_DTYPE)[at[active]]
        count, stride = group["count"].astype(np.int64), group["stride"].astype(np.int64)
        ids = at[active] + _GROUP
        behind = ids + count * (3 + stride)
        whole = (group["encoding"] == StateEncoding.WHOLE) & (stride == shape.state_bytes) & (behind <= end[active])
        good[active[~whole]] = False
        which, j = expand(np.where(whole, count, 0))
        body.append(active[which])
        id_at.append(ids[which] + 2 * j)
        state_at.append(ids[which] + 3 * count[which] + shape.state_bytes * j)
        at[active] = behind
    good[at != end] = False
    bodies = np.concatenate(body)
    order = np.argsort(bodies, kind="stable")
    states = windows(source, f"V{shape.state_bytes}")[np.concatenate(state_at)[order]]
    life, counter, proven = claims.read(Use.STATE, states.view(np.uint8).reshape(-1, shape.state_bytes))
    entity_id = windows(source, "<u2")[np.concatenate(id_at)[order]].astype(np.int64)
    return bodies[order], entity_id, life, counter, proven


@dataclass
class Entries:
    """Log ranges and their entries. Axes: n ranges, e entries."""

    good: Bools
    """Well-formed, (n,)."""
    first: Ints
    """(n,)"""
    last: Ints
    after: Ints
    entry_range: Ints
    """Which range an entry stands in, (e,), ascending."""
    index: Ints
    """Whole log index, (e,), ascending in each range."""
    kind: Ints
    sender: Ints
    channel: Ints
    part: Ints
    at: Ints
    """Where its payload begins, (e,)."""
    length: Ints


def read_ranges(source: Bytes, sections: Sections, shape: Shape) -> Entries:
    """Read LOG_RANGE sections, (n,); round k reads the k-th entry of each."""
    header = windows(source, dtypes.RANGE_HEADER_DTYPE)[sections.at]
    first, last, after = (header[name].astype(np.int64) for name in ("first", "last", "after"))
    good = (sections.length >= dtypes.RANGE_HEADER.size) & (after < first) & (first <= last)
    end = sections.at + sections.length
    at = sections.at + dtypes.RANGE_HEADER.size
    before = first - 1
    found: list[tuple[Ints, ...]] = []
    while len(active := np.flatnonzero(good & (at < end))):
        good[active[at[active] + _ENTRY > end[active]]] = False
        active = active[good[active]]
        entry = windows(source, dtypes.ENTRY_HEADER_DTYPE)[at[active]]
        index = first[active] + (entry["index"].astype(np.int64) - first[active] & 0xFFFF)
        payload, length = at[active] + _ENTRY, entry["length"].astype(np.int64)
        sender, number = entry["sender"].astype(np.int64), entry["part"] & ~np.uint16(PART_MORE)
        whole = (payload + length <= end[active]) & (before[active] < index) & (index <= last[active])
        whole &= ((sender < shape.player_slots) | (sender == NO_PLAYER)) & (number < MAX_MESSAGE_FRAGMENTS)
        good[active[~whole]] = False
        kind, channel, part = (entry[name].astype(np.int64) for name in ("kind", "channel", "part"))
        found.append(tuple(c[whole] for c in (active, index, kind, sender, channel, part, payload, length)))
        before[active], at[active] = index, payload + length
    columns = [np.concatenate(column) for column in zip(*found)] if found else [np.zeros(0, np.int64)] * 8
    order = np.argsort(columns[0], kind="stable")
    return Entries(good, first, last, after, *(column[order] for column in columns))


@dataclass
class Signals:
    """SIGNAL sections. Axis: n signals."""

    good: Bools
    kind: Ints
    flags: Ints
    channel: Ints
    sender: Ints
    sequence: Ints
    """Low 16 bits."""
    position: Ints
    """Low 16 bits."""
    at: Ints
    """Where the payload begins."""
    length: Ints


def read_signals(source: Bytes, sections: Sections, shape: Shape) -> Signals:
    """Read SIGNAL sections, (n,). One that is cut into fragments is not good here: no load sends such."""
    header = windows(source, dtypes.SIGNAL_DOWN_HEADER_DTYPE)[sections.at]
    sender = header["sender"].astype(np.int64)
    good = (sections.length >= dtypes.SIGNAL_DOWN_HEADER.size) & (header["fragment"] == 0)
    good &= (sender < shape.player_slots) | (sender == NO_PLAYER)
    kind, flags, channel, sequence, position = (
        header[name].astype(np.int64) for name in ("kind", "flags", "channel", "sequence", "position")
    )
    size = dtypes.SIGNAL_DOWN_HEADER.size
    return Signals(good, kind, flags, channel, sender, sequence, position, sections.at + size, sections.length - size)
