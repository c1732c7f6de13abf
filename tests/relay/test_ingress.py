"""The receive checks of SPEC 11: the first that fails drops the datagram, counts one reason, and changes nothing."""

from random import Random

import numpy as np
import pytest

from protocol import dtypes
from protocol.constants import MAX_SECTIONS, WINDOW, DataSection, Kind, Target
from protocol.drops import DropReason
from relay import ingress
from relay.batch import ROW_BYTES, Batch
from relay.stats import Stats
from tests.relay.bench import Bench, Client, Datagram, ids, section, states_section

STATE = DataSection.STATE
BITS = DataSection.LOG_BITS


def batch_of(*payloads: bytes) -> Batch:
    batch = Batch(max(1, len(payloads)))
    for payload in payloads:
        batch.append(payload, bytes(28))
    return batch


def dropped_by(bench: Bench, *datagrams: Datagram) -> dict[str, int]:
    """Hand datagrams over and return what was dropped of them."""
    before = bench.dropped()
    bench.receive(*datagrams)
    return {name: n - before.get(name, 0) for name, n in bench.dropped().items() if n != before.get(name, 0)}


def state(count: int, stride: int, body_count: int | None = None, extra: bytes = b"") -> bytes:
    """Build a STATE section whose header may say something else than its body."""
    header = dtypes.STATE_HEADER.encode(0, count, stride)
    return section(STATE, header + (bytes(2) + bytes(stride)) * (count if body_count is None else body_count) + extra)


def message(
    target: int = 0, count: int = 0, players: int | None = None, payload: int = 4, kind: int = 1, more: int = 0
) -> bytes:
    header = dtypes.MESSAGE_HEADER.encode(1, kind, 0, 0, target, count, more)
    return section(DataSection.MESSAGE, header + bytes(2 * (count if players is None else players)) + bytes(payload))


def signal(fragment: int = 0, target: int = 0, count: int = 0, payload: int = 4, kind: int = 1) -> bytes:
    header = dtypes.SIGNAL_UP_HEADER.encode(kind, 0, 0, fragment, target, count, 1, 0)
    return section(DataSection.SIGNAL, header + bytes(2 * count) + bytes(payload))


# --- steps 1, 2 and 4


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "TOO_SHORT"),
        (b"\x10", "TOO_SHORT"),
        (bytes([Kind.DATA]) + bytes(24), "TOO_SHORT"),
        (bytes([Kind.DATA]) + bytes(1200), "TOO_LONG"),
        (bytes([Kind.DATA]) + bytes(60_000), "TOO_LONG"),
        (bytes([Kind.HELLO]) + bytes(1200), "TOO_LONG"),
        (bytes([Kind.DATA]) + bytes(25), "UNKNOWN_SESSION"),
    ],
)
def test_a_datagram_of_an_impossible_size_is_dropped_for_it(payload: bytes, reason: str) -> None:
    bench = Bench()
    assert dropped_by(bench, (payload, bytes(28))) == {reason: 1}


@pytest.mark.parametrize("kind", [n for n in range(256) if n not in (1, 3, 7, 9, 12, 13, 16)])
def test_only_kinds_that_a_client_sends_are_looked_at(kind: int) -> None:
    bench = Bench()
    assert dropped_by(bench, (bytes([kind]) + bytes(200), bytes(28))) == {"UNKNOWN_KIND": 1}
    assert bench.flush() == 0


def test_a_batch_is_sorted_into_data_cold_kinds_and_the_rest() -> None:
    kinds = [Kind.DATA, Kind.HELLO, 200, Kind.DATA, Kind.BYE, Kind.JOIN, Kind.PING, Kind.PATH_RESPONSE, Kind.UPDATE]
    stats = Stats()
    hot, cold = ingress.split_kinds(batch_of(*[bytes([kind]) + bytes(50) for kind in kinds]), stats)
    assert hot.tolist() == [0, 3] and cold.tolist() == [1, 4, 5, 6, 7]
    assert stats.dropped == {DropReason.UNKNOWN_KIND: 2}


def test_rows_behind_the_count_and_bytes_behind_the_length_are_of_earlier_batches() -> None:
    batch = batch_of(bytes([Kind.DATA]) + bytes(50), bytes([Kind.DATA]) + bytes(50))
    batch.clear()
    batch.append(b"\x01", bytes(28))
    stats = Stats()
    hot, cold = ingress.split_kinds(batch, stats)
    assert len(hot) == len(cold) == 0 and stats.dropped == {DropReason.TOO_SHORT: 1}


