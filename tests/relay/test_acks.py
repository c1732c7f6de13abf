"""Acknowledgements: the receive window, what an ack settles, round trip and loss, and the log's own acks."""

import math
from random import Random

import numpy as np
import pytest

from protocol.constants import ACK_DELAY_MAX_MS, LOG_WINDOW, DataSection
from relay.acks import set_bits
from tests.relay.bench import TICK, Bench, Client, Datagram, section


def mask(client: Client) -> int:
    return int(client.bench.engine.world.sessions.table.recv_mask[client.row])


def column(client: Client, name: str) -> float:
    value: float = getattr(client.bench.engine.world.sessions.table, name)[client.row].item()
    return value


def acked_tick(client: Client, page: int = 0) -> int:
    world = client.bench.engine.world
    return int(world.entities.seats.acked_tick[int(world.sessions.table.pages_first[client.row]) + page])


def bits_of(seqs: set[int]) -> int:
    return sum(1 << max(seqs) - seq for seq in seqs if max(seqs) - seq < 64)


# --- the window


def test_what_has_arrived_is_a_bit_each() -> None:
    bench = Bench()
    client = bench.join()
    for seq in (1, 2, 5, 4):
        client.say(seq=seq)
    assert column(client, "recv_newest") == 5 and mask(client) == bits_of({1, 2, 4, 5})


@pytest.mark.parametrize("gap", [1, 31, 32, 62, 63, 64, 65, 128, 1000, 32_767])
def test_a_gap_of_any_width_moves_the_window(gap: int) -> None:
    bench = Bench()
    client = bench.join()
    bench.receive(*[client.data(seq=seq) for seq in (7, 9, 10)])
    client.say(seq=10 + gap)
    assert column(client, "recv_newest") == 10 + gap
    assert mask(client) == bits_of({7, 9, 10, 10 + gap})


def test_datagrams_of_one_session_in_one_batch_may_come_in_reverse_order() -> None:
    bench = Bench()
    client = bench.join(entities_per_player=4)
    datagrams = [client.data(client.state(b"%d" % n, n), client.message(b"%d" % n)) for n in range(4)]
    bench.receive(*reversed(datagrams))
    assert mask(client) == 0b1111 and column(client, "message_accepted") == 4
    assert sorted(bench.engine.room_table("ROOM").values()) == [b"0", b"1", b"2", b"3"]
    bench.flush()
    client.hear()
    assert [payload for _, payload in client.messages] == [b"0", b"1", b"2", b"3"]
    assert bench.dropped() == {}


def test_a_copy_in_the_same_batch_counts_once() -> None:
    bench = Bench()
    client = bench.join()
    datagram = client.data(client.signal(b"once"))
    bench.receive(datagram, client.data(), datagram, datagram)
    bench.flush()
    client.hear()
    assert client.signals == [b"once"] and bench.dropped() == {"DUPLICATE": 2}
    assert mask(client) == 0b11


def test_what_is_too_old_beside_the_newest_of_its_own_batch_is_dropped() -> None:
    bench = Bench()
    client = bench.join()
    client.say(seq=10)
    bench.receive(*[client.data(seq=seq) for seq in (11, 12, 11 + 63, 11 + 64)])
    assert bench.dropped() == {"TOO_OLD": 1}  # 11 is 64 behind 75
    assert mask(client) == bits_of({12, 74, 75})


def test_sessions_of_one_batch_have_each_their_own_window() -> None:
    bench = Bench()
    clients = [bench.join() for _ in range(3)]
    sent: list[Datagram] = []
    for n, client in enumerate(clients):
        sent += [client.data(seq=seq) for seq in range(1, 10, n + 1)]
    Random(1).shuffle(sent)
    bench.receive(*sent)
    for n, client in enumerate(clients):
        assert mask(client) == bits_of(set(range(1, 10, n + 1)))


def test_the_time_of_the_newest_and_of_the_last_word_are_kept_apart() -> None:
    bench = Bench()
    client = bench.join()
    bench.now = 5.0
    client.say(seq=8)
    bench.now = 6.0
    client.say(seq=7)
    assert column(client, "recv_at") == 5.0 and column(client, "heard_at") == 6.0


def test_an_update_reports_the_newest_32_others_and_the_delay() -> None:
    bench = Bench()
    client = bench.join()
    bench.take(client.address)
    bench.receive(*[client.data(client.signal(b"")) for _ in range(40)])
    bench.now += 0.020
    bench.flush()
    [update] = client.hear()
    assert (update.header.ack, update.header.ack_bits, update.header.ack_delay) == (40, 0xFFFFFFFF, 20)


# --- owing acks


