"""The hand reader of UPDATE, held against the schemas."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec
from protocol.constants import Kind, UpdateSection
from protocol.drops import DropReason
from protocol.records import MAX_MESSAGE_FRAGMENTS, RoomShape, Sections, read_sections

SHAPE = RoomShape(player_slots=8, num_ids=40, page_ids=16, max_state_bytes=32)
HEADER = {
    "kind": Kind.UPDATE,
    "shard": 0,
    "seq": 1,
    "session": 1,
    "ack": 0,
    "ack_bits": 0,
    "ack_delay": 0,
    "flags": 1,
    "tick": 1,
    "message_ack": 0,
    "message_bits": 0,
    "message_credit": 0,
}


def update(*sections: Any) -> bytes:
    return codec.encode(Kind.UPDATE, header=HEADER, sections=list(sections))


def page(*groups: Any, removed: tuple[int, ...] = (), **changes: Any) -> Any:
    header = {"page": 0, "layer": 0, "since": 0, "log_index": 0}
    header |= {"removed_count": len(removed), "group_count": len(groups)}
    return {
        "type": UpdateSection.PAGE,
        "body": {"header": header | changes, "removed": list(removed), "groups": list(groups)},
    }


def group(*ids: int, stride: int = 2, encoding: int = 0) -> Any:
    return {
        "header": {"encoding": encoding, "count": len(ids), "stride": stride},
        "ids": list(ids),
        "ages": list(range(len(ids))),
        "states": [bytes([entity_id]) * stride for entity_id in ids],
    }


def log(first: int, last: int, *entries: Any, after: int | None = None) -> Any:
    header = {"first": first, "last": last, "after": first - 1 if after is None else after}
    return {"type": UpdateSection.LOG_RANGE, "body": {"header": header, "entries": list(entries)}}


def entry(index: int, payload: bytes = b"hi", **changes: Any) -> Any:
    header = {"index": index & 0xFFFF, "kind": 1, "flags": 0, "sender": 2, "channel": 3, "part": 0}
    return {"header": header | {"length": len(payload)} | changes, "payload": payload}


def signal(payload: bytes = b"beep", **changes: Any) -> Any:
    header = {"kind": 1, "flags": 0, "channel": 0, "fragment": 0, "sender": 2, "sequence": 1, "position": 0}
    return {"type": UpdateSection.SIGNAL, "body": {"header": header | changes, "payload": payload}}


def read(*sections: Any) -> Sections | None:
    return read_sections(update(*sections), SHAPE)


def raw(kind: int, body: bytes) -> bytes:
    return update() + bytes([kind]) + len(body).to_bytes(2, "little") + body


def test_a_bare_update_has_no_sections() -> None:
    assert read() == Sections()


def test_a_page_is_read_group_by_group() -> None:
    sections = read(page(group(3, 1, stride=2), group(7, stride=32), removed=(5, 7), since=9, log_index=11))
    assert sections is not None
    (section,) = sections.pages
    assert (section.page, section.since, section.log_index, section.removed) == (0, 9, 11, (5, 7))
    assert section.states == [(3, 0, b"\3\3"), (1, 1, b"\1\1"), (7, 0, b"\7" * 32)]


def test_a_range_is_read_with_whole_indexes() -> None:
    sections = read(log(65530, 65540, entry(65530, b""), entry(65538, b"x", part=0x8000 | 3), after=5))
    assert sections is not None
    (section,) = sections.ranges
    assert (section.first, section.last, section.after) == (65530, 65540, 5)
    assert [(e.log_index, e.payload, e.part, e.sender, e.channel) for e in section.entries] == [
        (65530, b"", 0, 2, 3),
        (65538, b"x", 0x8003, 2, 3),
    ]


def test_an_entry_is_read_with_its_flags() -> None:
    sections = read(log(1, 2, entry(1), entry(2, flags=5)))
    assert sections is not None
    assert [e.flags for e in sections.ranges[0].entries] == [0, 5]


def test_a_signal_is_read_with_its_fragment_numbers() -> None:
    sections = read(signal(fragment=0x72, flags=2, position=9))
    assert sections is not None
    (section,) = sections.signals
    assert (section.number, section.last, section.flags, section.position, section.payload) == (2, 7, 2, 9, b"beep")


def test_unknown_sections_are_skipped_and_the_order_is_kept() -> None:
    sections = read({"type": 99, "body": b"later"}, log(1, 1), {"type": 0, "body": b""}, log(2, 2), signal(), page())
    assert sections is not None
    assert [part.first for part in sections.ranges] == [1, 2]
    assert len(sections.signals) == len(sections.pages) == 1


def test_the_last_page_is_shorter_than_the_others() -> None:
    assert read(page(group(39), page=2)) is not None
    assert read(page(group(40), page=2)) is None
    assert read(page(page=3)) is None


def test_the_server_may_be_a_sender() -> None:
    assert read(log(1, 1, entry(1, sender=0xFFFF)), signal(sender=0xFFFF)) is not None


@pytest.mark.parametrize(
    "section",
    [
        page(group(16)),
        page(group(15), page=1),
        page(removed=(16,)),
        page(layer=1),
        page(group(1, encoding=1)),
        page(group(1, stride=0)),
        page(group(1, stride=33)),
        page(group(1), group_count=2),
        page(group(1), group_count=0),
        page(group(1), removed_count=1),
        page(removed_count=200),
        log(2, 1),
        log(0, 1, after=0),
        log(2, 2, after=2),
        log(2, 2, after=9),
        log(2, 3, entry(1)),
        log(2, 3, entry(4)),
        log(2, 3, entry(3), entry(2)),
        log(2, 3, entry(2), entry(2)),
        log(1, 1, entry(1, sender=8)),
        log(1, 1, entry(1, part=MAX_MESSAGE_FRAGMENTS)),
        log(1, 1, entry(1, part=0x8000 | MAX_MESSAGE_FRAGMENTS)),
        signal(fragment=0x12),
        signal(fragment=0x80),
        signal(sender=8),
    ],
)
def test_a_bad_section_spoils_the_datagram(section: Any) -> None:
    try:
        data = update(log(9, 9), section, log(9, 9))
    except Exception:  # the schema cannot build counts that are wrong: build around it
        header = section["body"]["header"]
        body = section["body"] | {"header": header}
        data = update(log(9, 9)) + _raw_page(body)
    assert read_sections(data, SHAPE) is None


def _raw_page(body: Any) -> bytes:
    """Encode a page whose counts do not agree with what follows."""
    groups = body["groups"]
    right = page(*groups, removed=tuple(body["removed"]))
    data = bytearray(update(right)[32:])
    data[3 + 11] = body["header"]["removed_count"]
    data[3 + 12] = body["header"]["group_count"]
    return bytes(data)


@pytest.mark.parametrize("section", [page(group(1, 2), removed=(3,)), log(1, 2, entry(1), entry(2)), signal()])
def test_a_datagram_cut_anywhere_inside_a_section_is_bad(section: Any) -> None:
    data = update(section)
    for length in range(33, len(data)):
        assert read_sections(data[:length], SHAPE) is None


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (1, b""),
        (1, bytes(12)),
        (2, b""),
        (2, bytes(11)),
        (3, b""),
        (3, bytes(9)),
        (2, b"\1\0\0\0\2\0\0\0\0\0\0\0" + bytes(5)),
    ],
)
def test_a_section_that_ends_inside_a_header_is_bad(kind: int, body: bytes) -> None:
    assert read_sections(raw(kind, body), SHAPE) is None


def in_schema_terms(sections: Sections) -> list[object]:
    """Put what was read into the form in which `schema_terms` puts the codec's answer."""
    terms: list[object] = []
    for part in sections.pages:
        terms.append(("page", part.page, part.since, part.log_index, part.removed, tuple(part.states)))
    for span in sections.ranges:
        entries = tuple((e.log_index & 0xFFFF, e.kind, e.sender, e.channel, e.part, e.payload) for e in span.entries)
        terms.append(("log", span.first, span.last, span.after, entries))
    for one in sections.signals:
        fragment = one.last << 4 | one.number
        terms.append(
            ("signal", one.kind, one.flags, one.channel, fragment, one.sender, one.sequence, one.position, one.payload)
        )
    return terms


