"""All that an engine receives and sends is in the capture, as it was but for its secrets."""

import numpy as np
import pytest

from protocol import codec
from protocol.constants import MAX_DATAGRAM_BYTES, Kind
from relay.addresses import pack_address, unpack_address
from relay.batch import ROW_BYTES, Batch
from relay.capture import blocks as blocks_module
from relay.capture import tap as tap_module
from relay.capture.blocks import Framer
from relay.capture.pseudonyms import Pseudonyms
from relay.capture.scrub import scrub_datagram
from relay.capture.tap import Tap
from relay.egress import nothing, with_answers
from tests.relay.capture.captures import EPOCH_S, HEAD, KEY, RELAY, CapturedBench, Memory, Packet, play, read


def expected(bench: CapturedBench) -> list[tuple[bytes, tuple[str, int], bool]]:
    """What the capture must hold: scrubbed one by one."""
    names = Pseudonyms(KEY)
    return [
        (scrub_datagram(data, names, blank_texts=False), unpack_address(address)[:2], is_sent)
        for data, address, is_sent in bench.truth
    ]


def shape(packets: list[Packet]) -> list[tuple[bytes, tuple[str, int], bool]]:
    return [(p.payload, p.target if p.is_sent else p.source, p.is_sent) for p in packets]


@pytest.mark.parametrize("seed", range(3))
def test_every_datagram_of_a_game_is_captured_in_order(seed: int) -> None:
    bench = CapturedBench()
    play(bench, rooms=3, players=4, seed=seed)
    wanted = expected(bench)
    assert shape(bench.captured()) == wanted
    assert len(wanted) > 200


def test_no_pass_of_a_game_leaves_a_secret_in_the_file() -> None:
    bench = CapturedBench()
    rooms = play(bench)
    engine = bench.engine
    secrets = []
    for client in (client for room in rooms for client in room):
        session = int(engine.world.sessions.table.id[client.row])
        secrets += [session.to_bytes(8, "little"), engine.world.sessions.secret[client.row]]
        secrets.append(client.welcome.reset_token)
    bench.captured()
    assert not any(secret in bench.memory.blocks for secret in secrets)
    truth = b"".join(data for data, _, _ in bench.truth)
    assert all(secret in truth for secret in secrets)  # so they would have been found


def test_the_time_of_a_datagram_is_that_of_its_pass() -> None:
    bench = CapturedBench()
    bench.join()
    bench.now = 1234.567891
    bench.receive((codec.encode(Kind.PING, shard=0, nonce=5), pack_address("10.1.1.1", 5)))
    assert bench.captured()[-1].at_s == pytest.approx(EPOCH_S + 1234.567891, abs=2e-6)


def test_small_batches_wait_for_each_other_and_a_full_stage_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "STAGE_BYTES", 3_000)
    memory = Memory()
    tap = Tap(Framer(*RELAY), Pseudonyms(KEY), memory.write, epoch_s=EPOCH_S)
    payloads = [bytes([Kind.DATA]) + bytes(25) + bytes([n]) * 500 for n in range(20)]
    sizes = []
    for payload in payloads:
        batch = Batch(1)
        batch.append(payload, pack_address("10.0.0.1", 1))
        tap.on_received(batch, 0.0)
        sizes.append(len(memory.blocks))
    assert sizes[:4] == [0] * 4 and sizes[-1] > 0
    tap.complete()
    assert [packet.payload[26:] for packet in read(HEAD + memory.blocks)] == [data[26:] for data in payloads]
    tap.complete()
    assert len(read(HEAD + memory.blocks)) == 20


def test_what_is_too_long_too_short_or_unknown_is_captured_too() -> None:
    bench = CapturedBench()
    address = pack_address("2001:db8::1", 77)
    for payload in (b"", b"\x10", bytes([200]) * 30, bytes([Kind.DATA]) * (MAX_DATAGRAM_BYTES + 1)):
        bench.receive((payload, address))
    packets = bench.captured()
    assert [len(packet.payload) for packet in packets] == [0, 1, 30, MAX_DATAGRAM_BYTES + 1]
    assert {packet.source for packet in packets} == {("2001:db8::1", 77)}