def test_a_datagram_with_a_section_is_acknowledged_within_50_ms_and_a_bare_one_is_not() -> None:
    bench = Bench(keepalive_s=1.0)
    talker, listener = bench.join_all(2)
    for client in (talker, listener):
        bench.wait(0.2)
        client.hear()
    talker.say(section(200, b""))  # of an unknown type: it is a section all the same
    listener.say()
    assert column(talker, "ack_due_at") == bench.now + 0.050
    assert column(listener, "ack_due_at") == math.inf
    bench.tick()
    assert [update.header.ack for update in talker.hear()] == [talker.seq & 0xFFFF]
    assert listener.hear() == []
    bench.now += 0.051
    bench.flush()
    assert talker.hear() == [] and column(talker, "ack_owed") == 0


def test_between_slow_ticks_an_ack_goes_out_when_it_is_due() -> None:
    bench = Bench(tick_rate=1, keepalive_s=5.0)
    [client] = bench.join_all(1)
    client.say(client.state(b"x"))
    answered = []
    for _ in range(12):
        bench.now += 0.005
        answered.append(bench.flush())
    assert sum(answered) == 1 and answered[:9] == [0] * 9
    assert client.hear()[0].size == 32


def test_sixteen_datagrams_are_acknowledged_without_waiting() -> None:
    bench = Bench(tick_rate=1)
    [client] = bench.join_all(1)
    bench.receive(*[client.data(client.state(b"x")) for _ in range(15)])
    assert bench.flush() == 0
    client.say(client.state(b"x"))
    assert bench.flush() == 1


# --- what an ack settles


def test_an_ack_moves_the_pages_of_the_datagrams_that_it_names() -> None:
    bench = Bench()
    writer, reader = bench.join_all(2)
    ticks = []
    for n in range(4):
        writer.say(writer.state(b"%d" % n))
        bench.tick()
        ticks.append(bench.engine.tick_number)
    updates = reader.hear()
    assert len(updates) == 4
    seqs = [update.header.seq for update in updates]
    before = acked_tick(reader)
    assert before < ticks[0]
    bench.receive(reader.data(ack=seqs[2], ack_bits=0))
    assert acked_tick(reader) == ticks[2]
    bench.receive(reader.data(ack=seqs[2], ack_bits=0b11))  # older ones move nothing back
    assert acked_tick(reader) == ticks[2]
    bench.receive(reader.data(ack=seqs[3], ack_bits=0))
    assert acked_tick(reader) == ticks[3]


def test_a_bit_of_an_ack_settles_like_the_ack_itself() -> None:
    bench = Bench()
    writer, reader = bench.join_all(2, max_players=4, entities_per_player=64, max_state_bytes=255)
    for local_index in (0, 32):  # pages 0 and 64: a datagram each
        writer.say(writer.state(b"x", local_index))
        bench.tick()
    first, second = (update.header.seq for update in reader.hear())
    bench.receive(reader.data(ack=second, ack_bits=0))
    assert (acked_tick(reader, 0), acked_tick(reader, 64)) == (0, bench.engine.tick_number)
    bench.receive(reader.data(ack=second, ack_bits=1 << second - first - 1))
    assert acked_tick(reader, 0) == bench.engine.tick_number - 1


def test_only_the_newest_datagram_of_a_session_reports() -> None:
    bench = Bench()
    writer, reader = bench.join_all(2)
    writer.say(writer.state(b"x"))
    bench.tick()
    reader.hear()
    late, newer = reader.data(), reader.data(ack=0, ack_bits=0, flags=1)
    bench.receive(newer)
    before = acked_tick(reader)
    bench.receive(late)
    assert acked_tick(reader) == before < bench.engine.tick_number
    both = reader.data(), reader.data(ack=0, ack_bits=0, flags=1)
    bench.receive(*both)
    assert acked_tick(reader) == before
    bench.receive(reader.data())
    assert acked_tick(reader) == bench.engine.tick_number


def test_what_left_the_window_of_64_is_unknown_and_not_taken_for_what_has_its_slot_now() -> None:
    bench = Bench(client_bytes_per_s=2**31)
    writer, reader = bench.join_all(2)
    table = bench.engine.world.sessions.table
    row = reader.row
    old = int(table.send_seq[row])
    for n in range(70):
        writer.say(writer.state(b"%d" % n))
        bench.tick()
        writer.hear()
        table.acked_seq[row], table.acked_bytes[row] = table.send_seq[row], table.sent_bytes[row]  # keeps the pace
    assert int(table.send_seq[row]) - old == 70
    before = acked_tick(reader)
    bench.receive(reader.data(ack=old + 1, ack_bits=0, flags=0))
    assert acked_tick(reader) == before
    table.acked_seq[row], table.rtt_s[row] = old, 0.125
    bench.receive(reader.data(ack=old + 1, ack_bits=0, flags=0))
    assert (table.acked_seq[row], table.rtt_s[row]) == (old, 0.125)
    newest = int(table.send_seq[row])
    bench.receive(reader.data(ack=newest - 63, ack_bits=0xFFFFFFFF, flags=0))
    assert acked_tick(reader) == bench.engine.tick_number - 63