def schema_terms(value: Any) -> list[object]:
    terms: list[list[object]] = [[], [], []]
    for section in value.sections:
        body = section.body
        if section.type == UpdateSection.PAGE:
            states = [row for part in body.groups for row in zip(part.ids, part.ages, part.states, strict=True)]
            head = body.header
            terms[0].append(("page", head.page, head.since, head.log_index, tuple(body.removed), tuple(states)))
        elif section.type == UpdateSection.LOG_RANGE:
            entries = tuple(
                (e.header.index, e.header.kind, e.header.sender, e.header.channel, e.header.part, e.payload)
                for e in body.entries
            )
            terms[1].append(("log", body.header.first, body.header.last, body.header.after, entries))
        elif section.type == UpdateSection.SIGNAL:
            h = body.header
            terms[2].append(
                ("signal", h.kind, h.flags, h.channel, h.fragment, h.sender, h.sequence, h.position, body.payload)
            )
    return terms[0] + terms[1] + terms[2]


GOOD = update(
    page(group(3, 1), group(7, stride=9), removed=(5,)),
    log(1, 9, entry(2), entry(9, b"")),
    signal(),
    {"type": 77, "body": b"?"},
)


def test_the_hand_reader_reads_what_the_schemas_read() -> None:
    sections = read_sections(GOOD, SHAPE)
    assert sections is not None
    assert in_schema_terms(sections) == schema_terms(codec.decode(GOOD))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_the_hand_reader_accepts_the_schemas_read_alike(data: st.DataObject) -> None:
    mutated = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        mutated[data.draw(st.sampled_from(range(32, len(mutated))))] = data.draw(st.integers(0, 255))
    sections = read_sections(bytes(mutated), SHAPE)
    if sections is not None:
        value = codec.decode(bytes(mutated))
        assert not isinstance(value, DropReason)
        assert in_schema_terms(sections) == schema_terms(value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_after_the_header_give_sections_or_none(rest: bytes) -> None:
    sections = read_sections(update() + rest, SHAPE)
    assert sections is None or isinstance(sections, Sections)
