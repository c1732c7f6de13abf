"""What a receive pass takes, of every kind of input that could be taken wrongly: the same as with columns.

Every call at these benches compares both engines; what is asserted beside that is that the case was met.
"""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("numba")

from protocol import dtypes
from protocol.constants import MAX_DATAGRAM_BYTES, DataSection, Kind, RequestKind
from relay.addresses import pack_address
from relay.batch import Batch
from tests.relay.bench import Bench, Client, ids, section, states_section
from tests.relay.loops.twins import twin_bench
from tests.sim.scale import FULL, scaled

ROOT = Path(__file__).resolve().parents[3]


def pair(**settings: int) -> tuple[Bench, Client, Client]:
    """Build a bench with two players in one room of 4 entities each, up to 20 bytes long."""
    bench = twin_bench(**settings)
    a, b = bench.join_all(2, max_players=4, entities_per_player=4, max_state_bytes=20)
    return bench, a, b


def go_on(bench: Bench, *clients: Client) -> None:
    """Let both engines answer, and everybody go on for a while: what is remembered wrongly shows later."""
    bench.flush()
    for number in range(4):
        bench.tick()
        bench.receive(*[client.data(client.state(bytes([number]))) for client in clients if not client.hear()])
        bench.receive(*[client.listen() for client in clients])
        bench.flush()


def states(bench: Bench) -> dict[int, bytes]:
    """Return the room's table."""
    return dict(bench.engine.room_table("ROOM"))


# --- budgets


def test_more_datagrams_than_the_budget_covers_and_the_rest_of_the_pass_unaffected() -> None:
    bench, a, b = pair(datagrams_per_s=10)
    bench.wait(1.0)
    before = bench.dropped().get("OVER_RATE", 0)
    flood = [a.data(a.state(bytes([n]))) for n in range(15)]
    bench.receive(*flood[:8], b.data(b.state(b"calm")), *flood[8:])
    assert bench.dropped()["OVER_RATE"] == before + 5
    assert states(bench) == {a.entity(): b"\x09", b.entity(): b"calm"}
    go_on(bench, a, b)


def test_more_bytes_than_the_budget_covers_and_the_rest_of_the_pass_unaffected() -> None:
    bench, a, b = pair(bytes_per_s=1200)
    bench.wait(1.0)
    large = [a.data(section(200, bytes(500))) for _ in range(4)]
    small = a.data(a.state(b"small"))  # would fit into what is left, but what was not covered counts too
    bench.receive(*large, small, b.data(b.state(b"calm")))
    assert bench.dropped()["OVER_BYTE_RATE"] == 3
    assert states(bench) == {b.entity(): b"calm"}
    go_on(bench, a, b)


@pytest.mark.parametrize("datagrams_per_s", [10, 13, 29])
def test_budgets_that_are_used_up_again_and_again_in_uneven_steps(datagrams_per_s: int) -> None:
    bench, a, b = pair(datagrams_per_s=datagrams_per_s, bytes_per_s=1500)
    rng = Random(datagrams_per_s)
    for _ in range(100):
        bench.now += rng.choice((0.0, 0.013, 0.1, 0.37))
        some = [c.data(section(200, bytes(rng.choice((0, 30, 400))))) for c in (a, b) for _ in range(rng.randrange(6))]
        rng.shuffle(some)
        bench.receive(*some)
        bench.flush()
        bench.tick()
    assert bench.dropped()["OVER_BYTE_RATE"]
    assert bench.dropped().get("OVER_RATE", 0) > 0 or datagrams_per_s == 29


# --- windows


def test_twins_and_what_is_older_than_the_window_within_one_batch() -> None:
    bench, a, b = pair()
    first = a.seq
    sections = [a.state(b"old"), a.state(b"twin"), a.state(b"other twin"), a.state(b"new")]
    old, twin, other, new = (a.data(part, seq=first + n) for part, n in zip(sections, (1, 30, 30, 65), strict=True))
    bench.receive(new, old, twin, b.data(b.state(b"b")), other, twin)
    assert (bench.dropped()["TOO_OLD"], bench.dropped()["DUPLICATE"]) == (1, 2)
    assert states(bench)[a.entity()] == b"new"
    a.seq = first + 65
    go_on(bench, a, b)


