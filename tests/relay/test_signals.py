"""Signals: fanned out once, at most once, never before the message that they follow, and only within their room."""

import pytest

from protocol.constants import MAX_SLOTS, SignalFlag, Target
from relay.pacing import MAX_FLIGHT_DATAGRAMS, RESERVED_DATAGRAMS
from relay.signals import MAX_QUEUED, MAX_WAITING, MAX_WAITING_OF_SESSION, WAIT_S
from tests.relay.bench import TICK, Bench, Client

AFTER = int(SignalFlag.AFTER_LOG)


def read_on(bench: Bench, *clients: Client, rounds: int = 2) -> None:
    """Let everybody read and acknowledge what there is."""
    for _ in range(rounds):
        bench.flush()
        bench.receive(*[client.listen() for client in clients])


# --- fan-out


def test_a_signal_goes_out_with_the_next_flush_and_once() -> None:
    bench = Bench()
    one, two = bench.join_all(2)
    one.say(one.signal(b"hey"))
    assert bench.flush() == 2
    one.hear()
    two.hear()
    assert one.signals == two.signals == [b"hey"]
    bench.flush()
    bench.tick(5)
    two.hear()
    assert two.signals == [b"hey"]


def test_signals_that_may_not_go_between_ticks_go_with_the_tick_together() -> None:
    bench = Bench()
    one, two, three = bench.join_all(3)
    room_left = MAX_FLIGHT_DATAGRAMS - RESERVED_DATAGRAMS
    for number in range(room_left + 30):
        one.say(one.signal(b"%d" % number, Target.ALL_BUT, (0,)))
        bench.flush()
        bench.receive(three.listen())
    assert len(two.hear()) == room_left, "it acknowledges nothing"
    assert len(three.signals) == room_left + 30, "nobody else waits"
    bench.tick()
    assert len(two.hear()) == 1
    assert two.signals == [b"%d" % number for number in range(room_left + 30)]
    assert bench.counted("signals_shed") == 0 and bench.engine.gauges()["queued_signals"][0] == 0


def test_a_signal_carries_kind_flags_channel_sender_and_sequence() -> None:
    bench = Bench()
    _, two = bench.join_all(2)
    two.sequence = 65_535
    two.say(two.signal(b"x", kind=99, flags=1, channel=7, fragment=0x21))
    bench.flush()
    [signal] = [signal for update in two.hear() for signal in update.signals]
    assert (signal.kind, signal.flags, signal.channel, signal.number, signal.last) == (99, 1, 7, 1, 2)
    assert (signal.sender, signal.sequence, signal.position, signal.payload) == (1, 0, 0, b"x")


@pytest.mark.parametrize(
    ("target", "players", "receivers"),
    [
        (Target.ALL, (), {0, 1, 2}),
        (Target.ALL_BUT, (0,), {1, 2}),
        (Target.ALL_BUT, (9,), {0, 1, 2}),
        (Target.ONE, (2,), {2}),
        (Target.ONE, (9,), set()),
        (Target.ONE, (MAX_SLOTS,), set()),
        (Target.LIST, (0, 2, 2), {0, 2}),
        (Target.LIST, (65_535, 1), {1}),
    ],
)
def test_a_signal_is_for_whom_its_target_says(target: Target, players: tuple[int, ...], receivers: set[int]) -> None:
    bench = Bench()
    clients = bench.join_all(3)
    clients[0].say(clients[0].signal(b"x", target, players))
    bench.flush()
    for client in clients:
        client.hear()
    assert {n for n, client in enumerate(clients) if client.signals} == receivers


@pytest.mark.parametrize("player_id", [62, 63, 64, 65])
def test_a_signal_for_one_is_right_at_the_edges_of_words(player_id: int) -> None:
    bench = Bench(max_room_players=70, max_sessions_per_host=99)
    clients = []
    for n in range(67):
        clients.append(bench.join(max_players=70))
        if n % 20 == 0:
            bench.tick()
            bench.receive(*[client.listen() for client in clients])
    bench.tick()
    bench.receive(*[client.listen() for client in clients])
    clients[0].say(clients[0].signal(b"x", Target.ONE, (player_id,)))
    clients[0].say(clients[0].signal(b"y", Target.ALL_BUT, (player_id,)))
    bench.tick()
    for client in clients:
        client.hear()
    assert [n for n, client in enumerate(clients) if b"x" in client.signals] == [player_id]
    assert [n for n, client in enumerate(clients) if b"y" not in client.signals] == [player_id]


