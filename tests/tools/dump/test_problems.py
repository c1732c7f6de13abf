"""Why a datagram is not taken, and where."""

from typing import Any

import pytest
from hypothesis import given, settings

from protocol import codec, dtypes, schemas
from protocol.constants import MAX_DATAGRAM_BYTES, DataSection, Kind, UpdateSection
from protocol.drops import DropReason
from protocol.records import RoomShape, read_sections
from tests.tools.dump.samples import GOOD, REFUSED, damaged
from tools.dump.problems import find_problem

DATA_BEGIN, UPDATE_BEGIN = dtypes.DATA_HEADER.size, dtypes.UPDATE_HEADER.size
WIDE_ROOM = RoomShape(player_slots=65535, num_ids=1 << 24, page_ids=255, max_state_bytes=255)


def data_with(*sections: tuple[int, bytes]) -> bytes:
    """A DATA with these sections."""
    header = dtypes.DATA_HEADER.encode(Kind.DATA, 0, 1, 7, 0, 0, 0, 1, 0, 0)
    return header + b"".join(dtypes.SECTION_HEADER.encode(kind, len(body)) + body for kind, body in sections)


def update_with(*sections: tuple[int, bytes]) -> bytes:
    """An UPDATE with these sections."""
    header = dtypes.UPDATE_HEADER.encode(Kind.UPDATE, 0, 1, 7, 0, 0, 0, 1, 1, 0, 0, 32)
    return header + b"".join(dtypes.SECTION_HEADER.encode(kind, len(body)) + body for kind, body in sections)


def message(*, payload: bytes = b"hi", targets: tuple[int, ...] = (), **fields: int) -> tuple[int, bytes]:
    header = dict(message_id=1, kind=1, flags=0, channel=0, target=0, target_count=len(targets), more=0) | fields
    value: dict[str, Any] = {"header": header, "targets": targets, "payload": payload}
    return int(DataSection.MESSAGE), schemas.MESSAGE_SECTION.build(value)


def signal(*, fragment: int = 0) -> tuple[int, bytes]:
    header = dtypes.SIGNAL_UP_HEADER.encode(1, 0, 0, fragment, 0, 0, 1, 0)
    return int(DataSection.SIGNAL), header


def page(layer: int = 0, encoding: int = 0, stride: int = 2) -> tuple[int, bytes]:
    body = dtypes.PAGE_HEADER.encode(0, layer, 0, 0, 0, 1) + dtypes.GROUP_HEADER.encode(encoding, 1, stride)
    return int(UpdateSection.PAGE), body + bytes(3 + stride)


def log_range(first: int, last: int, after: int, *indexes: int, part: int = 0) -> tuple[int, bytes]:
    entries = b"".join(dtypes.ENTRY_HEADER.encode(index, 1, 0, 0, 0, part, 0) for index in indexes)
    return int(UpdateSection.LOG_RANGE), dtypes.RANGE_HEADER.encode(first, last, after) + entries


STATE = (int(DataSection.STATE), dtypes.STATE_HEADER.encode(0, 1, 2) + bytes(4))


@pytest.mark.parametrize("data", [data for _, data in GOOD], ids=[name for name, _ in GOOD])
def test_vectors_that_are_good_by_every_rule_have_no_problem(data: bytes) -> None:
    problem = find_problem(data)
    assert problem is None or problem.reason is DropReason.BAD_SECTION


@pytest.mark.parametrize(("data", "reason"), [entry[1:] for entry in REFUSED], ids=[entry[0] for entry in REFUSED])
def test_refused_vectors_have_their_reason_and_a_place(data: bytes, reason: str) -> None:
    problem = find_problem(data)
    assert problem is not None and problem.reason.name == reason
    assert 0 <= problem.offset <= len(data) and problem.text


@given(damaged())
@settings(max_examples=600, deadline=None)
def test_what_the_codec_refuses_always_has_its_reason_and_place(data: bytes) -> None:
    decoded, problem = codec.decode(data), find_problem(data)
    if isinstance(decoded, DropReason):
        assert problem is not None and problem.reason is decoded and 0 <= problem.offset <= len(data)
    else:
        assert problem is None or (problem.reason is DropReason.BAD_SECTION and data[0] in (Kind.DATA, Kind.UPDATE))


@given(damaged())
@settings(max_examples=600, deadline=None)
def test_what_a_client_reads_has_no_problem(data: bytes) -> None:
    """The client's own reader is the reference for UPDATE; it may be stricter about ids and senders only."""
    is_update = data[:1] == bytes([Kind.UPDATE]) and UPDATE_BEGIN <= len(data) <= MAX_DATAGRAM_BYTES
    if is_update and read_sections(data, WIDE_ROOM) is not None:
        assert find_problem(data) is None