@pytest.mark.parametrize("order", ["reversed", "shuffled", "sessions mixed"])
def test_a_batch_in_another_order(order: str) -> None:
    bench, a, b = pair()
    datagrams = [c.data(c.state(b"%d" % n), c.signal(b"%d" % n)) for n in range(20) for c in (a, b)]
    if order == "reversed":
        datagrams.reverse()
    elif order == "shuffled":
        Random(5).shuffle(datagrams)
    bench.receive(*datagrams)
    assert states(bench) == {a.entity(): b"19", b.entity(): b"19"}
    go_on(bench, a, b)


def test_one_message_id_with_two_contents_in_datagrams_that_come_in_another_order() -> None:
    """Found by the fuzz (seed 3): of two messages of one id in one pass the columns took what arrived first, the
    loops that of the lower sequence number, so the members were sent another message. Both take the latter now.
    """
    bench, a, b = pair()
    one, two = (a.data(a.message(payload, message_id=a.message_id + 1)) for payload in (b"lower seq", b"other"))
    bench.receive(two, one)
    go_on(bench, a, b)
    assert [payload for _, payload in b.messages] == [b"lower seq"]


@pytest.mark.parametrize("jump", [1, 2, 31, 32, 33, 62, 63, 64, 65, 66, 127, 128, 1000, 32_000, 32_767, 32_768, 65_535])
def test_jumps_of_the_sequence_number(jump: int) -> None:
    bench, a, b = pair()
    start = a.seq
    bench.receive(a.data(a.state(b"jump"), seq=start + jump))
    went = jump < 32_768
    assert (not bench.dropped()) == went
    a.seq = start + jump if went else start
    behind = [a.data(a.state(b"%d" % n), seq=a.seq - n) for n in (0, 1, 2, 31, 32, 62, 63, 64, 65, 300) if a.seq > n]
    bench.receive(*behind)
    for datagram in reversed(behind):
        bench.receive(datagram, datagram)
    go_on(bench, a, b)


# --- acks


