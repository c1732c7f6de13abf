"""The words in payloads of entries and requests are found, in many payloads at once, whatever the bytes."""

from random import Random

import numpy as np
import pytest
from construct import Bytes, GreedyBytes, Int8ul, Struct

from protocol import schemas
from protocol.constants import EntryKind, RequestKind
from relay.capture import payloads as module
from relay.capture.fields import ENTRY_PREFIX
from relay.capture.payloads import ENTRIES, REQUESTS, Round, Runs, find_texts


def found(rounds: tuple[Round, ...], payloads: list[bytes]) -> tuple[list[bool], list[list[bytes]]]:
    """Walk payloads side by side. Returns: which are as their layout says, and the words in each."""
    buffer = np.frombuffer(b"".join(payloads) + bytes(8), np.uint8)
    end = np.cumsum([len(payload) for payload in payloads]).astype(np.int64)
    at = end - np.array([len(payload) for payload in payloads])
    texts = Runs()
    fits = find_texts(rounds, buffer, at, end, texts)
    words: list[list[bytes]] = [[] for _ in payloads]
    for start, stop in zip(*(column.tolist() for column in texts.joined()), strict=True):
        if stop > start:
            (which,) = np.flatnonzero((at <= start) & (stop <= end)).tolist()
            words[which].append(buffer[start:stop].tobytes())
    return fits.tolist(), words


def test_every_payload_that_has_a_layout_has_rounds() -> None:
    assert set(ENTRIES) == set(map(int, schemas.ENTRY_PAYLOADS))
    assert set(REQUESTS) == set(map(int, schemas.REQUEST_PAYLOADS))


def test_the_words_of_payloads_side_by_side() -> None:
    roster = b"\1\0" + b"\1\0\0\3Bob" + b"\2\0\1\0" + b"\3\0\0\3Eve"
    fits, words = found(ENTRIES[EntryKind.ROSTER], [roster, b"\1\0", roster[:-1], b"\1", b"", roster + b"\4\0\0\1x"])
    assert fits == [True, True, False, False, False, True]
    assert sorted(words[0]) == [b"Bob", b"Eve"] and words[1] == [] and sorted(words[5]) == [b"Bob", b"Eve", b"x"]


def test_keys_and_values_of_properties_are_words_and_their_types_are_not() -> None:
    item = b"\7\0\0\0\1\0" + b"\4team" + b"\4" + b"\3red"
    fits, words = found(ENTRIES[EntryKind.PROPERTIES], [item + item, b"", item + b"\7"])
    assert fits == [True, True, False]
    assert sorted(words[0]) == [b"red", b"red", b"team", b"team"]
    fits, words = found(ENTRIES[EntryKind.PROPERTY_CHANGED], [b"\1\0\xff\xff\4team\4red", b"\1\0\xff\xff\4tea"])
    assert fits == [True, False] and words[0] == [b"team", b"red"]


def test_the_bits_of_pages_are_no_words() -> None:
    assert found(ENTRIES[EntryKind.ROOM_READY], [b"\1\x05\x80", b"\0"]) == ([True, True], [[], []])


def test_a_number_that_a_request_cannot_have_is_another_layout() -> None:
    """A client's bug may write words where a player's number stands."""
    assert found(REQUESTS[RequestKind.KICK], [b"\2\0out", b"hello"]) == ([True, False], [[b"out"], []])
    fits, _ = found(REQUESTS[RequestKind.GIVE_ENTITY], [b"\5\1\xff\xff", b"\5\1\xff\1", b"\5\1\0\2", b"\5\1\1\0\0"])
    assert fits == [True, True, False, False]
    assert found(REQUESTS[RequestKind.LOCK], [b"\0", b"\1", b"\2", b""])[0] == [True, True, False, False]


@pytest.mark.parametrize("kind", [*schemas.ENTRY_PAYLOADS, *schemas.REQUEST_PAYLOADS], ids=lambda kind: kind.name)
def test_any_bytes_are_walked_and_no_word_lies_outside_its_payload(kind: EntryKind | RequestKind) -> None:
    rng = Random(int(kind))
    payloads = [rng.randbytes(rng.randint(0, 40)) for _ in range(300)]
    payloads += [bytes(rng.choice((0, 1, 2, 3)) for _ in range(rng.randint(0, 40))) for _ in range(300)]
    rounds = (ENTRIES if isinstance(kind, EntryKind) else REQUESTS)[int(kind)]
    schema = (schemas.ENTRY_PAYLOADS if isinstance(kind, EntryKind) else schemas.REQUEST_PAYLOADS)[kind]  # type: ignore[index]
    fits, _ = found(rounds, payloads)
    for payload, fit in zip(payloads, fits, strict=True):
        assert not fit or schema.build(schema.parse(payload)) == payload
    assert len(fits) == 600


def test_no_payloads_at_all_are_walked_too() -> None:
    assert found(ENTRIES[EntryKind.ROSTER], []) == ([], [])


def test_a_field_that_nobody_classified_is_words() -> None:
    grown = Struct("why" / schemas.TEXT, "more" / GreedyBytes)
    assert found(module._build(grown, "fresh", {}), [b"\3whymore"]) == ([True], [[b"why", b"more"]])


@pytest.mark.parametrize("odd", [Struct("what" / Bytes(3)), Struct(Int8ul), Struct("fresh" / Int8ul)])
def test_a_layout_of_another_form_stops_the_import_and_a_number_that_nobody_classified(odd: Struct) -> None:
    with pytest.raises(TypeError, match=r"update\.log_range\.entries"):
        module._build(odd, ENTRY_PREFIX, {})
