"""Why a receiver drops a datagram whatever session it is of, and at which byte (SPEC 11, steps 1 to 4 and 9).

First the codec decides; then come the rules for sections that its layouts cannot say. What depends on the session
(window, duplicates) is in `sessions`. Limits of a room are used where its WELCOME was seen.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from protocol import codec, dtypes
from protocol.constants import (
    LOG_WINDOW,
    MAX_DATAGRAM_BYTES,
    MAX_FRAGMENT_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PLAYER_KIND,
    MAX_SECTIONS,
    MAX_SIGNAL_FRAGMENTS,
    MAX_STATE_BYTES,
    PART_MORE,
    DataSection,
    Kind,
    StateEncoding,
    Target,
    UpdateSection,
)
from protocol.drops import DropReason
from tools.dump.fields import read_fields

LOG_BITS_WORDS = LOG_WINDOW // 32
MAX_PARTS = MAX_MESSAGE_BYTES // MAX_FRAGMENT_BYTES
"""Fragments of the largest message: 1,024."""


class Problem(NamedTuple):
    """Why a datagram is not taken."""

    reason: DropReason | None
    """None if nobody but the capture is at fault: it kept only the begin of the datagram."""
    offset: int
    """Of the byte in which it shows."""
    text: str
    """For a human."""

    def __str__(self) -> str:
        """Write it in a few words."""
        return f"{self.reason.name if self.reason else 'CUT'} at byte {self.offset}: {self.text}"


def find_problem(data: bytes, max_state_bytes: int = MAX_STATE_BYTES) -> Problem | None:
    """Tell why a datagram would be dropped whoever received it.

    Args:
        data: Any bytes.
        max_state_bytes: Of its room, where that is known.
    Returns: None if nothing is wrong with it. Raises: nothing.
    """
    value = codec.decode(data)
    if isinstance(value, DropReason):
        return _locate(data, value)
    if data[0] == Kind.DATA:
        rules, header_bytes = _DATA_RULES, dtypes.DATA_HEADER.size
    elif data[0] == Kind.UPDATE:
        rules, header_bytes = _UPDATE_RULES, dtypes.UPDATE_HEADER.size
    else:
        return None
    return _check_sections(data, value.sections, rules, header_bytes, max_state_bytes)


def _locate(data: bytes, reason: DropReason) -> Problem:
    """Find the byte for a reason that the codec gave."""
    if reason is DropReason.TOO_LONG:
        return Problem(reason, MAX_DATAGRAM_BYTES, f"{len(data):,} bytes; permitted: {MAX_DATAGRAM_BYTES:,}")
    if reason is DropReason.BAD_MAGIC:
        return Problem(reason, 2, f"magic is {data[2:6].hex()}")
    reading = read_fields(data)
    if reading.stopped_at is None:  # its layout holds, so there are too many of its sections
        offset = next(part.offset for part in reading.fields if part.path == f"sections[{MAX_SECTIONS}].type")
        return Problem(reason, offset, f"{len(reading.value.sections)} sections; permitted: {MAX_SECTIONS}")
    return Problem(reason, reading.stopped_at, reading.why)


def _check_sections(
    data: bytes, sections: Any, rules: dict[int, Callable[[Any, int], Iterator[str]]], at: int, max_state_bytes: int
) -> Problem | None:
    """Apply the rules to each section; `at` is where the first begins."""
    num_log_bits = 0
    for section in sections:
        rule = rules.get(section.type)
        wrong = next(rule(section.body, max_state_bytes), None) if rule is not None else None
        if data[0] == Kind.DATA and section.type == DataSection.LOG_BITS:
            num_log_bits += 1
            wrong = wrong or ("a second LOG_BITS" if num_log_bits > 1 else None)
        if wrong:
            return Problem(DropReason.BAD_SECTION, at, wrong)
        at += dtypes.SECTION_HEADER.size + int.from_bytes(data[at + 1 : at + 3], "little")
    return None


# --- The rules. Each yields what is wrong with the body of one section.


def _state_rules(body: Any, max_state_bytes: int) -> Iterator[str]:
    if body.header.count < 1:
        yield "STATE without a state"
    if body.header.stride > max_state_bytes:
        yield f"STATE of {body.header.stride} bytes; permitted: {max_state_bytes}"


def _log_bits_rules(body: Any, max_state_bytes: int) -> Iterator[str]:
    if not 1 <= len(body.words) <= LOG_BITS_WORDS:
        yield f"LOG_BITS of {len(body.words)} words; permitted: 1 to {LOG_BITS_WORDS}"


def _target_rules(name: str, header: Any, payload: bytes) -> Iterator[str]:
    """What MESSAGE and SIGNAL have in common."""
    if not 1 <= header.kind <= MAX_PLAYER_KIND:
        yield f"{name} of kind {header.kind}; permitted: 1 to {MAX_PLAYER_KIND}"
    if header.target > Target.LIST:
        yield f"{name} to target {header.target}; permitted: 0 to {int(Target.LIST)}"
    elif header.target == Target.LIST:
        if header.target_count < 1:
            yield f"{name} to an empty list"
    elif header.target_count != (header.target != Target.ALL):
        yield f"{name} to {Target(header.target).name} with {header.target_count} player ids"
    if len(payload) > MAX_FRAGMENT_BYTES:
        yield f"{name} of {len(payload):,} bytes; permitted: {MAX_FRAGMENT_BYTES:,}"


def _message_rules(body: Any, max_state_bytes: int) -> Iterator[str]:
    yield from _target_rules("MESSAGE", body.header, body.payload)
    if body.header.more > 1:
        yield f"MESSAGE with more {body.header.more}; permitted: 0 or 1"
    if body.header.more == 1 and not body.payload:
        yield "MESSAGE fragment without a byte"


def _signal_up_rules(body: Any, max_state_bytes: int) -> Iterator[str]:
    yield from _target_rules("SIGNAL", body.header, body.payload)
    yield from _fragment_rules(body.header.fragment)


def _fragment_rules(fragment: int) -> Iterator[str]:
    number, last = fragment & 15, fragment >> 4
    if not number <= last < MAX_SIGNAL_FRAGMENTS:
        yield f"SIGNAL fragment {number} of 0 to {last}; permitted: up to {MAX_SIGNAL_FRAGMENTS - 1}"


def _signal_down_rules(body: Any, max_state_bytes: int) -> Iterator[str]:
    yield from _fragment_rules(body.header.fragment)


def _page_rules(body: Any, max_state_bytes: int) -> Iterator[str]:
    if body.header.layer:
        yield f"PAGE of layer {body.header.layer}; permitted: 0"
    for group in body.groups:
        if group.header.encoding != StateEncoding.WHOLE:
            yield f"PAGE with encoding {group.header.encoding}; permitted: 0"
        if not 1 <= group.header.stride <= max_state_bytes:
            yield f"PAGE with states of {group.header.stride} bytes; permitted: 1 to {max_state_bytes}"


def _range_rules(body: Any, max_state_bytes: int) -> Iterator[str]:
    first, last, after = body.header.first, body.header.last, body.header.after
    if not after < first <= last:
        yield f"LOG_RANGE {first} to {last} after {after}"
    previous = first - 1
    for entry in body.entries:
        index = first + ((entry.header.index - first) & 0xFFFF)
        if not previous < index <= last:
            yield f"entry {index} in LOG_RANGE {first} to {last}, behind entry {previous}"
        if entry.header.part & ~PART_MORE >= MAX_PARTS:
            yield f"entry {index} is part {entry.header.part & ~PART_MORE}; permitted: below {MAX_PARTS}"
        previous = index


_DATA_RULES: dict[int, Callable[[Any, int], Iterator[str]]] = {
    DataSection.STATE: _state_rules,
    DataSection.LOG_BITS: _log_bits_rules,
    DataSection.MESSAGE: _message_rules,
    DataSection.SIGNAL: _signal_up_rules,
}
_UPDATE_RULES: dict[int, Callable[[Any, int], Iterator[str]]] = {
    UpdateSection.PAGE: _page_rules,
    UpdateSection.LOG_RANGE: _range_rules,
    UpdateSection.SIGNAL: _signal_down_rules,
}