def test_an_ack_of_a_datagram_with_several_pages_moves_them_all_and_no_others() -> None:
    bench = Bench()
    writer, reader = bench.join_all(2, max_players=4, entities_per_player=64, max_state_bytes=255)
    writer.say(*[writer.state(b"x", local_index) for local_index in (0, 1, 31)])  # pages 0, 2 and 62
    bench.tick()
    [update] = reader.hear()
    assert [page.page for page in update.pages] == [0, 2, 62]
    bench.receive(reader.data())
    now = bench.engine.tick_number
    assert [acked_tick(reader, page) for page in (0, 1, 2, 61, 62, 63)] == [now, 0, now, 0, now, 0]


@pytest.mark.parametrize("seed", range(4))
def test_any_masks_are_listed_bit_by_bit(seed: int) -> None:
    rng = Random(seed)
    masks = [rng.getrandbits(64) & rng.getrandbits(64) for _ in range(20)] + [0, 1, 1 << 63, (1 << 64) - 1]
    which, bit = set_bits(np.array(masks, np.uint64))
    expected = [(n, b) for n, one in enumerate(masks) for b in range(64) if one >> b & 1]
    assert sorted(zip(which.tolist(), bit.tolist(), strict=True)) == expected
    assert len(set_bits(np.zeros(0, np.uint64))[0]) == 0


# --- round trip and loss


def round_trip(client: Client, seconds: float, delay_ms: int = 0) -> None:
    """Let the relay send one datagram and acknowledge it after so long, having held it back for `delay_ms`."""
    bench = client.bench
    client.hear()
    bench.receive(client.data(client.state(b"x"), ack=0, ack_bits=0, flags=1))
    bench.tick()
    client.hear()
    bench.now += seconds
    client.say(ack_delay=delay_ms)


def test_the_first_sample_sets_the_round_trip_and_the_delay_is_taken_off() -> None:
    bench = Bench()
    client = bench.join()
    round_trip(client, 0.130, delay_ms=30)
    assert column(client, "rtt_s") == pytest.approx(0.100, abs=1e-6)
    assert column(client, "rtt_var_s") == pytest.approx(0.050, abs=1e-6)
    assert column(client, "rtt_min_s") == pytest.approx(0.100, abs=1e-6)


def test_later_samples_are_smoothed_and_the_least_is_kept() -> None:
    bench = Bench()
    client = bench.join()
    round_trip(client, 0.100)
    round_trip(client, 0.200)
    assert column(client, "rtt_s") == pytest.approx(0.1 + 0.1 / 8, abs=1e-6)
    assert column(client, "rtt_var_s") == pytest.approx(0.05 + (0.1 - 0.05) / 4, abs=1e-6)
    assert column(client, "rtt_min_s") == pytest.approx(0.1, abs=1e-6)
    round_trip(client, 0.040)
    assert column(client, "rtt_min_s") == pytest.approx(0.04, abs=1e-6)


def test_a_delay_of_255_or_an_ack_that_tells_nothing_new_gives_no_sample() -> None:
    bench = Bench()
    client = bench.join()
    round_trip(client, 0.100, delay_ms=ACK_DELAY_MAX_MS)
    assert column(client, "rtt_s") == 0
    bench.now += 3.0
    client.say()
    assert column(client, "rtt_s") == 0


def test_a_delay_longer_than_the_whole_round_trip_does_not_make_it_negative() -> None:
    bench = Bench()
    client = bench.join()
    round_trip(client, 0.010, delay_ms=200)
    assert 0 < column(client, "rtt_s") < 0.001


def loss_down_of(missing_every: int) -> float:
    """Play 20 s in which every so-manieth update is lost. Returns: what the relay then thinks is lost."""
    bench = Bench()
    writer, reader = bench.join_all(2)
    for n in range(600):
        writer.say(writer.state(b"%d" % n))
        bench.tick()
        writer.hear()
        if missing_every and n % missing_every == 0:
            bench.take(reader.address)
        bench.receive(reader.listen())
    return column(reader, "loss_down")


@pytest.mark.parametrize(("missing_every", "loss"), [(0, 0.0), (10, 0.1), (3, 1 / 3)])
def test_loss_down_comes_near_what_is_lost(missing_every: int, loss: float) -> None:
    assert loss_down_of(missing_every) == pytest.approx(loss, abs=0.05)


@pytest.mark.parametrize(("missing_every", "loss"), [(0, 0.0), (10, 0.1), (2, 0.5)])
def test_loss_up_comes_near_what_is_lost(missing_every: int, loss: float) -> None:
    bench = Bench()
    client = bench.join()
    for n in range(600):
        datagram = client.data()
        if not missing_every or n % missing_every:
            bench.receive(datagram)
        bench.now += TICK
    assert column(client, "loss_up") == pytest.approx(loss, abs=0.12)


