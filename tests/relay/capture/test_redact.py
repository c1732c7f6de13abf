"""All words are blanked, nothing else is, and what cannot be read is blanked too."""

from collections.abc import Iterator
from random import Random

import pytest

from protocol import codec, schemas
from protocol.constants import MAX_SLOTS, DataSection, EntryKind, Kind, Target, UpdateSection
from protocol.drops import DropReason
from relay.addresses import pack_address
from relay.capture.blocks import Stage
from relay.capture.fields import TEXT, Secrecy, secrecy_of, spans_of
from relay.capture.pseudonyms import Pseudonyms
from relay.capture.redact import redact
from relay.capture.scrub import BLANK, scrub, scrub_datagram
from tests.relay.capture.captures import fill, payloads_of
from tests.tools.wireshark.samples import PAYLOADS, random_datagram

NAMES = Pseudonyms(bytes(range(32)))
ADDRESS = pack_address("10.0.0.1", 1000)
HOT = (Kind.DATA, Kind.UPDATE)
TARGETS = ("data.message.targets", "data.signal.targets")
WORD = b"PASSWORD!?#"
"""With the headers no multiple of 4: else a message whose type is damaged could be log bits."""
TYPE_AT = schemas.DATA_HEADER.sizeof()
SECRET_END = 12
"""Behind the session, whose pseudonym may be anything."""


def redacted(payloads: list[bytes], is_sent: bool = False) -> list[bytes]:
    """Scrub and redact payloads as one batch, which the relay received or sent."""
    stage = Stage()
    fill(stage, payloads, [ADDRESS] * len(payloads), is_sent)
    blocks = stage.take()
    scrub(blocks, NAMES, blank_texts=True, max_cold=100_000)
    redact(blocks)
    return payloads_of(blocks)


def reference(data: bytes) -> bytes:
    """The same, field by field, from the schemas."""
    clean = bytearray(scrub_datagram(data, NAMES, blank_texts=False))
    kind = 0
    for path, start, stop in spans_of(data):
        if path == "update.log_range.entries.kind":
            kind = data[start]
        if secrecy_of(path) is Secrecy.TEXT:
            letters = range(start, stop)
            if path == "update.log_range.entries.payload" and kind in PAYLOADS:
                letters = [start + at for at in letters_of(EntryKind(kind), data[start:stop])]
            for at in letters:
                clean[at] = BLANK
        if path in TARGETS and int.from_bytes(data[start:stop], "little") >= MAX_SLOTS:
            clean[start:stop] = bytes([BLANK, BLANK])
    return bytes(clean)


def with_fitting_targets(data: bytes) -> bytes:
    """Make every kind of target one that has as many ids as are there."""
    fitting, at = bytearray(data), 0
    for path, start, _ in spans_of(data):
        if path.endswith(".target"):
            at = start
        if path.endswith(".target_count"):
            fitting[at] = Target.ALL if data[start] == 0 else Target.ONE if data[start] == 1 else Target.LIST
    return bytes(fitting)


def letters_of(kind: EntryKind, payload: bytes) -> list[int]:
    """Which bytes of a payload that the server wrote are letters of names."""
    value = PAYLOADS[kind].parse(payload)
    if kind == EntryKind.PLAYER_JOINED:
        return list(range(2, len(payload)))
    if kind != EntryKind.ROSTER:
        return []
    letters, at = [], 2
    for member in value.members:
        letters += range(at + 3, at + 3 + len(member.name))
        at += 3 + len(member.name)
    return letters


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", HOT)
def test_a_batch_is_redacted_as_field_by_field(seed: int, kind: Kind) -> None:
    rng = Random(seed)
    payloads = [with_fitting_targets(random_datagram(rng, kind)[0]) for _ in range(200)]
    for data, clean in zip(payloads, redacted(payloads, kind == Kind.UPDATE), strict=True):
        assert clean == reference(data), data.hex()
        assert not isinstance(codec.decode(clean), DropReason)


def test_every_kind_of_text_was_among_them() -> None:
    """Else the test above would not prove much."""
    rng = Random(0)
    paths, kinds = set(), set()
    for _ in range(300):
        data, value = random_datagram(rng, rng.choice(HOT))
        paths |= {span.path for span in spans_of(data) if span.stop > span.start}
        for section in value.sections:
            kinds |= {entry.header.kind for entry in getattr(section.body, "entries", [])}
    texts = {path for path in paths if secrecy_of(path) is Secrecy.TEXT}
    assert texts == {path for path in TEXT if path.startswith(("data.", "update."))}
    assert set(EntryKind) <= kinds


def data_with(section: int, body: object) -> bytes:
    header = dict.fromkeys((name.name for name in schemas.DATA_HEADER.subcons), 0) | {"kind": Kind.DATA, "seq": 1}
    data: bytes = schemas.DATA.build({"header": header, "sections": [{"type": section, "body": body}]})
    return data


def update_with(section: UpdateSection, body: object) -> bytes:
    header = dict.fromkeys((name.name for name in schemas.UPDATE_HEADER.subcons), 0) | {"kind": Kind.UPDATE, "seq": 1}
    data: bytes = schemas.UPDATE.build({"header": header, "sections": [{"type": section, "body": body}]})
    return data