def test_signals_of_several_rooms_in_one_batch_stay_in_their_rooms() -> None:
    bench = Bench()
    rooms = [bench.join_all(2, code=f"R{n}") for n in range(3)]
    bench.receive(*[client.data(client.signal(b"%d" % n)) for n, room in enumerate(rooms) for client in room])
    bench.flush()
    for n, room in enumerate(rooms):
        for client in room:
            client.hear()
            assert client.signals == [b"%d" % n] * 2


def test_signals_of_one_sender_arrive_in_the_order_in_which_it_sent_them() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    datagrams = [sender.data(sender.signal(b"%d" % (2 * n)), sender.signal(b"%d" % (2 * n + 1))) for n in range(4)]
    bench.receive(*reversed(datagrams[:2]))
    bench.receive(*datagrams[2:])
    bench.flush()
    reader.hear()
    assert reader.signals == [b"%d" % n for n in range(8)]


def test_payloads_of_any_size_are_kept_whole_although_the_batch_is_used_again() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    sizes = (0, 1, 1024, 500)
    for size in sizes:
        sender.say(sender.signal(bytes([size % 251]) * size))
    sender.say(sender.state(bytes(30)))
    bench.flush()
    reader.hear()
    assert reader.signals == [bytes([size % 251]) * size for size in sizes]


def test_a_signal_of_a_room_that_closed_does_not_reach_the_room_that_takes_its_row() -> None:
    """Signals waited by row: a batch that ended one room and one that opened another made a leak between the two."""
    bench = Bench()
    [goer] = bench.join_all(1, code="OLD")
    newcomer = Client(bench)
    join = newcomer.join_datagram(newcomer.get_cookie(), code="NEW")
    bench.receive(goer.data(goer.signal(b"for the old room")), goer.bye())
    bench.receive((join, newcomer.address))
    assert bench.engine.num_rooms == 1
    for address, payload in bench.engine.flush(bench.now).datagrams():
        assert b"for the old room" not in payload, address


def test_who_joins_after_a_signal_was_sent_does_not_get_it() -> None:
    bench = Bench()
    [sender] = bench.join_all(1)
    newcomer = Client(bench)
    join = newcomer.join_datagram(newcomer.get_cookie())
    sender.say(sender.signal(b"before"))
    bench.receive((join, newcomer.address))
    sent = [payload for address, payload in bench.engine.flush(bench.now).datagrams() if address == newcomer.address]
    assert sent and not any(b"before" in payload for payload in sent)


def test_a_signal_of_who_left_right_after_it_still_reaches_the_room() -> None:
    bench = Bench()
    goer, stayer = bench.join_all(2)
    bench.receive(goer.data(goer.signal(b"bye")), goer.bye())
    bench.flush()
    stayer.hear()
    assert stayer.signals == [b"bye"]


# --- after a message


def position_of(client: Client) -> int:
    [signal] = [signal for update in client.updates for signal in update.signals]
    return signal.position


def test_a_signal_after_a_message_of_the_same_datagram_waits_at_its_index() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    reader.updates.clear()
    sender.say(sender.signal(b"then", flags=AFTER, after_message=1), sender.message(b"first"))
    bench.flush()
    reader.hear()
    index = max(reader.entries)
    assert reader.entries[index].payload == b"first" and position_of(reader) == index


def test_a_signal_waits_at_the_relay_for_a_message_that_was_lost() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    reader.updates.clear()
    message = sender.message(b"first")
    sender.say(sender.signal(b"then", flags=AFTER, after_message=1))
    bench.flush()
    bench.now += 0.5
    bench.flush()
    reader.hear()
    assert reader.signals == [] and bench.engine.gauges()["waiting_signals"][0] == 1
    sender.say(message)
    bench.flush()
    reader.hear()
    assert reader.signals == [b"then"] and position_of(reader) == max(reader.entries)
    assert bench.engine.gauges()["waiting_signals"][0] == 0 and bench.dropped() == {}


def test_a_signal_after_a_message_that_is_held_behind_a_gap_waits_for_the_gap_too() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    first, second = sender.message(b"1"), sender.message(b"2")
    sender.say(second, sender.signal(b"then", flags=AFTER, after_message=2))
    bench.flush()
    reader.hear()
    assert reader.signals == []
    sender.say(first)
    bench.flush()
    reader.hear()
    assert reader.signals == [b"then"] and said(reader) == [b"1", b"2"]


def said(client: Client) -> list[bytes]:
    return [payload for _, payload in client.messages]


