"""From packets to datagrams: IPv4, IPv6, fragments, and all that is neither."""

import struct
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.dump.made import LINKS, RELAY, Packet, ipv4, ipv6, udp
from tools.dump import packets
from tools.dump.captures import Frame
from tools.dump.datagrams import Datagram
from tools.dump.packets import PacketReader

PACKET = Packet(7.5, ("10.0.1.1", 40_000), RELAY, bytes(range(200)))
RAW = 101
CUT_BEFORE = "cut off before its IP header ends"


def read(*frames: bytes, link_type: int = RAW) -> tuple[list[Datagram], dict[str, int]]:
    """Read frames. Returns: datagrams, and what was skipped."""
    reader = PacketReader()
    found = [reader.read(Frame(7.5, link_type, frame)) for frame in frames]
    reader.finish()
    assert reader.num_packets == len(frames)
    return [datagram for datagram in found if datagram is not None], dict(reader.skipped)


@pytest.mark.parametrize("ip", [ipv4, ipv6])
@pytest.mark.parametrize("name", LINKS)
def test_a_datagram_is_read_with_its_addresses_behind_every_link_layer(name: str, ip: object) -> None:
    number, frame = LINKS[name]
    (datagram,), skipped = read(frame(ip(PACKET)), link_type=number)  # type: ignore[operator]
    host = "10.0.1.1" if ip is ipv4 else "[fd00::a00:101]"
    relay = "10.0.0.9" if ip is ipv4 else "[fd00::a00:9]"
    assert (datagram.data, datagram.time_s, datagram.number, datagram.missing_bytes) == (PACKET.data, 7.5, 1, 0)
    assert (str(datagram.flow.source), str(datagram.flow.target)) == (f"{host}:40000", f"{relay}:24545")
    assert skipped == {}


def test_one_pair_of_addresses_is_one_flow_and_numbers_count_packets() -> None:
    found, _ = read(ipv4(PACKET), b"", ipv4(PACKET), ipv4(PACKET._replace(source=("10.0.1.1", 40_001))))
    assert [datagram.number for datagram in found] == [1, 3, 4]
    assert found[0].flow is found[1].flow is not found[2].flow


def test_options_of_both_ip_versions_are_passed_over() -> None:
    plain = ipv4(PACKET)
    with_options = b"\x46" + plain[1:2] + struct.pack(">H", len(plain) + 4) + plain[4:20] + b"\x01" * 4 + plain[20:]
    found, _ = read(with_options, ipv6(PACKET, options=True))
    assert [datagram.data for datagram in found] == [PACKET.data] * 2


def fragments(version: int, sizes: list[int]) -> list[bytes]:
    """The datagram in fragments of these sizes, in order."""
    body, at, pieces = udp(PACKET), 0, []
    for size in sizes:
        more = at + size < len(body)
        make = ipv4 if version == 4 else ipv6
        pieces.append(make(PACKET, body[at : at + size], offset=at, more=more))  # type: ignore[operator]
        at += size
    return pieces


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("seed", range(6))
def test_fragments_are_put_together_in_any_order_also_if_some_come_twice(version: int, seed: int) -> None:
    pieces = fragments(version, [64, 8, 80, 56])
    shuffled = pieces + Random(seed).sample(pieces[:3], 2)
    Random(seed).shuffle(shuffled)
    found, _ = read(*shuffled)
    assert PACKET.data in [datagram.data for datagram in found] and len(found) <= 2


def test_a_fragment_that_looks_like_a_whole_datagram_is_still_a_fragment() -> None:
    inner = udp(PACKET._replace(data=b"not a datagram"))
    packet = PACKET._replace(data=bytes(8) + inner + bytes(2))
    body = udp(packet)
    found, skipped = read(ipv4(packet, body[:16], more=True), ipv4(packet, body[16:38], offset=16, more=True))
    assert body[16:38] == inner and found == [] and sum(skipped.values()) == 2