def upload_of(section: DataSection, target_count: int) -> bytes:
    """Make a DATA with a message or signal in it."""
    target = Target.LIST if target_count else Target.ALL
    numbers = {"kind": 1, "flags": 0, "channel": 0, "target": target, "target_count": target_count}
    if section == DataSection.MESSAGE:
        numbers |= {"message_id": 1, "more": 0}
    else:
        numbers |= {"fragment": 0, "sequence": 1, "after_message": 0}
    return data_with(section, {"header": numbers, "targets": [1] * target_count, "payload": WORD})


UPLOADS = [upload_of(section, count) for section in (DataSection.MESSAGE, DataSection.SIGNAL) for count in (0, 1, 3)]


def letters_left(clean: bytes, but_at: int) -> set[int]:
    """Which letters of WORD are left, other than at the damaged byte."""
    return set(WORD) & {letter for at, letter in enumerate(clean) if at != but_at}


def damaged(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Change every byte into every other value. Yields: which one, and the datagram."""
    for at in range(len(data)):
        yield from ((at, data[:at] + bytes([value]) + data[at + 1 :]) for value in range(256) if value != data[at])


def test_no_word_is_left_in_a_datagram_that_is_damaged() -> None:
    """Cut anywhere, with any byte changed: a client's bug must not bring its players' words into a report.

    A message that named more targets than it had room for stood there whole, as a list of players.
    """
    cut = [data[:length] for data in UPLOADS for length in range(1, len(data))]
    for data, clean in zip(cut, redacted(cut), strict=True):
        assert not letters_left(clean, -1), data.hex()
    changed = [(at, data) for whole in UPLOADS for at, data in damaged(whole)]
    cleans = redacted([data for _, data in changed])
    for (at, data), clean in zip(changed, cleans, strict=True):
        if at == TYPE_AT and data[at] == DataSection.SIGNAL:
            clean = clean.replace(WORD[:2], b"")  # a signal that could be: its header is two bytes longer
        assert not letters_left(clean[SECRET_END:], at - SECRET_END), (at, data.hex())


@pytest.mark.parametrize("kind", [EntryKind.MESSAGE, EntryKind.PLAYER_JOINED, EntryKind.ROSTER])
def test_no_word_is_left_where_a_length_of_the_log_is_wrong(kind: EntryKind) -> None:
    """Cut anywhere, and every length or count replaced by every other value."""
    payload = {
        EntryKind.MESSAGE: WORD,
        EntryKind.PLAYER_JOINED: b"\1\0" + WORD,
        EntryKind.ROSTER: b"\1\0" + 2 * (b"\2\0" + bytes([len(WORD)]) + WORD),
    }[kind]
    header = dict.fromkeys((name.name for name in schemas.ENTRY_HEADER.subcons), 0)
    entry = {"header": header | {"kind": int(kind), "length": len(payload)}, "payload": payload}
    body = {"header": {"first": 1, "last": 2, "after": 0}, "entries": [entry, entry]}
    whole = update_with(UpdateSection.LOG_RANGE, body)
    lengths = [
        start for path, start, stop in spans_of(whole) if path.endswith("length") for start in range(start, stop)
    ]
    if kind == EntryKind.ROSTER:
        lengths += [at - 1 for at in range(len(whole)) if whole.startswith(WORD, at)]
    changed = [(at, data) for at, data in damaged(whole) if at in lengths]
    changed += [(-1, whole[:length]) for length in range(1, len(whole))]
    cleans = redacted([data for _, data in changed], is_sent=True)
    assert len(lengths) >= 6
    for (at, data), clean in zip(changed, cleans, strict=True):
        assert not letters_left(clean[SECRET_END:], at - SECRET_END), (at, data.hex())


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_datagram_that_goes_the_wrong_way_keeps_its_header_only(is_sent: bool) -> None:
    """The relay takes no UPDATE, so whatever stands in one that came has no layout; and the other way round."""
    states = {"header": {"sample_ms": 5, "count": 1, "stride": 4}, "states": [{"entity_id": 1, "state": b"move"}]}
    page = {"header": {"page": 1, "layer": 0, "since": 0, "log_index": 0, "removed_count": 0, "group_count": 0}}
    data = data_with(1, states) if is_sent else update_with(UpdateSection.PAGE, page | {"removed": [], "groups": []})
    size = schemas.DATA_HEADER.sizeof() if is_sent else schemas.UPDATE_HEADER.sizeof()
    (clean,) = redacted([data], is_sent)
    (kept,) = redacted([data], not is_sent)
    assert clean == kept[:size] + bytes([BLANK]) * (len(data) - size) and kept[size:] == data[size:]


def test_any_bytes_are_redacted_without_an_error() -> None:
    rng = Random(6)
    payloads = [bytes([rng.choice(HOT)]) + rng.randbytes(rng.randint(20, 200)) for _ in range(3_000)]
    for seed_data in [random_datagram(rng, rng.choice(HOT))[0] for _ in range(1_000)]:
        data = bytearray(seed_data)
        data[rng.randrange(2, len(data))] = rng.randrange(256)
        payloads.append(bytes(data))
    for data, clean in zip(payloads, redacted(payloads), strict=True):
        assert len(clean) == len(data) and clean[:2] == data[:2]


def test_states_and_pages_stay() -> None:
    body = {"header": {"sample_ms": 5, "count": 1, "stride": 4}, "states": [{"entity_id": 1, "state": b"move"}]}
    (clean,) = redacted([data_with(1, body)])
    assert b"move" in clean