# --- the log's own acks


def log_bits(*words: int) -> bytes:
    return section(DataSection.LOG_BITS, b"".join(word.to_bytes(4, "little") for word in words))


def talkative_room() -> tuple[Bench, Client, Client]:
    """Two players and 300 entries that the second has not read."""
    bench = Bench(messages_per_s=1000, datagrams_per_s=1000)
    sender, reader = bench.join_all(2)
    while sender.message_id < 300:
        sender.say(*[sender.message(b"x") for _ in range(20)])
        bench.flush()
        bench.receive(sender.listen())
        bench.now += TICK / 8
    return bench, sender, reader


def test_bits_beyond_the_cursor_stop_the_repeat_of_what_is_complete() -> None:
    bench, _, reader = talkative_room()
    start = reader.cursor
    bench.take(reader.address)
    bench.receive(reader.data(log_bits(0b10, 1 << 31), log_cursor=start + 1))
    table = bench.engine.world.sessions.table
    assert table.log_bits[reader.row].tolist() == [1 << 63 | 0b10, 0, 0, 0]
    bench.wait(1.0)
    reader.updates.clear()
    reader.entries.clear()
    reader.hear()
    sent = set(reader.entries)
    assert start + 1 not in sent and start + 3 not in sent and start + 1 + 64 not in sent
    assert {start + 2, start + 4, start + 1 + 63, start + 1 + 65} <= sent


def test_all_eight_words_of_bits_count() -> None:
    bench, _, reader = talkative_room()
    bench.receive(reader.data(log_bits(*[0xFFFFFFFE] + [0xFFFFFFFF] * 7)))
    table = bench.engine.world.sessions.table
    assert sum(int(word).bit_count() for word in table.log_bits[reader.row]) == LOG_WINDOW - 1
    bench.take(reader.address)
    bench.wait(0.5)
    reader.hear()
    assert min(index for index in reader.entries if index > reader.welcome.log_index + 1) > 0
    assert bench.engine.world.sessions.table.log_effective[reader.row] == table.log_cursor[reader.row]


def test_bits_that_are_not_reported_again_are_forgotten() -> None:
    bench, _, reader = talkative_room()
    bench.receive(reader.data(log_bits(0b10)))
    bench.receive(reader.data())
    assert not bench.engine.world.sessions.table.log_bits[reader.row].any()


def test_a_cursor_never_goes_back_and_its_bits_mean_nothing_then() -> None:
    bench, _, reader = talkative_room()
    start = reader.cursor
    bench.receive(reader.data(log_bits(0b10), log_cursor=start + 20))
    bench.receive(reader.data(log_bits(0b100), log_cursor=start + 3))
    table = bench.engine.world.sessions.table
    assert table.log_cursor[reader.row] == start + 20
    assert table.log_bits[reader.row, 0] == 0b10


def test_cursor_and_bits_of_a_late_datagram_are_not_used() -> None:
    bench, _, reader = talkative_room()
    start = reader.cursor
    late = reader.data(log_bits(0b111), log_cursor=start + 50)
    bench.receive(reader.data(log_cursor=start + 10))
    bench.receive(late)
    table = bench.engine.world.sessions.table
    assert table.log_cursor[reader.row] == start + 10 and not table.log_bits[reader.row].any()


def test_of_several_in_one_batch_the_newest_reports_the_log() -> None:
    bench, sender, reader = talkative_room()
    start = reader.cursor
    older, newer = (
        reader.data(log_bits(0b100), log_cursor=start + 1),
        reader.data(log_bits(0b10), log_cursor=start + 2),
    )
    bench.receive(newer, sender.data(log_bits(1)), older)
    table = bench.engine.world.sessions.table
    assert table.log_cursor[reader.row] == start + 2 and table.log_bits[reader.row, 0] == 0b10


def test_the_effective_cursor_follows_and_its_time_with_it() -> None:
    bench, _, reader = talkative_room()
    bench.now += 3.0
    table = bench.engine.world.sessions.table
    bench.tick()
    marked_at, mark = table.log_marked_at[reader.row], table.log_mark[reader.row]
    bench.now += 3.0
    bench.receive(reader.data(log_cursor=int(mark) - 1))
    bench.tick()
    assert table.log_effective[reader.row] == mark - 1
    assert table.log_marked_at[reader.row] == marked_at  # not all that was there has been read
    bench.receive(reader.data(log_cursor=int(mark)))
    bench.tick()
    assert table.log_effective[reader.row] == mark
    assert table.log_marked_at[reader.row] == bench.now
    assert table.log_mark[reader.row] == bench.engine.world.rooms.table.log_head[reader.room_row] > mark
