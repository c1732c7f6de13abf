"""All words are blanked, nothing else is, and what cannot be read is blanked too."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from construct import Construct, ConstructError

from protocol import codec, schemas
from protocol.constants import (
    MAX_SLOTS,
    NO_PLAYER,
    DataSection,
    EntryKind,
    Kind,
    PropertyType,
    RequestKind,
    Target,
    UpdateSection,
)
from protocol.drops import DropReason
from relay.addresses import pack_address
from relay.capture.blocks import Stage
from relay.capture.fields import TEXT, Secrecy, secrecy_of, spans_of
from relay.capture.pseudonyms import Pseudonyms
from relay.capture.redact import redact
from relay.capture.scrub import BLANK, scrub, scrub_datagram
from tests.relay.capture.captures import fill, payloads_of
from tests.tools.wireshark.samples import payload_fields, random_datagram

NAMES = Pseudonyms(bytes(range(32)))
ADDRESS = pack_address("10.0.0.1", 1000)
HOT = (Kind.DATA, Kind.UPDATE)
KINDS = ("update.log_range.entries.kind", "data.message.kind")
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
    kind = more = 0
    for path, start, stop in spans_of(data):
        if path in KINDS:
            kind = data[start]
        if path == "data.message.more":
            more = data[start]
        if path == "update.log_range.entries.payload" and kind in schemas.ENTRY_PAYLOADS:
            schema = schemas.ENTRY_PAYLOADS[EntryKind(kind)]
            if not has_owners_and_types(schema.parse(data[start:stop])):
                size = schemas.UPDATE_HEADER.sizeof()
                return bytes(clean[:size]) + bytes([BLANK]) * (len(data) - size)
            clean[start:stop] = blanked(schema, data[start:stop])
        elif path == "data.message.payload" and kind in schemas.REQUEST_PAYLOADS and not more:
            clean[start:stop] = blanked_request(RequestKind(kind), data[start:stop])
        elif secrecy_of(path) is Secrecy.TEXT:
            clean[start:stop] = bytes([BLANK]) * (stop - start)
        if path in TARGETS and int.from_bytes(data[start:stop], "little") >= MAX_SLOTS:
            clean[start:stop] = bytes([BLANK, BLANK])
    return bytes(clean)


def has_owners_and_types(value: Any) -> bool:
    """Tell whether all owners and types in a payload are such."""
    if isinstance(value, list):
        return all(map(has_owners_and_types, value))
    if not isinstance(value, dict):
        return True
    value = {key: item for key, item in value.items() if not key.startswith("_")}
    is_owner = value.get("owner", 0) < MAX_SLOTS or value["owner"] == NO_PLAYER
    return is_owner and value.get("type", 0) <= max(PropertyType) and all(map(has_owners_and_types, value.values()))


def blanked(schema: Construct, payload: bytes) -> bytes:
    """A payload without its words: read, and built again with others. Raises: ConstructError if it has another form."""
    clean: bytes = schema.build(without_words(schema.parse(payload)))
    return clean


def without_words(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: without_words(item, key) for key, item in value.items() if not key.startswith("_")}
    if isinstance(value, list):
        return [without_words(item, name) for item in value]
    return bytes([BLANK]) * len(value) if name in ("name", "key", "keys", "value", "text") else value


def blanked_request(kind: RequestKind, payload: bytes) -> bytes:
    """The same of a request, all of which is words if it has another form or its numbers cannot be what they are."""
    try:
        value = schemas.REQUEST_PAYLOADS[kind].parse(payload)
    except ConstructError:
        return bytes([BLANK]) * len(payload)
    could_be = (
        value.get("player_id", 0) < MAX_SLOTS
        and has_owners_and_types(value)
        and value.get("is_conditional", 0) <= 1
        and value.get("is_locked", 0) <= 1
        and value.get("is_listed", 0) <= 1
    )
    return blanked(schemas.REQUEST_PAYLOADS[kind], payload) if could_be else bytes([BLANK]) * len(payload)


def with_fitting_targets(data: bytes) -> bytes:
    """Make every kind of target one that has as many ids as are there."""
    fitting, at = bytearray(data), 0
    for path, start, _ in spans_of(data):
        if path.endswith(".target"):
            at = start
        if path.endswith(".target_count"):
            fitting[at] = Target.ALL if data[start] == 0 else Target.ONE if data[start] == 1 else Target.LIST
    return bytes(fitting)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", HOT)
def test_a_batch_is_redacted_as_field_by_field(seed: int, kind: Kind) -> None:
    rng = Random(seed)
    payloads = [with_fitting_targets(random_datagram(rng, kind)[0]) for _ in range(200)]
    num_whole = 0
    for data, clean in zip(payloads, redacted(payloads, kind == Kind.UPDATE), strict=True):
        assert clean == reference(data), data.hex()
        is_whole = not isinstance(codec.decode(clean), DropReason)
        assert is_whole or set(clean[schemas.UPDATE_HEADER.sizeof() :]) == {BLANK}
        num_whole += is_whole
    assert num_whole == 200 if kind == Kind.DATA else num_whole > 120


def test_every_kind_of_text_was_among_them() -> None:
    """Else the test above would not prove much."""
    rng = Random(0)
    paths, kinds, requests = set(), set(), set()
    for _ in range(800):
        data, value = random_datagram(rng, rng.choice(HOT))
        paths |= {span.path for span in spans_of(data) if span.stop > span.start}
        for section in value.sections:
            kinds |= {entry.header.kind for entry in getattr(section.body, "entries", [])}
            requests |= {section.body.header.kind} if section.type == DataSection.MESSAGE and data[0] == 16 else set()
    texts = {path for path in paths if secrecy_of(path) is Secrecy.TEXT}
    assert texts == {path for path in TEXT - payload_fields() if path.startswith(("data.", "update."))}
    assert set(EntryKind) <= kinds and set(RequestKind) <= requests


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


def behind_length(data: bytes) -> bytes:
    return bytes([len(data)]) + data


WORDS = behind_length(WORD)
ENTRY_WORDS = {
    EntryKind.MESSAGE: WORD,
    EntryKind.PLAYER_JOINED: b"\1\0" + WORD,
    EntryKind.ROSTER: b"\1\0" + 2 * (b"\2\0\0" + WORDS),
    EntryKind.PROPERTY_CHANGED: b"\1\0\xff\xff" + WORDS + b"\4" + WORD,
    EntryKind.PROPERTIES: 2 * (b"\7\0\0\0\1\0" + WORDS + b"\4" + WORDS),
}
"""Entries with words in them."""


@pytest.mark.parametrize("kind", ENTRY_WORDS, ids=lambda kind: kind.name)
def test_no_word_is_left_where_a_length_of_the_log_is_wrong(kind: EntryKind) -> None:
    """Cut anywhere, and every length or count replaced by every other value."""
    payload = ENTRY_WORDS[kind]
    header = dict.fromkeys((name.name for name in schemas.ENTRY_HEADER.subcons), 0)
    entry = {"header": header | {"kind": int(kind), "length": len(payload)}, "payload": payload}
    body = {"header": {"first": 1, "last": 2, "after": 0}, "entries": [entry, entry]}
    whole = update_with(UpdateSection.LOG_RANGE, body)
    lengths = [
        start for path, start, stop in spans_of(whole) if path.endswith("length") for start in range(start, stop)
    ]
    lengths += [at - 1 for at in range(len(whole)) if whole.startswith(WORD, at) and whole[at - 1] == len(WORD)]
    changed = [(at, data) for at, data in damaged(whole) if at in lengths]
    changed += [(-1, whole[:length]) for length in range(1, len(whole))]
    cleans = redacted([data for _, data in changed], is_sent=True)
    assert len(lengths) >= 6
    for (at, data), clean in zip(changed, cleans, strict=True):
        assert not letters_left(clean[SECRET_END:], at - SECRET_END), (at, data.hex())


# --- Requests


def request_of(kind: int, payload: bytes, more: int = 0) -> bytes:
    numbers = {"message_id": 1, "kind": kind, "flags": 0, "channel": 0, "target": 0, "target_count": 0, "more": more}
    return data_with(DataSection.MESSAGE, {"header": numbers, "targets": [], "payload": payload})


def payload_left(kind: int, payload: bytes, more: int = 0) -> bytes:
    """What a capture shows of a request."""
    (clean,) = redacted([request_of(kind, payload, more)])
    return clean[len(clean) - len(payload) :]


BLANKS = bytes([BLANK]) * len(WORD)
REQUEST_WORDS = {
    RequestKind.SET_PROPERTY: (b"\xff\xff\1\7\0\0\0" + WORDS + b"\4", WORD),
    RequestKind.KICK: (b"\2\0", WORD),
    RequestKind.BAN: (b"\2\0\1", WORD),
}
"""Requests with words in them: what stands before the last word, and that word."""


@pytest.mark.parametrize("kind", REQUEST_WORDS, ids=lambda kind: kind.name)
def test_the_numbers_of_a_request_stay_and_its_words_do_not(kind: RequestKind) -> None:
    before, last = REQUEST_WORDS[kind]
    assert payload_left(kind, before + last) == before.replace(WORD, BLANKS) + BLANKS


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (RequestKind.GIVE_ENTITY, b"ab\xff\xff"),
        (RequestKind.CLEAR_KEPT, b"abcd"),
        (RequestKind.HAND_OVER_HOST, b"\5\0"),
        (RequestKind.LOCK, b"\1"),
    ],
)
def test_a_request_without_words_stays(kind: RequestKind, payload: bytes) -> None:
    assert payload_left(kind, payload) == payload


@pytest.mark.parametrize("kind", range(112, 128))
def test_words_in_a_message_of_a_requests_kind_are_blanked(kind: int) -> None:
    """A game that uses such a kind for its own messages is refused, and its words are still words."""
    for word in (WORD, WORD + WORD, b"hi", b"hey", b"x"):
        assert not set(payload_left(kind, word)) & (set(word) - {BLANK})


@pytest.mark.parametrize("kind", REQUEST_WORDS, ids=lambda kind: kind.name)
def test_a_request_of_several_fragments_is_none(kind: RequestKind) -> None:
    payload = b"".join(REQUEST_WORDS[kind])
    assert payload_left(kind, payload, more=1) == bytes([BLANK]) * len(payload)


@pytest.mark.parametrize("kind", REQUEST_WORDS, ids=lambda kind: kind.name)
def test_no_word_is_left_in_a_request_that_is_damaged(kind: RequestKind) -> None:
    """Cut anywhere, and every byte of its payload replaced by every other value."""
    whole = request_of(kind, b"".join(REQUEST_WORDS[kind]))
    payload_at = whole.index(b"".join(REQUEST_WORDS[kind]))
    changed = [(at, data) for at, data in damaged(whole) if at >= payload_at]
    changed += [(-1, whole[:length]) for length in range(1, len(whole))]
    for (at, data), clean in zip(changed, redacted([data for _, data in changed]), strict=True):
        left = letters_left(clean[SECRET_END:], at - SECRET_END)
        # a key that is said to be shorter ends with its type: one letter of it stands where the type is
        assert len(left) <= (1 if kind == RequestKind.SET_PROPERTY else 0), (at, data.hex())


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