def test_acks_of_everything_that_was_and_was_not_sent() -> None:
    bench, a, b = pair()
    b.hear()
    for n in range(60):
        bench.receive(b.data(b.state(b"%d" % n)))
        bench.tick()
    sent = int(bench.engine.world.sessions.table.send_seq[a.row])
    acks = [0, 1, sent // 2, sent - 3, sent - 64, sent - 1, sent, sent + 1, sent + 300, 32_768, 65_535]
    bits = [0, 1, 0x8000_0000, 0xFFFF_FFFF, 0x5555_5555]
    for ack, ack_bits, delay, flags in product(acks, bits, (0, 254, 255), (0, 1, 2, 255)):
        header = {"ack": ack & 0xFFFF, "ack_bits": ack_bits, "ack_delay": delay, "flags": flags}
        bench.receive(a.data(**header), b.data(b.state(b"b")))
    assert bench.dropped()["BAD_ACK"]
    go_on(bench, a, b)


def test_an_ack_of_a_datagram_that_is_no_longer_remembered() -> None:
    bench, a, b = pair()
    table = bench.engine.world.sessions.table
    for round_number in range(80):  # beyond 40 only probes go to who acknowledges nothing, so that takes a while
        bench.receive(a.data(section(200, b""), flags=1), b.listen())
        bench.tick(1 if round_number < 45 else 7)
    assert table.send_seq[a.row] > table.acked_seq[a.row] + 70
    for behind in (70, 65, 64, 63, 1, 0):
        bench.receive(a.data(ack=(int(table.send_seq[a.row]) - behind) & 0xFFFF, ack_bits=0xFFFF_FFFF, flags=0))
    go_on(bench, a, b)


@pytest.mark.parametrize("cursor", [0, 1, 2, 3, 4, 5, 6, 7, 1000, 2**32 - 1])
def test_log_cursors(cursor: int) -> None:
    bench, a, b = pair()
    bench.receive(b.data(b.message(b"one"), b.message(b"two")))
    bench.receive(a.data(log_cursor=cursor), b.data(log_cursor=cursor))
    bench.receive(a.data(log_cursor=3), a.data(log_cursor=cursor))
    assert (bench.dropped().get("BAD_ACK", 0) > 0) == (not 3 <= cursor <= bench.engine.world.rooms.table.log_head[0])
    go_on(bench, a, b)


def test_log_bits_of_every_length_at_old_and_new_cursors() -> None:
    bench, a, b = pair()
    rng = Random(3)
    reported = 0
    for n in range(60):
        bench.receive(b.listen(), b.data(b.message(bytes(8))), b.data(b.signal(b"s", flags=2)))
        bench.flush()
        length = rng.choice((0, 1, 3, 4, 5, 8, 12, 16, 20, 24, 28, 31, 32, 33, 36, 40))
        bits = section(DataSection.LOG_BITS, rng.choice((b"\xff" * length, rng.randbytes(length), bytes(length))))
        twice = [bits, bits] if rng.random() < 0.1 else [bits]
        a.hear() if rng.random() < 0.2 else bench.take(a.address)
        behind = rng.choice((0, 0, 0, 1))
        bench.receive(a.data(a.state(b"%d" % n)), a.data(*twice, log_cursor=max(0, a.cursor - behind)))
        reported += int(bench.engine.world.sessions.table.log_bits[a.row].any())
        bench.tick()
    assert bench.dropped()["BAD_SECTION"] > 5
    assert reported > 5
    go_on(bench, a, b)


# --- sections


@pytest.mark.parametrize("count", [0, 1, 23, 24, 25, 26, 300])
def test_as_many_sections_as_there_may_be_and_more(count: int) -> None:
    bench, a, b = pair()
    bench.receive(a.data(*[section(200, b"")] * count), b.data(b.state(b"b")))
    bench.receive(a.data(a.state(b"x"), *[section(0, b"")] * max(0, count - 1)))
    assert bench.dropped().get("BAD_SECTION", 0) == (2 if count > 24 else 0)
    go_on(bench, a, b)


def test_unknown_sections_and_such_as_overrun() -> None:
    bench, a, b = pair()
    for kind in (0, 1, 2, 3, 4, 5, 6, 127, 200, 255):
        for claimed, real in (
            (0, 0),
            (1, 0),
            (0, 1),
            (0, 2),
            (5, 4),
            (4, 5),
            (5, 5),
            (1171, 1171),
            (1172, 1171),
            (65_535, 9),
        ):
            body = kind.to_bytes(1, "little") + claimed.to_bytes(2, "little") + bytes(real)
            bench.receive(a.data(body), a.data(a.state(b"x"), body[:120]), b.data())
    assert bench.dropped()["BAD_SECTION"] > 50
    go_on(bench, a, b)


def test_every_number_of_bytes_that_a_datagram_can_have() -> None:
    """The last row of a batch ends with its memory: a read beyond it would be one of other memory."""
    bench, a, b = pair()
    rng = Random(9)
    whole = a.data(a.state(bytes(20)), a.signal(bytes(900)), b"\x01\xff\xff" * 100)[0]
    for length in [*range(80), *range(960, 1000), *range(1190, 1206), 2000]:
        payload = (whole * 2)[:length]
        fresh = a.data()[0][2:4]
        payload = payload[:2] + fresh + payload[4:] if length >= 4 else payload
        bench.receive((payload, a.address), (rng.randbytes(length), a.address), (payload, a.address))
    assert bench.dropped()["TOO_SHORT"] and bench.dropped()["TOO_LONG"]
    go_on(bench, a, b)


def test_state_headers_right_and_wrong() -> None:
    bench, a, b = pair()
    own = a.entity().to_bytes(2, "little")
    for count, stride, size_off in product((0, 1, 2, 3, 255), (0, 1, 19, 20, 21, 255), (-2, -1, 0, 1, 2)):
        size = max(0, count * (2 + stride) + size_off)
        body = dtypes.STATE_HEADER.encode(0, count, stride) + (own + bytes(stride)) * count + bytes(2)
        bench.receive(a.data(section(DataSection.STATE, body[: dtypes.STATE_HEADER.size + min(size, 1100)])))
    for size in range(dtypes.STATE_HEADER.size + 1):
        bench.receive(a.data(section(DataSection.STATE, bytes(size))), b.data(b.state(b"x")))
    assert bench.dropped()["BAD_SECTION"] > 50
    assert len(states(bench)) == 2
    go_on(bench, a, b)


@pytest.mark.parametrize("kind", [DataSection.MESSAGE, DataSection.SIGNAL])
def test_headers_of_messages_and_signals_right_and_wrong(kind: DataSection) -> None:
    bench, a, b = pair(messages_per_s=60_000, signals_per_s=60_000, datagrams_per_s=60_000, bytes_per_s=2**31)
    record = dtypes.MESSAGE_HEADER if kind is DataSection.MESSAGE else dtypes.SIGNAL_UP_HEADER
    extra = "more" if kind is DataSection.MESSAGE else "fragment"
    datagrams = []
    for player_kind, target, count, value in product(
        (0, 1, 127, 128, 255), (0, 1, 2, 3, 4, 255), (0, 1, 2, 255), (0, 1, 2, 0x10, 0x21, 0x70, 0x77, 0x80, 0xFF)
    ):
        fields = dict.fromkeys(record.tuple._fields, 0) | {"kind": player_kind, "target": target, "target_count": count}
        fields |= {extra: value}
        for payload in (0, 1):
            body = record.encode(**fields) + ids([0, 1, 600][:count] if count < 9 else []) + bytes(payload)
            datagrams.append(a.data(section(kind, body)))
    for payload in (1023, 1024, 1025):
        fields = dict.fromkeys(record.tuple._fields, 0) | {"kind": 1}
        datagrams.append(a.data(section(kind, record.encode(**fields) + bytes(payload))))
    datagrams += [a.data(section(kind, bytes([1] * size))) for size in range(record.size + 3)]
    for start in range(0, len(datagrams), 30):
        bench.receive(*datagrams[start : start + 30])
        bench.flush()
    assert bench.dropped()["BAD_SECTION"] > 1000
    go_on(bench, a, b)


# --- states


def test_an_entity_written_twice_in_one_section_in_one_datagram_and_in_two_of_one_pass() -> None:
    bench, a, b = pair()
    entity = a.entity()
    bench.receive(a.data(states_section([(entity, b"1"), (entity, b"2")], 40)))
    assert states(bench)[entity] == b"2"
    bench.receive(a.data(states_section([(entity, b"3")], 50), states_section([(entity, b"4444")], 20)))
    assert states(bench)[entity] == b"4444"
    one, two = a.data(a.state(b"55"), a.state(b"66")), a.data(a.state(b"7"), a.state(b"8" * 20))
    bench.receive(two, one)
    assert states(bench)[entity] == b"8" * 20
    go_on(bench, a, b)


def test_an_entity_removed_and_written_in_one_pass() -> None:
    bench, a, b = pair()
    entity = a.entity()
    orders = [(b"x", b""), (b"", b"x"), (b"", b""), (b"x", b"", b"y"), (b"", b"x", b"")]
    for alive, order, apart in product((b"alive", b""), orders, (False, True)):
        bench.receive(a.data(states_section([(entity, alive)])))
        bench.tick()
        parts = [states_section([(entity, state)]) for state in order]
        bench.receive(*([a.data(part) for part in parts] if apart else [a.data(*parts)]))
        assert states(bench).get(entity, b"") == order[-1]
        go_on(bench, b)


def test_states_of_what_was_handed_over_count_once_their_sender_has_read_it() -> None:
    bench, a, b = pair()
    given = states_section([(a.entity(), b"early")])
    early, twice = b.data(given), b.data(given)
    a.say(a.request(RequestKind.GIVE_ENTITY, entity_id=a.entity(), owner=b.welcome.player_id))
    bench.receive(early, twice)
    assert states(bench).get(a.entity()) != b"early" and bench.dropped()["NOT_OWNER"] == 2
    bench.tick()
    late = b.data(given)
    bench.receive(b.listen())
    bench.receive(b.data(states_section([(a.entity(), b"read")])), late)
    assert states(bench)[a.entity()] == b"read" and bench.dropped()["NOT_OWNER"] == 3
    go_on(bench, a, b)


def test_entities_of_others_of_nobody_and_beyond_the_room() -> None:
    bench, a, b = pair()
    bench.receive(*[a.data(states_section([(n, b"x")])) for n in (*range(40), 255, 256, 511, 32_767, 32_768, 65_535)])
    assert (bench.dropped()["BAD_ENTITY"], bench.dropped()["NOT_OWNER"]) == (14, 28)
    bench.receive(a.data(states_section([(n, b"") for n in (a.entity(), b.entity(), 5, 65_535, a.entity())])))
    bench.receive(a.data(a.state(b"x"), states_section([(65_535, b"y")] * 100)), b.data(b.state(b"b")))
    go_on(bench, a, b)


@pytest.mark.parametrize("sample_ms", [0, 1, 999, 1000, 1001, 2000, 32_767, 32_768, 65_535])
def test_sample_times_are_clamped_alike(sample_ms: int) -> None:
    bench, a, b = pair()
    for _ in range(3):
        clock = bench.engine.world.clock_ms(bench.now)
        bench.receive(a.data(a.state(b"a", sample_ms=sample_ms)), b.data(b.state(b"b", sample_ms=clock - sample_ms)))
        samples = bench.engine.world.entities.table.sample_ms[[a.entity(), b.entity()]]
        assert (samples <= clock).all() and (samples >= clock - 1000).all()
        go_on(bench, a, b)
        bench.now += 3.7


# --- addresses, sessions, kinds


def test_datagrams_from_other_addresses() -> None:
    bench, a, b = pair()
    elsewhere = [pack_address(f"10.77.{n}.1", 7_000 + n) for n in range(3)]
    datagrams = [(a.data(a.state(b"%d" % n))[0], elsewhere[n % 3]) for n in range(9)]
    bench.receive(*datagrams[::-1], (b.data()[0], a.address), (a.data(seq=1)[0], elsewhere[0]))
    bench.flush()
    assert all(bench.take(address) for address in elsewhere[:1])
    last_word = bytearray(a.address)
    last_word[-1] ^= 1
    bench.receive((a.data()[0], bytes(last_word)))
    go_on(bench, a, b)


def test_sessions_that_are_not_there() -> None:
    bench, a, b = pair()
    own = a.welcome.session
    rows = bench.engine.world.sessions.table.rows
    unknown = [0, 1, own ^ 1, own ^ 1 << 20, own ^ 1 << 63, own | 0xFFFFF, rows, rows - 1, rows + 1, 2**64 - 1]
    unknown += [own & ~0xFFFFF | row for row in (rows - 1, rows, rows + 1, 0xFFFFF)]
    strangers = [pack_address(f"192.0.2.{n}", 99) for n in range(40)]
    bench.receive(*[(a.data(session=unknown[n % len(unknown)])[0], strangers[n]) for n in range(40)], b.data())
    assert bench.dropped()["UNKNOWN_SESSION"] == 40
    bench.flush()
    assert sum(bool(bench.take(stranger)) for stranger in strangers) == 16
    bench.receive(a.bye(), a.data(a.state(b"last")), b.data())
    bench.receive(a.data(), b.data())
    assert bench.dropped()["UNKNOWN_SESSION"] == 41
    go_on(bench, b)


@pytest.mark.parametrize("size", [0, 1, 2, 25, 26, 200, 1200, 1201])
def test_every_kind_there_can_be(size: int) -> None:
    bench, a, b = pair()
    stranger = pack_address("192.0.2.1", 9)
    for start in range(0, 256, 32):
        kinds = range(start, start + 32)
        bench.receive(*[((bytes([kind]) + a.data()[0][1:] + bytes(1200))[:size], stranger) for kind in kinds], b.data())
        bench.flush()
    not_taken = {0: "TOO_SHORT", 1: "TOO_SHORT", 1201: "TOO_LONG"}.get(size, "UNKNOWN_KIND")
    assert bench.dropped()[not_taken] > 200
    go_on(bench, a, b)


def test_cold_kinds_in_the_midst_of_others() -> None:
    bench, a, b = pair()
    new = Client(bench)
    cookie = new.get_cookie()
    ping = bytes([Kind.PING]) + bytes(127)
    bench.receive(
        a.data(a.state(b"1")), (new.join_datagram(cookie), new.address), b.data(b.message(b"m")), (ping, a.address),
        a.data(a.signal(b"s")), b.bye(), (new.hello(), new.address), a.data(a.state(b"2")), b.data(b.state(b"b")),
    )  # fmt: skip
    bench.flush()
    assert bench.engine.num_sessions == 2
    go_on(bench, a)


def test_an_empty_batch() -> None:
    bench, a, b = pair()
    bench.receive()
    bench.engine.receive(Batch(64), bench.now)
    go_on(bench, a, b)
    empty = twin_bench()
    empty.receive()
    empty.flush()
    empty.tick()
    assert (bench.dropped(), empty.dropped()) == ({}, {})
    assert (bench.engine.num_sessions, empty.engine.num_sessions) == (2, 0)


def test_a_batch_that_is_used_again_with_fewer_rows_and_a_full_one() -> None:
    bench, a, b = pair()
    batch = Batch(8)
    before = bench.counted("datagrams_in")
    for count in (8, 3, 0, 8, 1):
        batch.clear()
        for _ in range(count):
            batch.append(*a.data(section(200, bytes(MAX_DATAGRAM_BYTES - 29))))
        bench.engine.receive(batch, bench.now)
        bench.flush()
    assert bench.counted("datagrams_in") - before == 8 + 3 + 0 + 8 + 1
    assert bench.dropped() == {}
    go_on(bench, a, b)


def test_tables_that_grow_while_the_game_is_on() -> None:
    """200 sessions in 50 rooms of other shapes: every table is replaced several times."""
    bench = twin_bench()
    clients: list[Client] = []
    for number in range(50):
        shape = {"max_players": 4, "entities_per_player": 1 + number % 7 * 5, "max_state_bytes": 1 + number * 37 % 255}
        clients += [bench.join(code=f"ROOM{number}", **shape) for _ in range(4)]
        bench.receive(*[client.data(client.state(b"x"), client.signal(b"s")) for client in clients])
        bench.tick()
        bench.receive(*[client.listen() for client in clients])
    bench.receive(*[client.bye() for client in clients[::2]])
    bench.flush()
    go_on(bench, *clients[1::2])
    assert bench.engine.world.sessions.table.rows >= 200


# --- anything


def random_section(rng: Random, space: int) -> bytes:
    """Build a section of a known kind with edges where lengths, counts and ids are, seldom a right one."""
    kind = rng.choice((1, 1, 1, 2, 3, 4, 4, 9))
    body = bytearray(rng.randbytes(rng.choice((0, 3, 4, 9, 10, 12, 30, 200))))
    for place in range(min(12, len(body))):
        if rng.random() < 0.6:
            body[place] = rng.choice((0, 0, 1, 1, 2, 3, 20, 21, 127, 128, 255))
    if kind == 1 and rng.random() < 0.7:
        count, stride = rng.randrange(1, 9), rng.choice((0, 1, 5, 20))
        body = bytearray(dtypes.STATE_HEADER.encode(rng.getrandbits(16), count, stride))
        for _ in range(count):
            body += rng.choice((rng.randrange(40), rng.getrandbits(16))).to_bytes(2, "little") + rng.randbytes(stride)
    claimed = len(body) if rng.random() < 0.9 else rng.choice((0, 1, len(body) + 1, len(body) - 1, 1200, 65_535))
    return (bytes([kind]) + (claimed & 0xFFFF).to_bytes(2, "little") + bytes(body))[:space]


def test_random_sections_in_live_sessions() -> None:
    bench, a, b = pair(datagrams_per_s=60_000, bytes_per_s=2**31, messages_per_s=60_000, signals_per_s=60_000)
    rng = Random("sections")
    for _ in range(scaled(40, 2_000)):
        datagrams = []
        for client in (a, b):
            client.hear()
            for _ in range(rng.randrange(12)):
                payload, address = client.data()
                while len(payload) < 1200 and rng.random() < 0.7:
                    payload += random_section(rng, 1200 - len(payload))
                datagrams.append((payload, address))
        if rng.random() < 0.2:
            rng.shuffle(datagrams)
        bench.receive(*datagrams)
        bench.flush()
        if rng.random() < 0.5:
            bench.tick()
    dropped = bench.dropped()
    assert dropped["BAD_SECTION"] and dropped["BAD_ENTITY"] and dropped["NOT_OWNER"]
    assert states(bench)


BOUNDS = """
from relay.engine import Engine
from relay.loops import bits
from relay.loops.stages import LoopStages
from tests.fuzz.arena import Arena
from tests.relay.bench import SECRET
from tests.relay.loops.mixed import play
from tests.relay.loops.twins import twin_bench
import numpy as np
from random import Random

try:
    bits.copy_bytes(np.zeros(4, np.uint8), 2, np.zeros(4, np.uint8), 0, 3)
except IndexError:
    print("checked")
for seed in range(20):
    play(twin_bench(datagrams_per_s=60, bytes_per_s=30_000), seed)
for seed in range(3):
    arena = Arena(seed)
    arena.desk.engine = Engine(arena.desk.config, SECRET, Random(seed), LoopStages)
    for _ in range(400):
        arena.step(64)
print("done")
"""


@pytest.mark.skipif(not FULL, reason="compiles everything once more: TICKRELAY_FULL=1")
def test_no_index_is_beyond_an_array(tmp_path: Path) -> None:
    """Compiled code does not look; here it does, for an index from the wire would be a write into other memory."""
    environ = os.environ | {"NUMBA_BOUNDSCHECK": "1", "CACHE_DIRECTORY": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BOUNDS]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.stdout.split() == ["checked", "done"], done.stdout + done.stderr
