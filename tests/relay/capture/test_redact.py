"""All words are blanked, nothing else is, and what cannot be read is blanked too."""

from random import Random

import pytest

from protocol import codec, schemas
from protocol.constants import EntryKind, Kind
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


def redacted(payloads: list[bytes]) -> list[bytes]:
    """Scrub and redact payloads as one batch."""
    stage = Stage()
    fill(stage, payloads, [ADDRESS] * len(payloads))
    blocks = stage.take()
    scrub(blocks, NAMES, blank_texts=True, max_cold=10_000)
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
    return bytes(clean)


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
def test_a_batch_is_redacted_as_field_by_field(seed: int) -> None:
    rng = Random(seed)
    payloads = [random_datagram(rng, rng.choice(HOT))[0] for _ in range(300)]
    for data, clean in zip(payloads, redacted(payloads), strict=True):
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


def test_no_word_is_left_in_a_datagram_that_is_damaged() -> None:
    """Cut anywhere, with any byte changed: a client's bug must not bring its players' words into a report."""
    rng = Random(4)
    word = b"PASSWORD123"
    wholes = []
    for target_count in (0, 1, 3):
        header = {
            "message_id": 1,
            "kind": 1,
            "flags": 0,
            "channel": 0,
            "target": 3,
            "target_count": target_count,
            "more": 0,
        }
        wholes.append(data_with(3, {"header": header, "targets": [1] * target_count, "payload": word}))
    payloads = [data[:length] for data in wholes for length in range(27, len(data))]
    for data, clean in zip(payloads, redacted(payloads), strict=True):
        assert not any(letter in clean[26:] for letter in set(word) - set(b"12")), data.hex()
    for _ in range(500):
        data = bytearray(rng.choice(wholes))
        data[rng.randrange(27, 29)] = rng.randrange(256)  # its length
        (clean,) = redacted([bytes(data)])
        assert word not in clean


def data_with(section: int, body: object) -> bytes:
    header = dict.fromkeys((name.name for name in schemas.DATA_HEADER.subcons), 0) | {"kind": Kind.DATA, "seq": 1}
    data: bytes = schemas.DATA.build({"header": header, "sections": [{"type": section, "body": body}]})
    return data


def test_any_bytes_are_redacted_without_an_error() -> None:
    rng = Random(6)
    payloads = [bytes([rng.choice(HOT)]) + rng.randbytes(rng.randint(20, 200)) for _ in range(3_000)]
    for seed_data in [random_datagram(rng, rng.choice(HOT))[0] for _ in range(1_000)]:
        data = bytearray(seed_data)
        data[rng.randrange(2, len(data))] = rng.randrange(256)
        payloads.append(bytes(data))
    for data, clean in zip(payloads, redacted(payloads), strict=True):
        assert len(clean) == len(data) and clean[:4] == data[:4]


def test_states_and_pages_stay() -> None:
    body = {"header": {"sample_ms": 5, "count": 1, "stride": 4}, "states": [{"entity_id": 1, "state": b"move"}]}
    (clean,) = redacted([data_with(1, body)])
    assert b"move" in clean