BROKEN_RULES: list[tuple[bytes, int, str]] = [
    (data_with((1, dtypes.STATE_HEADER.encode(0, 0, 4))), DATA_BEGIN, "STATE without a state"),
    (data_with(STATE, message(kind=0)), DATA_BEGIN + 11, "MESSAGE of kind 0; permitted: 1 to 127"),
    (data_with(STATE, message(kind=128)), DATA_BEGIN + 11, "MESSAGE of kind 128; permitted: 1 to 127"),
    (data_with(message(target=4)), DATA_BEGIN, "MESSAGE to target 4; permitted: 0 to 3"),
    (data_with(message(target=2)), DATA_BEGIN, "MESSAGE to ONE with 0 player ids"),
    (data_with(message(targets=(1,))), DATA_BEGIN, "MESSAGE to ALL with 1 player ids"),
    (data_with(message(target=3)), DATA_BEGIN, "MESSAGE to an empty list"),
    (data_with(message(more=2)), DATA_BEGIN, "MESSAGE with more 2; permitted: 0 or 1"),
    (data_with(message(more=1, payload=b"")), DATA_BEGIN, "MESSAGE fragment without a byte"),
    (data_with(message(payload=bytes(1025))), DATA_BEGIN, "MESSAGE of 1,025 bytes; permitted: 1,024"),
    (data_with(signal(fragment=0x12)), DATA_BEGIN, "SIGNAL fragment 2 of 0 to 1; permitted: up to 7"),
    (data_with(signal(fragment=0x80)), DATA_BEGIN, "SIGNAL fragment 0 of 0 to 8; permitted: up to 7"),
    (data_with((2, b"")), DATA_BEGIN, "LOG_BITS of 0 words; permitted: 1 to 8"),
    (data_with((2, bytes(36))), DATA_BEGIN, "LOG_BITS of 9 words; permitted: 1 to 8"),
    (data_with((2, bytes(4)), (2, bytes(4))), DATA_BEGIN + 7, "a second LOG_BITS"),
    (update_with(page(layer=1)), UPDATE_BEGIN, "PAGE of layer 1; permitted: 0"),
    (update_with(page(), page(encoding=1)), UPDATE_BEGIN + 24, "PAGE with encoding 1; permitted: 0"),
    (update_with(page(stride=0)), UPDATE_BEGIN, "PAGE with states of 0 bytes; permitted: 1 to 255"),
    (update_with(log_range(5, 4, 3)), UPDATE_BEGIN, "LOG_RANGE 5 to 4 after 3"),
    (update_with(log_range(5, 6, 5)), UPDATE_BEGIN, "LOG_RANGE 5 to 6 after 5"),
    (update_with(log_range(5, 6, 4, 7)), UPDATE_BEGIN, "entry 7 in LOG_RANGE 5 to 6, behind entry 4"),
    (update_with(log_range(5, 7, 4, 6, 6)), UPDATE_BEGIN, "entry 6 in LOG_RANGE 5 to 7, behind entry 6"),
    (update_with(log_range(5, 7, 4, 5, part=1024)), UPDATE_BEGIN, "entry 5 is part 1024; permitted: below 1024"),
]  # fmt: skip
"""(datagram whose layout is right, offset of the section that breaks a rule, what is said of it)."""


@pytest.mark.parametrize(("data", "offset", "text"), BROKEN_RULES)
def test_rules_beyond_the_layout_are_named_with_their_section(data: bytes, offset: int, text: str) -> None:
    assert find_problem(data) == (DropReason.BAD_SECTION, offset, text)


def test_states_longer_than_the_room_permits_are_a_problem_where_that_is_known() -> None:
    data = data_with((1, dtypes.STATE_HEADER.encode(0, 1, 9) + bytes(11)))
    assert find_problem(data) is None and find_problem(data, max_state_bytes=9) is None
    assert find_problem(data, max_state_bytes=8) == (DropReason.BAD_SECTION, 26, "STATE of 9 bytes; permitted: 8")


def test_a_problem_is_one_line() -> None:
    assert str(find_problem(data_with((2, b"")))) == "BAD_SECTION at byte 26: LOG_BITS of 0 words; permitted: 1 to 8"
    assert str(find_problem(b"\x01\0XKRL" + bytes(250))) == "BAD_MAGIC at byte 2: magic is 584b524c"
    assert str(find_problem(bytes(1201))) == "TOO_LONG at byte 1200: 1,201 bytes; permitted: 1,200"