def test_a_row_is_read_no_further_than_it_goes() -> None:
    """The kernel says how long a datagram was that it cut; a transport may hand that on."""
    memory = Memory()
    tap = Tap(Framer(*RELAY), Pseudonyms(KEY), memory.write, epoch_s=EPOCH_S)
    batch = Batch(1)
    batch.append(bytes(10), pack_address("10.0.0.1", 1))
    batch.length[0] = 9_000
    tap.on_received(batch, 0.0)
    tap.complete()
    assert [len(packet.payload) for packet in read(HEAD + memory.blocks)] == [ROW_BYTES]


def test_what_was_held_back_gives_no_second_share_of_cold_datagrams(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the time at which it came, and from there the clock seemed to run once more."""
    monkeypatch.setattr(tap_module, "COLD_PER_S", 10)
    memory = Memory()
    tap = Tap(Framer(*RELAY), Pseudonyms(KEY), memory.write, epoch_s=EPOCH_S)
    batch = Batch(20)
    for _ in range(20):
        batch.append(codec.encode(Kind.PING, shard=7, nonce=2**63), pack_address("10.0.0.1", 1))
    for now in (5.0, 4.0, 5.0):
        tap.on_received(batch, now)
        tap.complete()
    packets = read(HEAD + memory.blocks)
    assert [sum(any(p.payload[2:]) for p in packets[k : k + 20]) for k in (0, 20, 40)] == [10, 0, 0]


def test_a_flood_of_cold_datagrams_is_captured_but_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_module, "COLD_PER_S", 100)
    memory = Memory()
    tap = Tap(Framer(*RELAY), Pseudonyms(KEY), memory.write, epoch_s=EPOCH_S)
    ping = codec.encode(Kind.PING, shard=7, nonce=2**63)
    for second in range(4):
        batch = Batch(180)
        for _ in range(180):
            batch.append(ping, pack_address("10.0.0.1", 1))
        tap.on_received(batch, float(second))
        tap.complete()
    packets = read(HEAD + memory.blocks)
    assert len(packets) == 4 * 180 and {len(packet.payload) for packet in packets} == {len(ping)}
    is_whole = [packet.payload[2:6] == b"TKRL" for packet in packets]
    assert [sum(is_whole[n : n + 180]) for n in range(0, 720, 180)] == [100] * 4
    assert all(packet.payload[:2] == ping[:2] for packet in packets)


def test_nothing_is_nothing() -> None:
    memory = Memory()
    tap = Tap(Framer(*RELAY), Pseudonyms(KEY), memory.write, epoch_s=EPOCH_S)
    tap.on_received(Batch(1), 0.0)
    tap.on_sent(nothing(), 0.0)
    tap.complete()
    assert memory.blocks == b""


def test_an_answer_in_one_piece_is_captured_beside_updates_in_many() -> None:
    memory = Memory()
    tap = Tap(Framer(*RELAY), Pseudonyms(KEY), memory.write, epoch_s=EPOCH_S)
    pong = codec.encode(
        Kind.PONG, shard=0, nonce=1, revision_min=1, revision_max=1, release=bytes(16), tick_rate=30, load_percent=1,
        players=1, max_players=2, rooms=1, later=b"",
    )  # fmt: skip
    tap.on_sent(with_answers([(pack_address("10.0.0.1", 9), pong)] * 3, nothing()), 1.0)
    tap.complete()
    packets = read(HEAD + memory.blocks)
    assert len(packets) == 3 and all(packet.payload[10:] == pong[10:] for packet in packets)


def test_redaction_leaves_no_word_in_the_file() -> None:
    bench = CapturedBench(redact_text=True)
    play(bench)
    bench.captured()
    truth = b"".join(data for data, _, _ in bench.truth)
    for word in (b"a message ", b"a signal "):
        assert word in truth and word not in bench.memory.blocks
    lengths = [len(data) for data, _, _ in bench.truth]
    assert [len(packet.payload) for packet in read(HEAD + bench.memory.blocks)] == lengths


def test_the_batch_is_left_as_it_was() -> None:
    memory = Memory()
    tap = Tap(Framer(*RELAY), Pseudonyms(KEY), memory.write, epoch_s=EPOCH_S, redact_text=True)
    batch = Batch(2)
    payload = bytes([Kind.DATA]) + bytes(range(1, 60))
    batch.append(payload, pack_address("10.0.0.1", 1))
    before = batch.data.copy(), batch.length.copy(), batch.address.copy()
    tap.on_received(batch, 0.0)
    tap.complete()
    after = batch.data, batch.length, batch.address
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
