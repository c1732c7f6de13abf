"""Whatever the bytes: the dissector says why the codec would drop them, under the same name, and never fails itself."""

import json
import os
import struct
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from protocol import codec, schemas
from protocol.constants import MAGIC, MAX_DATAGRAM_BYTES, DataSection, EntryKind, Kind, Option, RequestKind
from protocol.drops import DropReason
from tests.tools.wireshark import tshark as tool
from tests.tools.wireshark.samples import random_datagram
from tests.tools.wireshark.tshark import ROOT, Dissected, dissect_payloads
from tools.dump.problems import find_problem

FULL = os.environ.get("TICKRELAY_FULL") == "1"
REASONS = {
    reason.name.lower()
    for reason in (
        DropReason.TOO_SHORT,
        DropReason.TOO_LONG,
        DropReason.UNKNOWN_KIND,
        DropReason.BAD_MAGIC,
        DropReason.MALFORMED,
        DropReason.BAD_SECTION,
    )
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tshark() -> str:
    return tool.find_tshark()


def reason_of(payload: bytes) -> str | None:
    decoded = codec.decode(payload)
    return decoded.name.lower() if isinstance(decoded, DropReason) else None


def check(payload: bytes, found: Dissected) -> str | None:
    """Hold the dissector's reason against the codec's. Returns: the reason."""
    reason = reason_of(payload)
    assert {name for name in found.experts if name in REASONS} == ({reason} if reason else set()), payload.hex()
    assert not found.is_malformed, payload.hex()
    return reason


def damaged(rng: Random, data: bytes) -> bytes:
    """Cut a datagram, make it longer, or change bytes of it."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 2)):
        match rng.randrange(5):
            case 0:
                del out[rng.randint(1, len(out)) :]
            case 1:
                out += rng.randbytes(rng.randint(1, 9))
            case 2:
                at = rng.randrange(len(out))
                del out[at : at + rng.randint(1, 3)]
            case _:
                out[rng.randrange(len(out))] = rng.choice((0, 1, 127, 255, rng.randrange(256)))
    return bytes(out) or b"\0"


def _section(number: int, body: bytes) -> bytes:
    return struct.pack("<BH", number, len(body)) + body


def test_what_breaks_a_rule_but_no_layout_is_for_the_dump_to_tell(tshark: str, tmp_path: Path) -> None:
    header = b"\x10\0" + struct.pack("<HQHIBBIH", 1, 7, 0, 0, 0, 1, 0, 0)
    message = b"\x01\0" + bytes(5) + b"\0hi"
    bad = {
        "a MESSAGE of kind 0": header + _section(DataSection.MESSAGE, message),
        "a second LOG_BITS": header + 2 * _section(DataSection.LOG_BITS, bytes(4)),
    }
    readme = (ROOT / "tools/wireshark/README.md").read_text(encoding="utf-8")
    for name, payload, found in zip(bad, bad.values(), dissect_payloads(tshark, tmp_path, bad.values())):
        assert find_problem(payload) is not None and check(payload, found) is None and name in readme


def test_bytes_that_are_not_to_be_taken_have_the_codecs_reason(tshark: str, tmp_path: Path) -> None:
    vectors = json.loads((ROOT / "protocol/vectors/revision1.json").read_text(encoding="utf-8"))
    cases = [case for case in vectors["refused_datagrams"] if case["hex"]]  # nothing at all reaches no dissector
    payloads = [bytes.fromhex(case["hex"]) for case in cases]
    for case, payload, found in zip(cases, payloads, tool.dissect_payloads(tshark, tmp_path, payloads), strict=True):
        assert check(payload, found) == case["reason"].lower(), case["name"]


@pytest.mark.parametrize("seed", range(100 if FULL else 3))
def test_damaged_datagrams_have_the_codecs_reason(tshark: str, tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    payloads = [damaged(rng, random_datagram(rng, kind)[0]) for kind in Kind for _ in range(60)]
    payloads += [damaged(rng, random_datagram(rng, rng.choice((Kind.DATA, Kind.UPDATE)))[0]) for _ in range(800)]
    payloads += [rng.randbytes(rng.randint(1, 60)) for _ in range(60)]
    payloads += [random_datagram(rng, kind)[0].replace(MAGIC, b"TKRM") for kind in (Kind.HELLO, Kind.PING)]
    payloads += [random_datagram(rng, kind)[0].ljust(MAX_DATAGRAM_BYTES + 1, b"\0") for kind in Kind]
    found = tool.dissect_payloads(tshark, tmp_path, payloads)
    reasons = Counter(check(*pair) for pair in zip(payloads, found, strict=True))
    assert set(reasons) == REASONS | {None}


def test_every_way_to_cut_a_datagram_is_an_error_with_its_place(tshark: str, tmp_path: Path) -> None:
    rng = Random(11)
    whole = next(
        data for data in iter(lambda: random_datagram(rng, Kind.UPDATE)[0], b"") if len(data) > 200 and data[32] == 2
    )
    payloads = [whole[:length] for length in range(1, len(whole))]
    for payload, found in zip(payloads, tool.dissect_payloads(tshark, tmp_path, payloads), strict=True):
        if check(payload, found) == "bad_section":
            assert " at byte " in found.experts["bad_section"]


def entry_of(kind: int, payload: bytes) -> bytes:
    """Put an entry into an UPDATE."""
    header = {"index": 5, "kind": kind, "flags": 0, "sender": 65_535, "channel": 0, "part": 0, "length": len(payload)}
    body = {"header": {"first": 5, "last": 5, "after": 4}, "entries": [{"header": header, "payload": payload}]}
    numbers = dict.fromkeys(("shard", "ack", "ack_bits", "ack_delay", "flags", "message_bits", "message_ack"), 0)
    fields = numbers | {"kind": Kind.UPDATE, "seq": 1, "session": 1 << 40, "tick": 9, "message_credit": 1}
    data: bytes = schemas.UPDATE.build({"header": fields, "sections": [{"type": 2, "body": body}]})
    return data


def test_an_entry_that_is_not_what_its_kind_says_is_a_warning(tshark: str, tmp_path: Path) -> None:
    """The codec takes it: to the log a payload is bytes. Only who reads presence passes it over."""
    good = schemas.ENTRY_PAYLOADS[EntryKind.PLAYER_LEFT].build({"player_id": 3, "reason": 1})
    payloads = [entry_of(EntryKind.PLAYER_LEFT, data) for data in (good, good[:-1], good + b"\0", b"")]
    right, *wrong = tool.dissect_payloads(tshark, tmp_path, payloads)
    assert right.experts == {}
    assert [list(found.experts) for found in wrong] == [["bad_entry"]] * 3
    assert not any(found.is_malformed for found in wrong)


def message_of(kind: int, payload: bytes, more: int = 0) -> bytes:
    """Put a message into a DATA."""
    numbers = {"message_id": 1, "kind": kind, "flags": 0, "channel": 0, "target": 0, "target_count": 0, "more": more}
    body = {"header": numbers, "targets": [], "payload": payload}
    header = dict.fromkeys((part.name for part in schemas.DATA_HEADER.subcons), 0)
    fields = header | {"kind": Kind.DATA, "seq": 1, "session": 1 << 40}
    data: bytes = schemas.DATA.build({"header": fields, "sections": [{"type": DataSection.MESSAGE, "body": body}]})
    return data


def test_a_request_that_is_not_what_its_kind_says_is_a_warning(tshark: str, tmp_path: Path) -> None:
    """The codec takes it; the relay answers by REQUEST_REFUSED."""
    good = schemas.REQUEST_PAYLOADS[RequestKind.GIVE_ENTITY].build({"entity_id": 3, "owner": 1})
    payloads = [message_of(RequestKind.GIVE_ENTITY, data) for data in (good, good[:-1], good + b"\0", b"")]
    payloads += [message_of(RequestKind.GIVE_ENTITY, good, more=1)]
    right, *wrong = tool.dissect_payloads(tshark, tmp_path, payloads)
    assert right.experts == {}
    assert [list(found.experts) for found in wrong] == [["bad_request"]] * 4
    assert not any(found.is_malformed for found in wrong)


def join_with(key: int, value: bytes) -> bytes:
    """Put an option into a JOIN."""
    numbers = dict.fromkeys(("shard", "nonce", "revision", "features", "mode"), 0)
    fields = numbers | {"kind": Kind.JOIN, "cookie": bytes(20), "code": bytes(16), "name": bytes(32)}
    data: bytes = schemas.JOIN.build({"fields": fields, "options": [{"key": key, "value": value}]})
    return data


@pytest.mark.parametrize(("key", "size"), [(Option.MAX_PLAYERS, 2), (Option.RESUME, 28), (Option.ROOM_FLAGS, 1)])
def test_an_option_of_another_length_than_its_key_says_is_a_warning(
    tshark: str, tmp_path: Path, key: int, size: int
) -> None:
    values = [bytes(size), bytes(size - 1), bytes(size + 1)]
    found = tool.dissect_payloads(tshark, tmp_path, [join_with(key, value) for value in values])
    assert [list(one.experts) for one in found] == [[], ["bad_option"], ["bad_option"]]


def test_what_is_not_known_yet_is_a_note(tshark: str, tmp_path: Path) -> None:
    """Entries have no kinds of requests, and a game's messages none of the server's."""
    payloads = [entry_of(kind, b"x") for kind in (0, 1, 111, 112, 127, 128 + 40)]
    payloads += [message_of(kind, b"x") for kind in (1, 111, 126, 127)]
    found = [list(one.experts) for one in tool.dissect_payloads(tshark, tmp_path, payloads)]
    assert found[:6] == [["unknown_entry"], [], [], *[["unknown_entry"]] * 3]
    assert found[6:] == [[], [], ["unknown_request"], ["unknown_request"]]


def test_a_capture_with_cut_packets_is_told_from_damage(tshark: str, tmp_path: Path) -> None:
    """A capture with a snap length holds the beginning of each datagram only; nothing was wrong on the wire."""
    payload = entry_of(1, b"y" * 200)
    tool.write_pcap(tmp_path / "a.pcap", [tool.packet(payload)], snap_bytes=28 + 100)
    (found,) = tool.read_pdml(tool.read_capture(tshark, tmp_path / "a.pcap", "-T", "pdml"))
    assert list(found.experts) == ["cut_by_capture"] and not found.is_malformed
    assert found.fields["update.tick"][0][0] == "9"