def test_a_signal_whose_message_does_not_come_is_dropped_after_a_second_and_counted() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    message = sender.message(b"late")
    sender.say(sender.signal(b"then", flags=AFTER, after_message=1))
    bench.now += WAIT_S - 0.01
    bench.flush()
    assert bench.dropped() == {}
    bench.now += 0.01
    bench.flush()
    assert bench.dropped() == {"SIGNAL_LATE": 1}
    sender.say(message)
    bench.tick()
    reader.hear()
    assert reader.signals == [] and said(reader) == [b"late"]


def test_a_waiting_signal_of_who_left_is_dropped_and_counted() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    sender.say(sender.signal(b"then", flags=AFTER, after_message=1))
    bench.receive(sender.bye())
    newcomer = bench.join()
    newcomer.say(newcomer.message(b"with the same id in the same row"))
    bench.tick()
    reader.hear()
    assert reader.signals == [] and bench.dropped() == {"SIGNAL_LATE": 1}


def test_a_signal_after_nothing_does_not_wait_for_the_log() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    reader.updates.clear()
    sender.say(sender.message(b"x"), sender.signal(b"voice", flags=0, after_message=60_000))
    bench.flush()
    reader.hear()
    assert reader.signals == [b"voice"] and position_of(reader) == 0


def test_after_message_0_means_what_the_sender_has_read() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    reader.say(reader.message(b"question"))
    read_on(bench, sender, reader)
    reader.updates.clear()
    sender.say(sender.signal(b"answer", flags=AFTER, after_message=0))
    bench.flush()
    reader.hear()
    assert position_of(reader) == sender.cursor == max(reader.entries)


def test_the_position_is_the_later_of_own_message_and_what_was_read() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    sender.say(sender.message(b"mine"))
    bench.flush()
    own = int(bench.engine.world.rooms.table.log_head[sender.room_row])
    reader.updates.clear()
    sender.say(sender.signal(b"x", flags=AFTER, after_message=1))  # has not read its own message yet
    bench.flush()
    reader.hear()
    assert position_of(reader) == own
    reader.say(reader.message(b"other"))
    read_on(bench, sender, reader)
    reader.updates.clear()
    sender.say(sender.signal(b"y", flags=AFTER, after_message=1))
    bench.flush()
    reader.hear()
    assert position_of(reader) == own + 1 == sender.cursor


def test_message_ids_of_signals_go_on_over_16_bits() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    table = bench.engine.world.sessions.table
    table.message_accepted[sender.row] = table.message_permitted[sender.row] = sender.message_id = 65_535
    bench.tick()
    sender.say(sender.signal(b"then", flags=AFTER, after_message=65_536 & 0xFFFF))
    bench.flush()
    reader.hear()
    assert reader.signals == []
    bench.tick()
    sender.say(sender.state(b"x"), sender.message(b"65536"))
    bench.flush()
    reader.hear()
    assert said(reader) == [b"65536"] and reader.signals == [b"then"]


def test_a_receiver_is_carried_over_hidden_entries_to_the_position() -> None:
    bench = Bench()
    sender, friend, reader = bench.join_all(3)
    reader.updates.clear()
    sender.say(sender.message(b"private", Target.ONE, (1,)), sender.signal(b"then", flags=AFTER, after_message=1))
    bench.flush()
    reader.hear()
    friend.hear()
    assert reader.cursor == position_of(reader) and said(reader) == [] and said(friend) == [b"private"]


def test_a_signal_without_a_position_costs_no_empty_range() -> None:
    bench = Bench()
    sender, _, reader = bench.join_all(3)
    reader.updates.clear()
    sender.say(sender.message(b"private", Target.ONE, (1,)), sender.signal(b"voice"))
    bench.flush()
    assert [log_range for update in reader.hear() for log_range in update.ranges] == []
    assert reader.signals == [b"voice"]


# --- caps


