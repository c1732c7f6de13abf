"""Blanking people's words in captured DATA and UPDATE, in place: messages, signals, names and properties in the log.

All datagrams of a batch are walked together: a round per section, and one per entry of a range. Lengths stay, so the
layout does. Of a datagram that is not as its layout says, or that goes the wrong way, all behind the header is blanked:
where its texts begin and end nobody can say. Offsets come from the schemas.

What says that it is something else, and could be, is taken as that: a message as states, or as up to 8 words of bits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.constants import MAX_SLOTS, DataSection, Kind, Target, UpdateSection
from relay.capture import payloads
from relay.capture.blocks import Blocks
from relay.capture.payloads import Runs
from relay.capture.scrub import BLANK, hot_of
from relay.columns import Bools, Bytes, Ints, expand, places, windows


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
_MAX_LOG_BITS_BYTES = 8 * 4
"""Eight words (SPEC 9)."""
_HAS_LAYOUT = np.zeros(256, np.bool_)
"""Kinds of entries whose payloads have one. Of the others, such as a player's message, all is words."""
_HAS_LAYOUT[list(payloads.ENTRIES)] = True


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
    texts = Runs()
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


def _find_in_data(buffer: Bytes, at: Ints, end: Ints, texts: Runs) -> Bools:
    """Find the texts of DATA, whose sections are from `at` to `end`, (n,). Returns: which are broken, (n,)."""
    sections, is_broken = _find_sections(buffer, at, end)
    messages, signals = sections.of(DataSection.MESSAGE), sections.of(DataSection.SIGNAL)
    payload = _find_in_upload(buffer, messages, dtypes.MESSAGE_HEADER_DTYPE, texts, is_broken)
    texts.add(payload, messages.stop, ~_find_in_requests(buffer, messages, payload, texts))
    payload = _find_in_upload(buffer, signals, dtypes.SIGNAL_UP_HEADER_DTYPE, texts, is_broken)
    texts.add(payload, signals.stop)
    states, log_bits = sections.of(DataSection.STATE), sections.of(DataSection.LOG_BITS)
    is_broken[states.owner[~_are_states(buffer, states)]] = True
    num_bytes = log_bits.stop - log_bits.start
    is_broken[log_bits.owner[(num_bytes % 4 != 0) | (num_bytes > _MAX_LOG_BITS_BYTES)]] = True
    texts.add(sections.start, sections.stop, ~np.isin(sections.kind, list(DataSection)))
    return is_broken


def _find_in_upload(
    buffer: Bytes, uploads: _Sections, header: np.dtype[np.void], texts: Runs, is_broken: Bools
) -> Ints:
    """Find the payloads of messages or signals, and what stands as a target and is no player of any room.

    Returns: where each payload begins, (s,); beyond the section's end where there is none.
    """
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
    row, k = expand(np.where(fits, num_targets, 0))
    target = targets[row] + _TARGET_BYTES * k
    texts.add(target, target + _TARGET_BYTES, windows(buffer, "<u2")[target] >= MAX_SLOTS)
    return payload


def _find_in_requests(buffer: Bytes, messages: _Sections, payload: Ints, texts: Runs) -> Bools:
    """Find the words in messages that ask the server for something. Returns: which are such, and as they should be."""
    header = dtypes.MESSAGE_HEADER_DTYPE
    are = np.zeros(len(payload), np.bool_)
    start = np.where(payload <= messages.stop, messages.start, 0)
    kind = buffer[start + _offset_of(header, "kind")]
    is_one_fragment = (payload <= messages.stop) & (buffer[start + _offset_of(header, "more")] == 0)
    for number, rounds in payloads.REQUESTS.items():
        which = places(is_one_fragment & (kind == number))
        if len(which):
            are[which] = payloads.find_texts(rounds, buffer, payload[which], messages.stop[which], texts)
    return are


def _are_states(buffer: Bytes, sections: _Sections) -> Bools:
    """Tell which STATE sections are as long as their headers say, (s,)."""
    header = dtypes.STATE_HEADER_DTYPE
    are = sections.start + header.itemsize <= sections.stop
    at = sections.start[are]
    count, stride = (buffer[at + _offset_of(header, name)].astype(np.int64) for name in ("count", "stride"))
    are[are] = at + header.itemsize + count * (_ENTITY_ID_BYTES + stride) == sections.stop[are]
    return are


def _find_in_update(buffer: Bytes, at: Ints, end: Ints, texts: Runs) -> Bools:
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


def _find_in_entries(buffer: Bytes, at: Ints, end: Ints, texts: Runs) -> Bools:
    """Find the texts in the entries of ranges, each from `at` to `end`, (n,). Returns: which are whole, (n,)."""
    header = dtypes.ENTRY_HEADER_DTYPE
    length = windows(buffer, "<u2")
    length_at = _offset_of(header, "length")
    owner, start, stop, is_whole = _walk(at, end, header.itemsize, lambda entry: length[entry + length_at])
    kind = buffer[start - header.itemsize + _offset_of(header, "kind")]
    has_layout = _HAS_LAYOUT[kind]
    texts.add(start, stop, ~has_layout)
    for number in np.unique(kind[has_layout]).tolist():
        which = places(kind == number)
        fits = payloads.find_texts(payloads.ENTRIES[number], buffer, start[which], stop[which], texts)
        is_whole[owner[which[~fits]]] = False
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
    owners, bodies = [np.zeros(0, np.int64)], Runs()
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
