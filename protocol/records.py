"""Hand reader of the sections of UPDATE: plain slicing, no construct, for clients that read thousands a second.

It checks what SPEC 11 (client, 3) asks of every section and gives plain tuples. `codec.decode` reads the same bytes
from the schemas; tests hold one against the other.
"""

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from protocol.constants import (
    MAX_FRAGMENT_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_SIGNAL_FRAGMENTS,
    NO_PLAYER,
    PART_MORE,
    StateEncoding,
    UpdateSection,
)
from protocol.dtypes import (
    ENTRY_HEADER,
    GROUP_HEADER,
    PAGE_HEADER,
    RANGE_HEADER,
    SECTION_HEADER,
    SIGNAL_DOWN_HEADER,
    UPDATE_HEADER,
)

MAX_MESSAGE_FRAGMENTS = MAX_MESSAGE_BYTES // MAX_FRAGMENT_BYTES
"""Fragments of the largest message: 1,024."""


class RoomShape(NamedTuple):
    """What a reader must know of a room to check a section."""

    player_slots: int
    """Player ids are below this."""
    num_ids: int
    """player_slots x entities_per_player: entity ids are below this."""
    page_ids: int
    """Consecutive entity ids of one page."""
    max_state_bytes: int
    """Longest state, bytes."""


class Page(NamedTuple):
    """A PAGE section: what changed in one page of the table."""

    page: int
    since: int
    """Tick after which everything of this page is here; 0 = the whole page."""
    log_index: int
    removed: tuple[int, ...]
    """Entity ids removed since, whether or not they live again."""
    states: list[tuple[int, int, bytes]]
    """(entity id, age in steps of 2 ms, state)."""


class Entry(NamedTuple):
    """One log entry."""

    log_index: int
    """Whole, not only its low 16 bits."""
    kind: int
    sender: int
    """Player id, or NO_PLAYER for the server."""
    channel: int
    part: int
    """Bits 0..14 the fragment's number within its message, bit 15 (PART_MORE) = more follow."""
    payload: bytes
    flags: int = 0
    """A `MessageFlag` for messages."""


class LogRange(NamedTuple):
    """A LOG_RANGE section: all that may be seen of the log from `first` to `last`."""

    first: int
    last: int
    after: int
    """Last index before `first` that could hold this range up. Always below `first`."""
    entries: list[Entry]
    """Ascending, each from `first` to `last`."""


class SignalPart(NamedTuple):
    """A SIGNAL section: one signal or a fragment of one."""

    kind: int
    flags: int
    channel: int
    number: int
    """This fragment, from 0."""
    last: int
    """Number of the signal's last fragment, 0..7."""
    sender: int
    sequence: int
    """Low 16 bits."""
    position: int
    """Log index, low 16 bits; only with AFTER_LOG."""
    payload: bytes


@dataclass(slots=True)
class Sections:
    """The known sections of one UPDATE, in their order."""

    pages: list[Page] = field(default_factory=list)
    ranges: list[LogRange] = field(default_factory=list)
    signals: list[SignalPart] = field(default_factory=list)


class _BadSectionError(Exception):
    """A section is not as SPEC 8 to 10 say. Never leaves this module."""


def read_sections(data: bytes, shape: RoomShape) -> Sections | None:
    """Read and check all sections of an UPDATE of at least `UPDATE_HEADER.size` bytes.

    Returns: the sections of known types (copies, nothing refers to `data`), or None if any section is bad: then the
        whole datagram is (SPEC 5).
    Raises: nothing, whatever the bytes.
    """
    sections = Sections()
    offset = UPDATE_HEADER.size
    try:
        while offset < len(data):
            kind, length = SECTION_HEADER.decode(data, offset)
            offset += SECTION_HEADER.size
            body = data[offset : offset + length]
            _require(len(body) == length)
            offset += length
            if kind == UpdateSection.PAGE:
                sections.pages.append(_read_page(body, shape))
            elif kind == UpdateSection.LOG_RANGE:
                sections.ranges.append(_read_range(body, shape))
            elif kind == UpdateSection.SIGNAL:
                sections.signals.append(_read_signal(body, shape))
    except (struct.error, _BadSectionError):  # struct.error: a header or an id list runs past the section's end
        return None
    return sections


def _require(condition: bool) -> None:
    if not condition:
        raise _BadSectionError


def _read_page(body: bytes, shape: RoomShape) -> Page:
    page, layer, since, log_index, removed_count, group_count = PAGE_HEADER.decode(body)
    first_id = page * shape.page_ids
    ids_end = min(first_id + shape.page_ids, shape.num_ids)
    _require(layer == 0)  # no other layer has a meaning yet, so none was negotiated
    _require(first_id < ids_end)
    removed = struct.unpack_from(f"<{removed_count}H", body, PAGE_HEADER.size)
    offset = PAGE_HEADER.size + 2 * removed_count
    states: list[tuple[int, int, bytes]] = []
    for _ in range(group_count):
        offset = _read_group(body, offset, shape.max_state_bytes, states)
    _require(offset == len(body))
    for entity_id in removed:
        _require(first_id <= entity_id < ids_end)
    for entity_id, _age, _state in states:
        _require(first_id <= entity_id < ids_end)
    return Page(page, since, log_index, removed, states)


def _read_group(body: bytes, offset: int, max_stride: int, states: list[tuple[int, int, bytes]]) -> int:
    """Append one group's states to `states`; return where the next group begins."""
    encoding, count, stride = GROUP_HEADER.decode(body, offset)
    _require(encoding == StateEncoding.WHOLE)
    _require(1 <= stride <= max_stride)
    offset += GROUP_HEADER.size
    ids = struct.unpack_from(f"<{count}H", body, offset)
    ages_at = offset + 2 * count
    state_at = ages_at + count
    end = state_at + count * stride
    _require(end <= len(body))
    for entity_id, age in zip(ids, body[ages_at:state_at], strict=True):
        states.append((entity_id, age, body[state_at : state_at + stride]))
        state_at += stride
    return int(end)


def _read_range(body: bytes, shape: RoomShape) -> LogRange:
    first, last, after = RANGE_HEADER.decode(body)
    _require(after < first <= last)
    entries = []
    offset = RANGE_HEADER.size
    previous = first - 1
    while offset < len(body):
        low, kind, flags, sender, channel, part, length = ENTRY_HEADER.decode(body, offset)
        offset += ENTRY_HEADER.size
        index = first + ((low - first) & 0xFFFF)  # the only index with these low bits from `first` on
        payload = body[offset : offset + length]
        _require(len(payload) == length)
        _require(previous < index <= last)
        _require(sender < shape.player_slots or sender == NO_PLAYER)
        _require(part & ~PART_MORE < MAX_MESSAGE_FRAGMENTS)
        entries.append(Entry(index, kind, sender, channel, part, payload, flags))
        previous = index
        offset += length
    return LogRange(first, last, after, entries)


def _read_signal(body: bytes, shape: RoomShape) -> SignalPart:
    kind, flags, channel, fragment, sender, sequence, position = SIGNAL_DOWN_HEADER.decode(body)
    number, last = fragment & 15, fragment >> 4
    _require(number <= last < MAX_SIGNAL_FRAGMENTS)
    _require(sender < shape.player_slots or sender == NO_PLAYER)
    return SignalPart(kind, flags, channel, number, last, sender, sequence, position, body[SIGNAL_DOWN_HEADER.size :])