def test_waiting_signals_beyond_their_cap_are_dropped_and_counted() -> None:
    bench = Bench(signals_per_s=2000, datagrams_per_s=1000, bytes_per_s=2**31)
    senders = [bench.join(code=f"R{n}") for n in range(MAX_WAITING // MAX_WAITING_OF_SESSION + 1)]
    for sender in senders:
        for _ in range(MAX_WAITING_OF_SESSION // 16):
            sender.say(*[sender.signal(b"x", flags=AFTER, after_message=1) for _ in range(16)])
    assert bench.engine.gauges()["waiting_signals"] == (MAX_WAITING, MAX_WAITING)
    assert bench.dropped() == {"SIGNAL_QUEUE_FULL": MAX_WAITING_OF_SESSION}
    bench.receive(*[sender.data(sender.message(b"at last")) for sender in senders])
    bench.flush()
    assert bench.engine.gauges()["waiting_signals"][0] == 0
    assert bench.engine.gauges()["queued_signals"][0] == 0


def test_one_session_has_a_small_part_of_what_may_wait_and_gets_it_back() -> None:
    bench = Bench(signals_per_s=2000)
    one, two = bench.join_all(2)
    for round_ in range(2):
        for _ in range(2):
            for count in (16, MAX_WAITING_OF_SESSION // 2 - 15):
                one.say(*[one.signal(b"x", flags=AFTER, after_message=round_ + 1) for _ in range(count)])
        two.say(two.signal(b"y", flags=AFTER, after_message=round_ + 1))
        assert bench.engine.gauges()["waiting_signals"][0] == MAX_WAITING_OF_SESSION + 1
        assert bench.dropped() == {"SIGNAL_QUEUE_FULL": 2 * (round_ + 1)}
        bench.receive(one.data(one.message(b"m")), two.data(two.message(b"m")))
        bench.flush()
        assert bench.engine.gauges()["waiting_signals"][0] == 0


def test_a_signal_that_names_a_message_which_may_not_be_sent_is_dropped_at_once() -> None:
    bench = Bench()
    [sender] = bench.join_all(1)
    permitted = int(bench.engine.world.sessions.table.message_permitted[sender.row])
    sender.say(sender.signal(b"x", flags=AFTER, after_message=permitted))
    assert bench.engine.gauges()["waiting_signals"][0] == 1 and bench.dropped() == {}
    sender.say(sender.signal(b"x", flags=AFTER, after_message=permitted + 1))
    assert bench.engine.gauges()["waiting_signals"][0] == 1 and bench.dropped() == {"SIGNAL_LATE": 1}


def test_three_players_signals_do_not_keep_a_fourths_pages_out() -> None:
    """Signals went first and used up what a client may be sent at each tick."""
    bench = Bench()
    mover, reader, *talkers = bench.join_all(5)
    reader.updates.clear()
    for n in range(90):
        loud = [talker.data(talker.signal(bytes(1000))) for talker in talkers for _ in range(6)]
        bench.receive(mover.data(mover.state(b"%d" % n)), *[c.listen() for c in (reader, *talkers)], *loud)
        bench.tick()
    reader.hear()
    assert sum(len(update.pages) for update in reader.updates) >= 80
    assert len(reader.signals) >= 300 and bench.counted("signals_shed") > 0


def test_queued_signals_beyond_their_cap_are_dropped_and_counted_and_the_first_go_out() -> None:
    bench = Bench(signals_per_s=65_535, datagrams_per_s=65_535, bytes_per_s=2**31, client_bytes_per_s=2**31)
    sender, _ = bench.join_all(2)
    left = MAX_QUEUED + 2
    while left:
        batch = []
        while left and len(batch) < 64:
            count = min(24, left)
            batch.append(sender.data(*[sender.signal(b"") for _ in range(count)]))
            left -= count
        bench.receive(*batch)
    assert bench.engine.gauges()["queued_signals"] == (MAX_QUEUED, MAX_QUEUED)
    assert bench.dropped() == {"SIGNAL_QUEUE_FULL": 2}
    bench.flush()
    assert bench.engine.gauges()["queued_signals"][0] == 0
    sender.hear()
    # what 40 datagrams do not carry is shed, for both receivers, and counted
    assert len(sender.signals) * 2 + bench.counted("signals_shed") == 2 * MAX_QUEUED


def test_signals_that_are_not_sent_at_once_are_not_sent_later() -> None:
    bench = Bench(client_bytes_per_s=10_000, signals_per_s=1000, bytes_per_s=2**31)
    sender, reader = bench.join_all(2)
    bench.tick()
    bench.receive(*[sender.data(sender.signal(b"%d" % n + bytes(1000))) for n in range(9)])
    bench.tick()
    bench.receive(sender.listen(), reader.listen())
    sent = len(reader.signals)
    assert 1 <= sent <= 2 and bench.counted("signals_shed") == 2 * 9 - 2 * sent
    for _ in range(3):
        bench.now += TICK
        bench.flush()
        bench.tick()
    reader.hear()
    assert len(reader.signals) == sent