def test_an_empty_batch_passes_every_check() -> None:
    bench = Bench()
    bench.join()
    assert dropped_by(bench) == {}
    stats, sessions, rooms = Stats(), bench.engine.world.sessions, bench.engine.world.rooms
    received = ingress.read_headers(batch_of(), np.zeros(0, np.int64), stats)
    received, unknown = ingress.find_sessions(received, sessions, stats)
    received = ingress.check_window(received, sessions, stats)
    received = ingress.check_acks(received, sessions, rooms, stats)
    received = ingress.check_sections(received, sessions, rooms, stats)
    assert len(received.session) == len(unknown.session) == 0 and not stats.dropped


# --- step 5


def test_datagrams_come_out_by_session_and_else_as_they_arrived() -> None:
    bench = Bench()
    one, two = bench.join(), bench.join()
    sent = [two.data(), one.data(), two.data(), (b"\x10" + bytes(40), bytes(28)), one.data(seq=9), one.data(seq=5)]
    batch = batch_of(*[payload for payload, _ in sent])
    received = ingress.read_headers(batch, np.arange(len(sent)), Stats())
    known, unknown = ingress.find_sessions(received, bench.engine.world.sessions, bench.engine.stats)
    assert known.session.tolist() == [one.row] * 3 + [two.row] * 2
    assert known.header["seq"].tolist() == [1, 9, 5, 1, 2]
    assert (known.at // ROW_BYTES).tolist() == [1, 4, 5, 0, 2] and (unknown.at // ROW_BYTES).tolist() == [3]
    assert bench.dropped() == {"UNKNOWN_SESSION": 1}


def test_the_session_of_a_row_that_was_used_again_is_unknown() -> None:
    bench = Bench()
    client = bench.join()
    old = client.data()
    bench.receive(client.bye())
    newcomer = bench.join()
    assert newcomer.row == 0
    assert dropped_by(bench, old) == {"UNKNOWN_SESSION": 1}


# --- step 7


def test_what_is_64_or_more_behind_the_newest_is_too_old() -> None:
    bench = Bench()
    client = bench.join()
    client.say(seq=200)
    assert dropped_by(bench, client.data(seq=200 - WINDOW)) == {"TOO_OLD": 1}
    assert dropped_by(bench, client.data(seq=200 - WINDOW + 1)) == {}
    assert dropped_by(bench, client.data(seq=100)) == {"TOO_OLD": 1}


def test_the_first_seq_is_1_and_nothing_is_before_it() -> None:
    bench = Bench()
    client = bench.join()
    assert dropped_by(bench, client.data(seq=0)) == {"TOO_OLD": 1}
    assert dropped_by(bench, client.data(seq=65_535)) == {"TOO_OLD": 1}  # the nearest number is -1
    assert dropped_by(bench, client.data(seq=1)) == {}


def test_a_datagram_is_taken_once() -> None:
    bench = Bench()
    client = bench.join()
    late = client.data(seq=5)
    assert dropped_by(bench, client.data(seq=9)) == {}
    assert dropped_by(bench, late) == {}
    assert dropped_by(bench, late, client.data(seq=9)) == {"DUPLICATE": 2}


def test_seqs_go_on_over_16_bits() -> None:
    bench = Bench(datagrams_per_s=65_535)
    client = bench.join()
    table = bench.engine.world.sessions.table
    for seq in (30_000, 60_000, 65_535, 65_536, 65_540, 98_000, 130_000):
        bench.now += 1.0
        assert dropped_by(bench, client.data(seq=seq)) == {}
        assert table.recv_newest[client.row] == seq
    assert dropped_by(bench, client.data(seq=130_000)) == {"DUPLICATE": 1}
    assert dropped_by(bench, client.data(seq=130_000 - 64)) == {"TOO_OLD": 1}


# --- step 8


def test_an_ack_of_what_was_never_sent_drops_the_datagram() -> None:
    bench = Bench()
    client = bench.join()
    bench.tick()
    sent = len(bench.take(client.address))
    assert sent >= 1
    assert dropped_by(bench, client.data(ack=sent, flags=0)) == {}
    assert dropped_by(bench, client.data(ack=sent + 1, flags=0)) == {"BAD_ACK": 1}
    assert dropped_by(bench, client.data(ack=0, flags=0)) == {"BAD_ACK": 1}
    assert dropped_by(bench, client.data(ack=sent + 1, flags=1)) == {}  # means nothing there


def test_a_log_cursor_that_is_not_in_the_log_drops_the_datagram() -> None:
    bench = Bench()
    bench.join()
    client = bench.join()
    start = client.welcome.log_index
    head = int(bench.engine.world.rooms.table.log_head[client.room_row])
    assert start == 3 and head > start
    assert dropped_by(bench, client.data(log_cursor=start)) == {}
    assert dropped_by(bench, client.data(log_cursor=head)) == {}
    assert dropped_by(bench, client.data(log_cursor=start - 1)) == {"BAD_ACK": 1}
    assert dropped_by(bench, client.data(log_cursor=head + 1)) == {"BAD_ACK": 1}
    assert dropped_by(bench, client.data(log_cursor=0xFFFFFFFF)) == {"BAD_ACK": 1}


# --- step 9

GOOD = {
    "no section": b"",
    "unknown type": section(200, b"anything"),
    "unknown and empty": section(0, b""),
    "one state": state(1, 8),
    "255 removals": state(255, 0),
    "the longest states": state(3, 32),
    "one word of bits": section(BITS, bytes(4)),
    "eight words of bits": section(BITS, bytes(32)),
    "an empty message": message(payload=0),
    "a message for one": message(Target.ONE, 1),
    "a message for all but one": message(Target.ALL_BUT, 1),
    "a message for a list of 255": message(Target.LIST, 255),
    "the largest message": message(payload=1024),
    "kind 127": message(kind=127),
    "a fragment": message(more=1, payload=1),
    "an empty signal": signal(payload=0),
    "the largest signal": signal(payload=1024),
    "the last of 8 fragments": signal(fragment=0x77),
    "the first of 8 fragments": signal(fragment=0x70),
    "24 sections": section(200, b"") * MAX_SECTIONS,
}
BAD = {
    "a header cut off": b"\x01\x02",
    "one byte": b"\xc8",
    "a length beyond the end": b"\xc8\x05\x00abcd",
    "25 sections": section(200, b"") * (MAX_SECTIONS + 1),
    "states: no header": section(STATE, b"\0\0\x01"),
    "states: count 0": state(0, 8),
    "states: fewer than counted": state(2, 8, body_count=1),
    "states: more than counted": state(1, 8, body_count=2),
    "states: a byte too many": state(1, 8, extra=b"x"),
    "states: longer than the room permits": state(1, 33),
    "bits: none": section(BITS, b""),
    "bits: half a word": section(BITS, bytes(6)),
    "bits: nine words": section(BITS, bytes(36)),
    "bits: twice": section(BITS, bytes(4)) * 2,
    "message: no header": section(DataSection.MESSAGE, bytes(7)),
    "message: kind 0": message(kind=0),
    "message: a kind of the server's": message(kind=128),
    "message: kind 255": message(kind=255),
    "message: too large": message(payload=1025),
    "message: ids beyond its end": message(Target.LIST, 9, players=2, payload=0),
    "message: all with an id": message(Target.ALL, 1),
    "message: all but nobody": message(Target.ALL_BUT, 0),
    "message: all but two": message(Target.ALL_BUT, 2),
    "message: one of none": message(Target.ONE, 0),
    "message: one of two": message(Target.ONE, 2),
    "message: an empty list": message(Target.LIST, 0),
    "message: an unknown target": message(4, 1),
    "message: target 255": message(255, 1),
    "message: more than more": message(more=2),
    "message: an empty fragment": message(more=1, payload=0),
    "signal: no header": section(DataSection.SIGNAL, bytes(9)),
    "signal: kind 0": signal(kind=0),
    "signal: kind 128": signal(kind=128),
    "signal: too large": signal(payload=1025),
    "signal: fragment behind the last": signal(fragment=0x01),
    "signal: 9 fragments": signal(fragment=0x80),
    "signal: an unknown target": signal(target=9, count=1),
    "signal: one of none": signal(target=Target.ONE),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_well_formed_datagram_is_accepted(name: str) -> None:
    bench = Bench()
    client = bench.join(max_state_bytes=32)
    reasons = dropped_by(bench, client.data(GOOD[name]))
    assert "BAD_SECTION" not in reasons
    assert bench.engine.world.sessions.table.recv_newest[client.row] == 1


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_section_drops_its_datagram_whole_and_unacknowledged(name: str) -> None:
    bench = Bench()
    client, other = bench.join(max_state_bytes=32), bench.join()
    good = client.state(b"taken?") + client.message(b"taken?") + client.signal(b"taken?")
    at_end = client.data(good, BAD[name]) if len(BAD[name]) < 900 else client.data(BAD[name])
    assert dropped_by(bench, at_end, other.data(other.state(b"other"))) == {"BAD_SECTION": 1}
    table = bench.engine.world.sessions.table
    assert table.recv_newest[[client.row, other.row]].tolist() == [0, 1]
    assert bench.engine.room_table("ROOM") == {1: b"other"}
    assert table.message_accepted[client.row] == 0 and bench.engine.world.signals.num_queued == 0


def test_the_state_that_is_too_long_is_so_by_the_rooms_own_limit() -> None:
    bench = Bench()
    small, large = bench.join(code="SMALL", max_state_bytes=8), bench.join(code="LARGE", max_state_bytes=9)
    assert dropped_by(bench, small.data(state(1, 9)), large.data(state(1, 9))) == {"BAD_SECTION": 1}
    assert bench.engine.room_table("LARGE") == {0: bytes(9)} and bench.engine.room_table("SMALL") == {}


def test_a_section_at_the_very_end_of_the_longest_datagram_is_read_within_it() -> None:
    bench = Bench()
    client = bench.join()
    filler = section(200, bytes(1200 - 26 - 3 - 3))
    for kind in (STATE, DataSection.MESSAGE, DataSection.SIGNAL):
        payload, address = client.data(filler, section(kind, b""))
        assert len(payload) == 1200
        assert dropped_by(bench, (payload, address)) == {"BAD_SECTION": 1}


def test_a_datagram_is_not_completed_by_what_an_earlier_one_left_in_its_row() -> None:
    bench = Bench()
    client = bench.join(max_state_bytes=8)
    whole, address = client.data(states_section([(0, b"12345678")]))
    batch = Batch(1)
    batch.append(whole, address)
    bench.engine.receive(batch, bench.now)
    batch.clear()
    cut_off, _ = client.data(states_section([(0, b"abcdefgh")]))
    batch.append(cut_off[:-4], address)
    bench.engine.receive(batch, bench.now)
    assert bench.dropped() == {"BAD_SECTION": 1}
    assert bench.engine.room_table("ROOM") == {0: b"12345678"}


def test_what_is_checked_first_is_what_is_counted() -> None:
    bench = Bench(datagrams_per_s=10)
    client = bench.join()
    client.say(seq=100)
    bad = section(STATE, b"")
    assert dropped_by(bench, client.data(bad, seq=100, ack=9, flags=0)) == {"DUPLICATE": 1}
    assert dropped_by(bench, client.data(bad, seq=101, ack=9, flags=0)) == {"BAD_ACK": 1}
    assert dropped_by(bench, client.data(bad, seq=101)) == {"BAD_SECTION": 1}
    bench.receive(*[client.data(seq=200 + n) for n in range(10)])
    assert dropped_by(bench, client.data(bad, seq=100)) == {"OVER_RATE": 1}


@pytest.mark.parametrize("seed", range(5))
def test_nothing_raises_whatever_the_bytes(seed: int) -> None:
    rng = Random(seed)
    bench = Bench(datagrams_per_s=65_535, bytes_per_s=2**31)
    clients = [bench.join(code=f"R{n % 3}", entities_per_player=4) for n in range(6)]

    def noise(client: Client) -> Datagram:
        payload, address = client.data(*[rng.choice([*GOOD.values(), *BAD.values()]) for _ in range(rng.randint(0, 4))])
        damaged = bytearray(payload[: rng.choice((len(payload), rng.randint(0, len(payload))))])
        for _ in range(rng.choice((0, 0, 1, 3))):
            if damaged:
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        return bytes(damaged), address

    for _ in range(30):
        sent = [noise(rng.choice(clients)) for _ in range(rng.randint(0, 60))]
        accepted_or_dropped = bench.counted("datagrams_in")
        bench.receive(*sent)
        assert bench.counted("datagrams_in") == accepted_or_dropped + len(sent)
        bench.flush()
        bench.tick()
    assert bench.engine.num_sessions == 6
    fresh = bench.join(code="R0")
    fresh.say(fresh.state(b"well"))
    assert b"well" in bench.engine.room_table("R0").values()


def test_ids_in_a_section_may_name_anybody() -> None:
    bench = Bench()
    client = bench.join()
    header = dtypes.MESSAGE_HEADER.encode(1, 1, 0, 0, Target.LIST, 2, 0)
    assert dropped_by(bench, client.data(section(DataSection.MESSAGE, header + ids([65_535, 511]) + b"x"))) == {}
