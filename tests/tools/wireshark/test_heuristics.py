"""On any port: our conversations are found, nobody else's traffic is taken."""

import os
import struct
from pathlib import Path
from random import Random

import pytest

from protocol import codec
from protocol.constants import HELLO_BYTES, PING_BYTES, Kind
from tests.tools.wireshark import tshark as tool
from tests.tools.wireshark.samples import random_datagram
from tools.generate.vector_datagrams import datagram_cases

FULL = os.environ.get("TICKRELAY_FULL") == "1"
SERVER = 51_999
"""A port that nobody has."""

pytestmark = pytest.mark.slow
CASES = {name: (kind, codec.schemas.DATAGRAMS[kind].build(value)) for name, kind, value in datagram_cases()}


@pytest.fixture(scope="module")
def tshark() -> str:
    return tool.find_tshark()


def vector(name: str) -> bytes:
    return CASES[name][1]


def is_claimed(tshark: str, folder: Path, packets: list[bytes]) -> list[bool]:
    return [found.protocols.endswith(":tickrelay") for found in tool.dissect(tshark, folder, packets)]


def up(payload: bytes, player: int = 40_000) -> bytes:
    return tool.packet(payload, player, SERVER)


def down(payload: bytes, player: int = 40_000) -> bytes:
    return tool.packet(payload, SERVER, player)


def test_a_whole_conversation_on_any_port_is_found_from_its_first_datagram(tshark: str, tmp_path: Path) -> None:
    packets = [
        up(vector("an ordinary greeting")),
        down(vector("a cookie")),
        up(vector("join with a password")),
        down(vector("a refusal with a text")),
        down(vector("bare")),
        up(b"\xfe unknown, and still ours"),
        down(vector("the server stops")),
    ]
    assert is_claimed(tshark, tmp_path, packets) == [True] * len(packets)


@pytest.mark.parametrize(
    "name",
    ["a ping", "a welcome", "bare, with acknowledgements", "two states of four bytes", "everything in one datagram"],
)
def test_a_capture_that_begins_in_the_middle_is_found_too(tshark: str, tmp_path: Path, name: str) -> None:
    kind, first = CASES[name]
    send = down if kind == Kind.WELCOME else up
    bare = next(data for other, (kind, data) in CASES.items() if kind == Kind.UPDATE and other == "bare")
    packets = [down(bare), send(first), down(bare), down(bare, 40_001)]
    assert is_claimed(tshark, tmp_path, packets) == [False, True, True, False]


def test_an_update_with_sections_is_enough(tshark: str, tmp_path: Path) -> None:
    names = ["two pages", "what a player sees first", "a range and a signal that waits for it"]
    packets = [down(vector(name), 40_000 + i) for i, name in enumerate(names)]
    assert is_claimed(tshark, tmp_path, packets) == [True] * len(names)


def foreign_payloads(rng: Random, count: int) -> list[bytes]:
    """Payloads of others: random ones, and the protocols that games and homes speak."""
    kinds = [int(kind) for kind in Kind]
    made = [rng.randbytes(rng.randint(2, 120)) for _ in range(count)]
    made += [bytes([rng.choice(kinds)]) + rng.randbytes(rng.randint(1, 90)) for _ in range(count)]
    for size in (26, 32, HELLO_BYTES, PING_BYTES, 40, 104):  # sizes that ours have
        made += [bytes([rng.choice(kinds)]) + rng.randbytes(size - 1) for _ in range(count // 6)]
        made += [bytes([rng.choice(kinds)]) + bytes(size - 1) for _ in range(2)]  # nothing but zeros
        made += [bytes([kind]) * size for kind in kinds]
    rtp = [struct.pack(">BBHII", 0x80, 96, n, n * 160, 7) + rng.randbytes(160) for n in range(20)]
    stun = [struct.pack(">HHI", 1, 8, 0x2112A442) + rng.randbytes(20) for _ in range(20)]
    dns = [
        struct.pack(">HHHHHH", 0x1000 + n, 0x100, 1, 0, 0, 0) + b"\x03www\x07example\x00\x00\x01\x00\x01"
        for n in range(40)
    ]
    quic = [b"\xc0\x00\x00\x00\x01\x08" + rng.randbytes(1194) for _ in range(20)]
    enet = [struct.pack(">HHBBH", 0x1000 | n, n, 6, 0, n) + rng.randbytes(40) for n in range(40)]
    return made + rtp + stun + dns + quic + enet


def test_foreign_traffic_is_not_taken(tshark: str, tmp_path: Path) -> None:
    payloads = foreign_payloads(Random(5), 60_000 if FULL else 3_000)
    packets = [tool.packet(data, 1024 + i % 20_000, 50_001 + i % 1_999) for i, data in enumerate(payloads)]
    capture = tmp_path / "foreign.pcap"
    tool.write_pcap(capture, packets)
    assert tool.read_capture(tshark, capture, "-Y", "tickrelay", "-T", "fields", "-e", "frame.number").split() == []


def test_malformed_datagrams_claim_nothing(tshark: str, tmp_path: Path) -> None:
    """Only within a conversation that is known to be ours is a malformed datagram one of ours."""
    whole = vector("everything in one datagram")
    damaged = [whole[:-1], whole + b"\0", whole[:26] + b"\xc8" + whole[27:]]  # the last: a section of unknown type
    hello = vector("an ordinary greeting")
    damaged += [hello.replace(b"TKRL", b"TKRM"), hello[:255], vector("a welcome").replace(b"LOBBY", b"lobby")]
    packets = [up(data, 41_000 + i) for i, data in enumerate(damaged)]
    assert is_claimed(tshark, tmp_path, packets) == [False] * len(damaged)


def test_most_random_valid_datagrams_with_sections_are_found(tshark: str, tmp_path: Path) -> None:
    """Random headers have random flag bits, which a claim does not take: so those are set as on the wire."""
    rng = Random(3)
    payloads = []
    while len(payloads) < 100:
        data, value = random_datagram(rng, rng.choice((Kind.DATA, Kind.UPDATE)))
        known = [section.type for section in value.sections if not isinstance(section.body, bytes)]
        if len(known) == len(value.sections) > 0 and value.header.ack and value.header.get("tick", 1):
            data = data[:19] + b"\0" + data[20:]  # flags
            payloads.append(data[:24] + bytes(2) + data[26:] if data[0] == Kind.DATA else data)  # reserved
    packets = [up(data, 42_000 + i) for i, data in enumerate(payloads)]
    assert is_claimed(tshark, tmp_path, packets) == [True] * len(payloads)
