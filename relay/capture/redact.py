"""Blanking people's words in captured DATA and UPDATE, in place: messages, signals, names in the log.

All datagrams of a batch are walked together: a round per section, and one per entry of a range. Lengths stay, so the
layout does. Of a datagram that is not as its layout says, or that goes the wrong way, all behind the header is blanked:
where its texts begin and end nobody can say. Offsets come from the schemas.

What says that it is something else, and could be, is taken as that: a message as states, or as up to 8 words of bits.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from construct import Construct, FormatField, Renamed

from protocol import dtypes, schemas
from protocol.constants import MAX_SLOTS, DataSection, EntryKind, Kind, Target, UpdateSection
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
_FEWEST_TARGETS = np.full(256, 256)
"""Ids that follow, by the kind of target; more than there can be for one that is not known (SPEC 9)."""
_MOST_TARGETS = np.zeros(256, np.int64)
for _target, _fewest, _most in ((Target.ALL, 0, 0), (Target.ALL_BUT, 1, 1), (Target.ONE, 1, 1), (Target.LIST, 1, 255)):
    _FEWEST_TARGETS[int(_target)], _MOST_TARGETS[int(_target)] = _fewest, _most
_ENTITY_ID_BYTES = 2
_MEMBER_ID_BYTES = 2
_MAX_LOG_BITS_BYTES = 8 * 4
"""Eight words (SPEC 9)."""
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
    """Where runs begin in the buffer, bytes, (n,) each."""
    stop: list[Ints] = field(default_factory=lambda: [np.zeros(0, np.int64)])
    """Behind their last bytes, (n,) each; not above `start` for a run of nothing."""

    def add(self, start: Ints, stop: Ints, which: Bools | slice = slice(None)) -> None:
        self.start.append(start[which])
        self.stop.append(stop[which])

    def joined(self) -> tuple[Ints, Ints]:
        """Return where all runs begin and end, (n,) each."""
        return np.concatenate(self.start), np.concatenate(self.stop)


class _Sections(NamedTuple):
    """Sections of datagrams side by side. Axis: s sections, in no order across datagrams."""

    kind: Bytes
    """The type of each, (s,)."""
    owner: Ints
    """The datagram that each stands in, (s,)."""
    start: Ints
    """Where each body begins in the buffer, bytes, (s,)."""
    stop: Ints
    """Behind its last byte, (s,)."""

    def of(self, kind: DataSection | UpdateSection) -> "_Sections":
        """Select those of a type. Copies."""
        which = self.kind == int(kind)
        return _Sections(*(column[which] for column in self))


def redact(blocks: Blocks) -> None:
    """Blank every text of the DATA and UPDATE among the datagrams."""
    texts = _Runs()
    for kind, header, is_from_us, find in (
        (Kind.DATA, dtypes.DATA_HEADER, False, _find_in_data),
        (Kind.UPDATE, dtypes.UPDATE_HEADER, True, _find_in_update),
    ):
        which = hot_of(blocks, kind)
        if len(which):
            at = blocks.payload_at[which] + header.size
            end = (blocks.payload_at + blocks.length)[which]
            is_broken = find(blocks.buffer, at, end, texts)
            texts.add(at, end, is_broken | (blocks.is_sent[which] != is_from_us))
    start, stop = texts.joined()
    which, offset = expand(np.maximum(stop - start, 0))
    blocks.buffer[start[which] + offset] = BLANK


def _find_in_data(buffer: Bytes, at: Ints, end: Ints, texts: _Runs) -> Bools:
    """Find the texts of DATA, whose sections are from `at` to `end`, (n,). Returns: which are broken, (n,)."""
    sections, is_broken = _find_sections(buffer, at, end)
    _find_in_upload(buffer, sections.of(DataSection.MESSAGE), dtypes.MESSAGE_HEADER_DTYPE, texts, is_broken)
    _find_in_upload(buffer, sections.of(DataSection.SIGNAL), dtypes.SIGNAL_UP_HEADER_DTYPE, texts, is_broken)
    states, log_bits = sections.of(DataSection.STATE), sections.of(DataSection.LOG_BITS)
    is_broken[states.owner[~_are_states(buffer, states)]] = True
    num_bytes = log_bits.stop - log_bits.start
    is_broken[log_bits.owner[(num_bytes % 4 != 0) | (num_bytes > _MAX_LOG_BITS_BYTES)]] = True
    texts.add(sections.start, sections.stop, ~np.isin(sections.kind, list(DataSection)))
    return is_broken


def _find_in_upload(
    buffer: Bytes, uploads: _Sections, header: np.dtype[np.void], texts: _Runs, is_broken: Bools
) -> None:
    """Find the payloads of messages or signals, and what stands as a target and is no player of any room."""
    targets = uploads.start + header.itemsize
    has_header = targets <= uploads.stop
    start = np.where(has_header, uploads.start, 0)
    target_kind = buffer[start + _offset_of(header, "target")]
    num_targets = buffer[start + _offset_of(header, "target_count")].astype(np.int64)
    payload = targets + _TARGET_BYTES * num_targets
    # else a count that is too large would make a text a list of players
    fits = (payload <= uploads.stop) & (_FEWEST_TARGETS[target_kind] <= num_targets)
    fits &= num_targets <= _MOST_TARGETS[target_kind]
    is_broken[uploads.owner[~(has_header & fits)]] = True
    texts.add(payload, uploads.stop)
    row, k = expand(np.where(fits, num_targets, 0))
    target = targets[row] + _TARGET_BYTES * k
    texts.add(target, target + _TARGET_BYTES, windows(buffer, "<u2")[target] >= MAX_SLOTS)


def _are_states(buffer: Bytes, sections: _Sections) -> Bools:
    """Tell which STATE sections are as long as their headers say, (s,)."""
    header = dtypes.STATE_HEADER_DTYPE
    are = sections.start + header.itemsize <= sections.stop
    at = sections.start[are]
    count, stride = (buffer[at + _offset_of(header, name)].astype(np.int64) for name in ("count", "stride"))
    are[are] = at + header.itemsize + count * (_ENTITY_ID_BYTES + stride) == sections.stop[are]
    return are


def _find_in_update(buffer: Bytes, at: Ints, end: Ints, texts: _Runs) -> Bools:
    """Find the texts of UPDATE, whose sections are from `at` to `end`, (n,). Returns: which are broken, (n,)."""
    sections, is_broken = _find_sections(buffer, at, end)
    signals, ranges = sections.of(UpdateSection.SIGNAL), sections.of(UpdateSection.LOG_RANGE)
    payload = signals.start + dtypes.SIGNAL_DOWN_HEADER.size
    is_broken[signals.owner[payload > signals.stop]] = True
    texts.add(payload, signals.stop)
    is_whole = _find_in_entries(buffer, ranges.start + dtypes.RANGE_HEADER.size, ranges.stop, texts)
    is_broken[ranges.owner[~is_whole]] = True
    texts.add(sections.start, sections.stop, ~np.isin(sections.kind, list(UpdateSection)))
    return is_broken


def _find_in_entries(buffer: Bytes, at: Ints, end: Ints, texts: _Runs) -> Bools:
    """Find the texts in the entries of ranges, each from `at` to `end`, (n,). Returns: which are whole, (n,)."""
    header = dtypes.ENTRY_HEADER_DTYPE
    length = windows(buffer, "<u2")
    length_at = _offset_of(header, "length")
    owner, start, stop, is_whole = _walk(at, end, header.itemsize, lambda entry: length[entry + length_at])
    kind = buffer[start - header.itemsize + _offset_of(header, "kind")]
    text = start + _KEPT_BYTES[kind]
    is_roster = kind == int(EntryKind.ROSTER)
    texts.add(text, stop, ~is_roster)
    is_member_list = _find_in_members(buffer, text[is_roster], stop[is_roster], texts)
    is_whole[owner[text > stop]] = False
    is_whole[owner[is_roster][~is_member_list]] = False
    return is_whole


def _find_in_members(buffer: Bytes, at: Ints, end: Ints, texts: _Runs) -> Bools:
    """Find the names in rosters, each from `at` to `end`, (n,): id u16, length u8, name. Returns: which are whole."""
    _, start, stop, is_whole = _walk(at, end, _MEMBER_ID_BYTES + 1, lambda member: buffer[member + _MEMBER_ID_BYTES])
    texts.add(start, stop)
    return is_whole


def _find_sections(buffer: Bytes, at: Ints, end: Ints) -> tuple[_Sections, Bools]:
    """Find the sections of datagrams, each from `at` to `end`, (n,). Returns: them; which are broken, (n,)."""
    length = windows(buffer, "<u2")
    length_at = _offset_of(dtypes.SECTION_HEADER_DTYPE, "length")
    size = dtypes.SECTION_HEADER.size
    owner, start, stop, is_whole = _walk(at, end, size, lambda section: length[section + length_at])
    return _Sections(buffer[start - size], owner, start, stop), ~is_whole


def _walk(
    at: Ints, end: Ints, header_bytes: int, length_of: Callable[[Ints], npt.NDArray[Any]]
) -> tuple[Ints, Ints, Ints, Bools]:
    """Walk lists of items, each list from `at` to `end`, (n,): a header with a length in it, and so many bytes.

    Args:
        length_of: Reads the lengths of items whose headers begin at these places, (k,) -> (k,).
    Returns: the list of each item, and where its body begins and ends, (i,) each, those of one list in order; and which
        lists are items up to their ends, (n,). Of the others the items before the first that is not whole are returned.
    """
    owners, bodies = [np.zeros(0, np.int64)], _Runs()
    is_whole = at <= end
    owner = np.arange(len(at))
    while True:
        going = at < end
        owner, at, end = owner[going], at[going], end[going]
        if not len(at):
            return np.concatenate(owners), *bodies.joined(), is_whole
        start = at + header_bytes
        stop = start.copy()
        has_header = start <= end
        stop[has_header] += length_of(at[has_header])
        fits = has_header & (stop <= end)
        is_whole[owner[~fits]] = False
        owner, at, end = owner[fits], stop[fits], end[fits]
        owners.append(owner)
        bodies.add(start[fits], at)
