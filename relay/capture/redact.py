"""Blanking people's words in captured DATA and UPDATE, in place: messages, signals, names in the log.

All datagrams of a batch are walked together: a round per section, and one per entry of a range. Lengths stay, so the
layout does. Where a datagram is not as its layout says, its rest is blanked whole. Offsets come from the schemas.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from construct import Construct, FormatField, Renamed

from protocol import dtypes, schemas
from protocol.constants import DataSection, EntryKind, Kind, UpdateSection
from relay.capture.blocks import Blocks
from relay.capture.scrub import BLANK, hot_of
from relay.columns import Bools, Bytes, Ints, expand, windows


def _fixed_bytes(schema: Construct) -> int:
    """Sum the numbers that a payload begins with: they name players and reasons."""
    fixed = [part.subcon for part in schema.subcons if isinstance(part, Renamed)]
    return sum(part.length for part in fixed if isinstance(part, FormatField))


def _offset_of(header: np.dtype[np.void], name: str) -> int:
    assert header.fields is not None
    return int(header.fields[name][1])


_TARGET_BYTES = 2
_MEMBER_ID_BYTES = 2
_KEPT_BYTES = np.zeros(256, np.int64)
"""What is not text at the beginning of an entry's payload, by the entry's kind. Nothing of a player's message."""
for _kind, _schema in (
    (EntryKind.PLAYER_JOINED, schemas.PLAYER_JOINED_PAYLOAD),
    (EntryKind.PLAYER_LEFT, schemas.PLAYER_LEFT_PAYLOAD),
    (EntryKind.HOST_CHANGED, schemas.HOST_CHANGED_PAYLOAD),
    (EntryKind.ROSTER, schemas.ROSTER_PAYLOAD),
):
    _KEPT_BYTES[int(_kind)] = _fixed_bytes(_schema)


@dataclass
class _Runs:
    """Runs of bytes of a buffer, gathered piece by piece."""

    start: list[Ints] = field(default_factory=lambda: [np.zeros(0, np.int64)])
    stop: list[Ints] = field(default_factory=lambda: [np.zeros(0, np.int64)])

    def add(self, start: Ints, stop: Ints, which: Bools | slice = slice(None)) -> None:
        self.start.append(start[which])
        self.stop.append(stop[which])

    def joined(self) -> tuple[Ints, Ints]:
        return np.concatenate(self.start), np.concatenate(self.stop)


def redact(blocks: Blocks) -> None:
    """Blank every text of the DATA and UPDATE among the datagrams."""
    data, update = hot_of(blocks, Kind.DATA), hot_of(blocks, Kind.UPDATE)
    texts = _Runs()
    buffer = blocks.buffer
    end = blocks.payload_at + blocks.length
    if len(data):
        _find_in_data(buffer, blocks.payload_at[data] + dtypes.DATA_HEADER.size, end[data], texts)
    if len(update):
        _find_in_update(buffer, blocks.payload_at[update] + dtypes.UPDATE_HEADER.size, end[update], texts)
    start, stop = texts.joined()
    which, offset = expand(np.maximum(stop - start, 0))
    buffer[start[which] + offset] = BLANK


def _find_in_data(buffer: Bytes, at: Ints, end: Ints, texts: _Runs) -> None:
    kind, start, stop = _walk_sections(buffer, at, end, texts)
    for section, header in (
        (DataSection.MESSAGE, dtypes.MESSAGE_HEADER_DTYPE),
        (DataSection.SIGNAL, dtypes.SIGNAL_UP_HEADER_DTYPE),
    ):
        which = kind == int(section)
        body, body_end = start[which], stop[which]
        has_header = body + header.itemsize <= body_end
        texts.add(body, body_end, ~has_header)
        body, body_end = body[has_header], body_end[has_header]
        num_targets = buffer[body + _offset_of(header, "target_count")].astype(np.int64)
        texts.add(body + header.itemsize + _TARGET_BYTES * num_targets, body_end)
    texts.add(start, stop, ~np.isin(kind, list(DataSection)))


def _find_in_update(buffer: Bytes, at: Ints, end: Ints, texts: _Runs) -> None:
    kind, start, stop = _walk_sections(buffer, at, end, texts)
    is_signal = kind == int(UpdateSection.SIGNAL)
    texts.add(start + dtypes.SIGNAL_DOWN_HEADER.size, stop, is_signal)
    is_range = kind == int(UpdateSection.LOG_RANGE)
    _find_in_entries(buffer, start[is_range] + dtypes.RANGE_HEADER.size, stop[is_range], texts)
    texts.add(start, stop, ~np.isin(kind, list(UpdateSection)))


def _walk_sections(buffer: Bytes, at: Ints, end: Ints, texts: _Runs) -> tuple[npt.NDArray[np.uint8], Ints, Ints]:
    """Walk the sections of datagrams, each from `at` to `end`, (n,). A rest that is no whole section is text.

    Returns: type of each section, and where its body begins and ends, (s,) each.
    """
    kinds, bodies = [np.zeros(0, np.uint8)], _Runs()
    length = windows(buffer, "<u2")
    length_at = _offset_of(dtypes.SECTION_HEADER_DTYPE, "length")
    while len(at):
        body = at + dtypes.SECTION_HEADER.size
        has_header = body <= end
        texts.add(at, end, ~has_header)
        at, body, end = at[has_header], body[has_header], end[has_header]
        stop = body + length[at + length_at].astype(np.int64)
        fits = stop <= end
        texts.add(body, end, ~fits)
        kinds.append(buffer[at[fits]])
        bodies.add(body, stop, fits)
        going = fits & (stop < end)
        at, end = stop[going], end[going]
    return np.concatenate(kinds), *bodies.joined()


def _find_in_entries(buffer: Bytes, at: Ints, end: Ints, texts: _Runs) -> None:
    """Walk the entries of ranges, each from `at` to `end`, (n,)."""
    header = dtypes.ENTRY_HEADER_DTYPE
    length = windows(buffer, "<u2")
    rosters = _Runs()
    going = at < end
    while going.any():
        at, end = at[going], end[going]
        payload = at + header.itemsize
        has_header = payload <= end
        texts.add(at, end, ~has_header)
        at, payload, end = at[has_header], payload[has_header], end[has_header]
        stop = payload + length[at + _offset_of(header, "length")].astype(np.int64)
        stop = np.minimum(stop, end)
        kind = buffer[at + _offset_of(header, "kind")]
        first = payload + _KEPT_BYTES[kind]
        is_roster = kind == int(EntryKind.ROSTER)
        texts.add(first, stop, ~is_roster)
        rosters.add(first, stop, is_roster)
        at = stop
        going = at < end
    _find_in_members(buffer, *rosters.joined(), texts)


def _find_in_members(buffer: Bytes, at: Ints, end: Ints, texts: _Runs) -> None:
    """Walk the members of rosters, each from `at` to `end`, (n,): id u16, length u8, name."""
    going = at < end
    while going.any():
        at, end = at[going], end[going]
        name = at + _MEMBER_ID_BYTES + 1
        has_length = name <= end
        texts.add(at, end, ~has_length)
        at, name, end = at[has_length], name[has_length], end[has_length]
        stop = np.minimum(name + buffer[at + _MEMBER_ID_BYTES], end)
        texts.add(name, stop)
        at = stop
        going = at < end
