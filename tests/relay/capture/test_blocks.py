"""Blocks as two independent readers see them: the pcapng library, and headers checked byte by byte."""

import io
from random import Random

import pcapng
import pytest
from pcapng.blocks import InterfaceDescription, SectionHeader

from relay.addresses import pack_address
from relay.capture import blocks as module
from relay.capture.blocks import Framer, Stage, build_file_head
from tests.relay.capture.captures import HEAD, Packet, fill, payloads_of, read

V4 = pack_address("192.0.2.7", 50_001)
V6 = pack_address("2001:db8::7", 50_002, 3)


def framed(payloads: list[bytes], addresses: list[bytes], is_sent: bool = False, host: str = "10.0.0.1") -> bytes:
    """Frame payloads as one batch."""
    stage = Stage()
    fill(stage, payloads, addresses, is_sent, at_us=5_000_000)
    blocks = stage.take()
    Framer(host, 24_545).write_headers(blocks)
    return blocks.buffer.tobytes()


def packets_of(data: bytes) -> list[Packet]:
    return read(HEAD + data)


def test_a_file_begins_with_who_wrote_it_and_one_interface_of_raw_ip() -> None:
    section, interface = pcapng.FileScanner(io.BytesIO(build_file_head("tickrelay 1.2", "read me, ü")))
    assert isinstance(section, SectionHeader) and isinstance(interface, InterfaceDescription)
    assert section.version == (1, 0) and section.options["shb_userappl"] == "tickrelay 1.2"
    assert section.options["opt_comment"] == "read me, ü"
    assert interface.link_type == 101 and interface.timestamp_resolution == 1e-6


@pytest.mark.parametrize("address", [V4, V6])
def test_every_length_is_padded_and_comes_back_as_it_was(address: bytes) -> None:
    payloads = [Random(n).randbytes(n) for n in [*range(40), 1199, 1200, 1216]]
    packets = packets_of(framed(payloads, [address] * len(payloads)))
    assert [packet.payload for packet in packets] == payloads
    assert {packet.at_s for packet in packets} == {5.0}


def test_both_families_stand_in_one_batch_in_their_order() -> None:
    payloads = [b"one", b"three", b"\xff" * 7, b""]
    packets = packets_of(framed(payloads, [V4, V6, V4, V6]))
    assert [packet.payload for packet in packets] == payloads
    assert [packet.source for packet in packets] == [
        ("192.0.2.7", 50_001), ("2001:db8::7", 50_002), ("192.0.2.7", 50_001), ("2001:db8::7", 50_002),
    ]  # fmt: skip


def test_what_is_sent_has_source_and_target_the_other_way_round() -> None:
    (received,) = packets_of(framed([b"x"], [V4]))
    (sent,) = packets_of(framed([b"x"], [V4], is_sent=True))
    assert (received.source, received.target) == (("192.0.2.7", 50_001), ("10.0.0.1", 24_545))
    assert (sent.source, sent.target) == (received.target, received.source)


@pytest.mark.parametrize(("address", "own"), [(V4, "0.0.0.0"), (V6, "::")])
def test_a_relay_on_all_addresses_has_the_wildcard(address: bytes, own: str) -> None:
    (packet,) = packets_of(framed([b"x"], [address], host="::"))
    assert packet.target == (own, 24_545)


def test_a_checksum_that_comes_out_as_zero_is_written_as_all_ones() -> None:
    """To UDP over IPv6 zero would mean "none", which is not permitted."""
    (packet,) = packets_of(framed([bytes(2)], [V6]))
    assert packet.payload == bytes(2)
    base = framed([bytes(2)], [V6])
    at = 28 + 40 + 6
    total = int.from_bytes(base[at : at + 2], "big")  # what must be added to come out as zero
    wrapped = framed([total.to_bytes(2, "big")], [V6])
    assert wrapped[at : at + 2] == b"\xff\xff"
    assert len(packets_of(wrapped)) == 1


def test_batches_of_different_times_and_directions_wait_together() -> None:
    stage = Stage()
    fill(stage, [b"in"], [V4], False, at_us=1_000_001)
    fill(stage, [b"out", b"out 2"], [V6, V4], True, at_us=2**33 * 1_000)
    blocks = stage.take()
    assert stage.is_empty
    Framer("::", 24_545).write_headers(blocks)
    packets = packets_of(blocks.buffer.tobytes())
    assert [(packet.payload, packet.is_sent) for packet in packets] == [
        (b"in", False),
        (b"out", True),
        (b"out 2", True),
    ]
    assert [packet.at_s for packet in packets] == pytest.approx([1.000001, 2**33 / 1_000, 2**33 / 1_000])


def test_a_stage_says_when_it_is_full_and_takes_a_batch_larger_than_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STAGE_BYTES", 2_000)
    stage = Stage()
    assert fill(stage, [b"a" * 1_000], [V4])
    payloads = [bytes([n]) * 1_000 for n in range(4)]
    assert not fill(stage, payloads[:1], [V4]) and not fill(stage, payloads, [V4] * 4)
    assert payloads_of(stage.take()) == [b"a" * 1_000]
    assert fill(stage, payloads, [V4] * 4)
    blocks = stage.take()
    Framer("::", 24_545).write_headers(blocks)
    assert [packet.payload for packet in packets_of(blocks.buffer.tobytes())] == payloads


def test_space_that_was_used_before_leaves_nothing_in_the_padding() -> None:
    stage = Stage()
    fill(stage, [b"\xaa" * 600], [V6], False)
    stage.take().buffer[:] = 0xAA
    fill(stage, [b"abcde", b"abcdef", b"abcdefg"], [V6] * 3, False)
    blocks = stage.take()
    Framer("::", 24_545).write_headers(blocks)
    assert len(packets_of(blocks.buffer.tobytes())) == 3
    end = blocks.payload_at + blocks.length
    for stop, length in zip(end.tolist(), blocks.length.tolist(), strict=True):
        assert not blocks.buffer[stop : stop + -length % 4].any()