@pytest.mark.parametrize("version", [4, 6])
def test_fragments_of_a_datagram_that_never_becomes_whole_are_counted(version: int) -> None:
    found, skipped = read(*fragments(version, [64, 8, 80, 56])[1:])
    assert found == [] and skipped == {"IP fragment of a datagram that never became whole": 3}


def test_unfinished_datagrams_are_capped_and_the_oldest_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "MAX_UNFINISHED", 3)
    begins = [ipv4(PACKET._replace(source=(f"10.0.2.{n}", 5)), udp(PACKET)[:64], more=True) for n in range(5)]
    reader = PacketReader()
    for begin in begins:
        reader.read(Frame(0.0, RAW, begin))
    assert reader.skipped == {"IP fragment of a datagram that never became whole": 2}
    last = ipv4(PACKET._replace(source=("10.0.2.4", 5)), udp(PACKET)[64:], offset=64)
    assert reader.read(Frame(0.0, RAW, last)) is not None


def test_flows_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "MAX_FLOWS", 3)
    reader = PacketReader()
    for port in range(10, 15):
        datagram = reader.read(Frame(0.0, RAW, ipv4(PACKET._replace(source=("10.0.1.1", port)))))
        assert datagram is not None and datagram.flow.source.port == port


@pytest.mark.parametrize("ip", [ipv4(PACKET), ipv6(PACKET)], ids=["IPv4", "IPv6"])
def test_a_snap_length_leaves_a_datagram_that_says_how_much_is_missing(ip: bytes) -> None:
    for missing in range(1, len(PACKET.data) + 1):
        (datagram,), _ = read(ip[: len(ip) - missing])
        assert datagram.data == PACKET.data[: len(PACKET.data) - missing] and datagram.missing_bytes == missing


@pytest.mark.parametrize(
    ("frame", "link_type", "why"),
    [
        (b"", RAW, "not IP"),
        (b"\x17" * 40, RAW, "not IP"),
        (ipv4(PACKET)[:19], RAW, CUT_BEFORE),
        (ipv6(PACKET)[:39], RAW, CUT_BEFORE),
        (ipv6(PACKET, options=True)[:44], RAW, CUT_BEFORE),
        (ipv4(PACKET)[:27], RAW, "cut off before its UDP header ends"),
        (ipv4(PACKET, protocol=6), RAW, "not UDP"),
        (ipv4(PACKET, protocol=6, more=True), RAW, "not UDP"),
        (b"\x44" + ipv4(PACKET)[1:], RAW, "IP lengths do not fit"),
        (ipv4(PACKET)[:24] + b"\x00\x07" + ipv4(PACKET)[26:], RAW, "UDP length does not fit"),
        (ipv4(PACKET)[:24] + b"\x01\x07" + ipv4(PACKET)[26:], RAW, "UDP length does not fit"),
        (ipv4(PACKET, udp(PACKET)[:64], more=True)[:50], RAW, "IP fragment that the capture cut off"),
        (ipv4(PACKET), 105, "link type 105, which is not supported"),
    ],
)
def test_what_holds_no_datagram_is_counted_by_what_it_is(frame: bytes, link_type: int, why: str) -> None:
    assert read(frame, link_type=link_type) == ([], {why: 1})


@given(st.binary(max_size=120), st.sampled_from([0, 1, 12, 101, 108, 113, 228, 276]), st.integers(0, 3))
@settings(max_examples=500, deadline=None)
def test_no_bytes_raise(data: bytes, link_type: int, version: int) -> None:
    frame = (b"", b"\x45", b"\x60", b"\x46")[version] + data
    found, skipped = read(frame, link_type=link_type)
    assert len(found) + sum(skipped.values()) == 1


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_packets_raise_nothing(data: st.DataObject) -> None:
    whole = bytearray(
        data.draw(st.sampled_from([ipv4(PACKET), ipv6(PACKET), ipv6(PACKET, options=True), *fragments(4, [64, 144])]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 70))] = data.draw(st.integers(0, 255))
    datagrams, skipped = read(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    assert len(datagrams) + sum(skipped.values()) == 1  # shown or counted
