"""Messages on their way into the log: order, gaps, fragments, credit, and what happens when there is no room."""

from random import Random
from typing import Any

import numpy as np
import pytest

from protocol.constants import (
    MAX_MESSAGE_BYTES,
    MESSAGE_WINDOW,
    PART_MORE,
    SPECIAL_MESSAGE_COST,
    ByeReason,
    Kind,
    MessageFlag,
    Refusal,
    Target,
)
from relay.log import CREDIT_BYTES, LOG_CAP_ENTRIES, SEGMENT_BYTES
from relay.membership import leave
from relay.messages import LARGE_PARTS, LAST_WAITS_S, MAX_HELD, MAX_PARTS, creditable, grant_credit
from relay.sessions import SessionTable
from tests.relay.bench import TICK, Bench, Client
from tests.relay.tables import ints

FAST: dict[str, Any] = {
    "datagrams_per_s": 65_535,
    "bytes_per_s": 2**31,
    "messages_per_s": 65_535,
    "client_bytes_per_s": 2**31,
}
"""Budgets that are not what a test is about."""


def column(client: Client, name: str) -> int:
    return int(getattr(client.bench.engine.world.sessions.table, name)[client.row])


def read_on(bench: Bench, *clients: Client, rounds: int = 3) -> None:
    """Let everybody read and acknowledge what there is."""
    for _ in range(rounds):
        bench.tick()
        bench.receive(*[client.listen() for client in clients])


def said(client: Client) -> list[bytes]:
    return [payload for _, payload in client.messages]


# --- order


def test_messages_of_one_datagram_are_taken_in_order_of_their_ids() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    sections = [sender.message(b"%d" % n) for n in range(5)]
    sender.say(*reversed(sections))
    read_on(bench, reader)
    assert said(reader) == [b"0", b"1", b"2", b"3", b"4"] and bench.dropped() == {}


def test_an_entry_carries_kind_channel_flags_and_sender_of_its_message() -> None:
    bench = Bench()
    _, sender, reader = bench.join_all(3)
    sender.say(sender.message(b"x", kind=111, channel=255, flags=0xFC))
    read_on(bench, reader)
    entry = reader.entries[max(reader.entries)]
    assert (entry.kind, entry.channel, entry.sender, entry.part) == (111, 255, 1, 0)


def test_a_message_that_comes_again_is_taken_once() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    one, two = sender.message(b"one"), sender.message(b"two")
    sender.say(one, one)
    bench.receive(sender.data(one, two), sender.data(two, one))
    sender.say(two)
    read_on(bench, reader)
    assert said(reader) == [b"one", b"two"] and bench.dropped() == {}


def test_a_message_behind_a_gap_is_held_and_a_later_batch_fills_it() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    sections = [sender.message(b"%d" % n) for n in range(1, 7)]
    sender.say(sections[1], sections[2], sections[4])
    assert bench.engine.world.intake.num_held == 3
    assert column(sender, "message_accepted") == 0 and column(sender, "message_bits") == 0b10110
    sender.say(sections[0])
    assert bench.engine.world.intake.num_held == 1
    assert column(sender, "message_accepted") == 3 and column(sender, "message_bits") == 0b10
    sender.say(sections[3])
    assert bench.engine.world.intake.num_held == 0
    assert column(sender, "message_accepted") == 5 and column(sender, "message_bits") == 0
    sender.say(sections[5])
    read_on(bench, reader)
    assert said(reader) == [b"%d" % n for n in range(1, 7)]


def test_an_update_tells_what_was_accepted_and_what_is_held() -> None:
    bench = Bench()
    [sender] = bench.join_all(1)
    sections = [sender.message(b"%d" % n) for n in range(1, 5)]
    sender.say(sections[0], sections[2], sections[3])
    bench.flush()
    header = sender.hear()[-1].header
    assert (header.message_ack, header.message_bits) == (1, 0b110)


def test_a_held_message_that_comes_again_is_held_once() -> None:
    bench = Bench()
    [sender] = bench.join_all(1)
    sections = [sender.message(b"%d" % n) for n in range(1, 4)]
    for _ in range(3):
        sender.say(sections[2], sections[2])
    assert bench.engine.world.intake.num_held == 1
    sender.say(*sections)
    bench.flush()
    sender.hear()
    assert said(sender) == [b"1", b"2", b"3"] and bench.engine.world.intake.num_held == 0


def test_what_is_held_is_kept_as_it_came_although_the_batch_is_used_again() -> None:
    bench = Bench()
    sender, reader, other = bench.join_all(3)
    first = sender.message(b"first")
    held = sender.message(b"h" * 1024, Target.LIST, (0, 1), kind=55, channel=3)
    sender.say(held)
    for _ in range(3):
        other.say(other.signal(bytes(1024)))
    sender.say(first)
    read_on(bench, sender, reader, other)
    assert said(sender) == said(reader) == [b"first", b"h" * 1024] and said(other) == [b"first"]
    assert (reader.entries[max(reader.entries)].kind, reader.entries[max(reader.entries)].channel) == (55, 3)


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_any_batches_gives_every_message_once_and_in_its_senders_order(seed: int) -> None:
    rng = Random(seed)
    bench = Bench(**FAST)
    senders = bench.join_all(3)
    reader = bench.join()
    read_on(bench, reader, *senders)
    waiting: dict[int, dict[int, bytes]] = {n: {} for n in range(3)}
    for _ in range(60):
        datagrams = []
        for n, sender in enumerate(senders):
            sender.hear()
            accepted = column(sender, "message_accepted")
            waiting[n] = {number: sent for number, sent in waiting[n].items() if number > accepted}
            while len(waiting[n]) < 8 and sender.message_id < 100:
                payload = b"%d %d " % (n, sender.message_id + 1) + bytes(rng.choice((0, 100)))
                section = sender.message(payload)
                waiting[n][sender.message_id] = section
            for _ in range(rng.randint(0, 3)):
                chosen = rng.sample(sorted(waiting[n]), rng.randint(0, min(4, len(waiting[n]))))
                datagrams.append(sender.data(*[waiting[n][number] for number in chosen]))
        rng.shuffle(datagrams)
        bench.receive(*datagrams)
        bench.flush()
        bench.tick()
        bench.receive(reader.listen())
    for n in range(3):
        numbers = [int(payload.split()[1]) for sender, payload in reader.messages if sender == n]
        assert numbers == list(range(1, column(senders[n], "message_accepted") + 1)) and len(numbers) > 20
    assert bench.dropped() == {}


def test_message_ids_go_on_over_16_bits() -> None:
    bench = Bench(**FAST)
    [sender] = bench.join_all(1)
    table = bench.engine.world.sessions.table
    table.message_accepted[sender.row] = table.message_permitted[sender.row] = sender.message_id = 65_530
    bench.tick()
    for n in range(65_531, 65_546):
        sender.say(sender.message(b"%d" % n))
        bench.flush()
        bench.receive(sender.listen())
    header = sender.updates[-1].header
    assert column(sender, "message_accepted") == 65_545 and header.message_ack == 9
    assert said(sender)[-3:] == [b"65543", b"65544", b"65545"] and header.message_credit == 9 + MESSAGE_WINDOW


def test_a_message_of_a_session_that_ends_in_this_batch_is_told_before_its_leave() -> None:
    bench = Bench()
    goer, stayer = bench.join_all(2)
    bench.receive(goer.data(goer.message(b"last words")), goer.bye())
    read_on(bench, stayer)
    kinds = [entry.kind for _, entry in sorted(stayer.entries.items())]
    assert kinds[-3:] == [1, 129, 130] and said(stayer) == [b"last words"]


# --- fragments


def test_fragments_across_batches_are_numbered_and_counted_as_one_message() -> None:
    bench = Bench()
    one, two, reader = bench.join_all(3)
    one.say(one.message(b"a", more=1))
    two.say(two.message(b"between"))
    one.say(one.message(b"b", more=1), one.message(b"c"), one.message(b"next"))
    read_on(bench, reader)
    own = [(entry.part, entry.payload) for _, entry in sorted(reader.entries.items()) if entry.kind == 1]
    assert sorted(own, key=lambda pair: pair[1]) == [
        (PART_MORE, b"a"),
        (PART_MORE | 1, b"b"),
        (0, b"between"),
        (2, b"c"),
        (0, b"next"),
    ]


def test_two_messages_in_fragments_in_one_batch_are_numbered_each_from_0() -> None:
    bench = Bench()
    one, two = bench.join_all(2)
    bench.receive(
        one.data(*[one.message(b"1", more=1), one.message(b"2"), one.message(b"3", more=1), one.message(b"4", more=1)]),
        two.data(two.message(b"5", more=1), two.message(b"6")),
        one.data(one.message(b"7"), one.message(b"8")),
    )
    read_on(bench, two, rounds=5)
    parts = {entry.payload: entry.part for entry in two.entries.values() if entry.kind == 1}
    more = PART_MORE
    assert parts == {
        b"1": more,
        b"2": 1,
        b"3": more,
        b"4": more | 1,
        b"7": 2,
        b"8": 0,
        b"5": more,
        b"6": 1,
    }


def test_the_audience_of_a_message_is_that_of_its_first_fragment() -> None:
    bench = Bench()
    sender, friend, other = bench.join_all(3)
    sender.say(sender.message(b"a", Target.ONE, (1,), more=1), sender.message(b"b", more=1))
    sender.say(sender.message(b"c", more=1))
    sender.say(sender.message(b"d"), sender.message(b"public"))
    read_on(bench, sender, friend, other, rounds=5)
    assert said(friend) == [b"a", b"b", b"c", b"d", b"public"]
    assert said(other) == said(sender) == [b"public"]


def test_who_joins_between_two_fragments_sees_nothing_of_the_message() -> None:
    bench = Bench()
    sender, friend = bench.join_all(2)
    sender.say(sender.message(b"a", more=1))
    late = bench.join()
    sender.say(sender.message(b"b", more=1))
    sender.say(sender.message(b"c"), sender.message(b"after"))
    read_on(bench, friend, late, rounds=5)
    assert said(friend) == [b"a", b"b", b"c", b"after"] and said(late) == [b"after"]


def test_an_unfinished_message_ends_with_its_sender() -> None:
    bench = Bench()
    sender, stayer = bench.join_all(2)
    sender.say(sender.message(b"a", Target.ONE, (1,), more=1))
    row = sender.row
    bench.receive(sender.bye())
    newcomer = bench.join()
    assert newcomer.row == row
    newcomer.say(newcomer.message(b"mine"))
    read_on(bench, newcomer, stayer)
    entry = newcomer.entries[max(newcomer.entries)]
    assert (entry.part, entry.payload) == (0, b"mine") and said(stayer)[-1] == b"mine"


def pour(bench: Bench, sender: Client, reader: Client, num_fragments: int, last: bool) -> None:
    """Send one message in fragments of one byte while the reader reads."""
    for n in range(num_fragments):
        more = 0 if last and n == num_fragments - 1 else 1
        sender.say(sender.message(b"x", more=more))
        bench.now += 0.001
        if n % 16 == 15:
            bench.flush()
            bench.tick()
            bench.receive(sender.listen(), reader.listen())
        for _ in range(8):
            if n % 16 == 15:
                bench.tick()
                bench.receive(sender.listen(), reader.listen())


def test_a_message_of_1024_fragments_is_taken() -> None:
    assert MAX_PARTS * 1024 == MAX_MESSAGE_BYTES
    bench = Bench(**FAST)
    sender, reader = bench.join_all(2)
    pour(bench, sender, reader, MAX_PARTS, last=True)
    read_on(bench, sender, reader, rounds=10)
    assert bench.engine.num_sessions == 2
    assert len(said(reader)) == MAX_PARTS and reader.entries[max(reader.entries)].part == MAX_PARTS - 1


def test_a_message_of_1025_fragments_ends_its_session_and_harms_nobody_else() -> None:
    """An entry whose part is 1,024 is malformed to every client: who gets one can read nothing of the room any more."""
    bench = Bench(**FAST)
    sender, reader = bench.join_all(2)
    pour(bench, sender, reader, MAX_PARTS, last=False)
    read_on(bench, sender, reader, rounds=10)
    assert bench.engine.num_sessions == 2
    sender.say(sender.message(b"x", more=1))
    assert bench.engine.num_sessions == 1 and bench.counted("left_protocol") == 1
    bench.flush()
    byes = [reason_of(payload) for payload in bench.take(sender.address) if payload[0] == Kind.BYE]
    assert byes == [ByeReason.PROTOCOL]
    read_on(bench, reader)  # the reader is strict: it fails the test on what no client can read
    reader.say(reader.message(b"still here"))
    read_on(bench, reader)
    assert said(reader)[-1] == b"still here" and reader.cursor == max(reader.entries)


def fragments(sender: Client, count: int) -> list[bytes]:
    """Build a message of so many fragments, each of one byte."""
    return [sender.message(b"%c" % (65 + n), more=int(n < count - 1)) for n in range(count)]


def said_in_full(reader: Client, count: int) -> bool:
    """Tell whether a reader has all fragments of such a message."""
    return said(reader)[:count] == [b"%c" % (65 + n) for n in range(count)]


def test_a_message_of_up_to_16_fragments_does_not_wait_for_anybody() -> None:
    bench = Bench()
    sender, _ = bench.join_all(2)
    sender.say(*fragments(sender, LARGE_PARTS))
    assert column(sender, "message_accepted") == LARGE_PARTS == 16


def test_the_last_fragment_of_a_larger_one_waits_until_everybody_has_the_others() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    head = bench.engine.world.rooms.table.log_head[sender.room_row]
    sender.say(*fragments(sender, LARGE_PARTS + 1), sender.message(b"after"))
    assert column(sender, "message_accepted") == LARGE_PARTS and column(sender, "message_bits") == 0b11
    began = bench.now
    while column(sender, "message_accepted") == LARGE_PARTS:
        reported = reader.cursor
        bench.tick()
        bench.receive(sender.listen(), reader.listen())
    assert reported >= head + LARGE_PARTS and bench.now < began + LAST_WAITS_S / 2
    assert column(sender, "message_accepted") == LARGE_PARTS + 2
    read_on(bench, reader)
    assert said_in_full(reader, LARGE_PARTS + 1) and said(reader)[-1] == b"after"
    assert bench.engine.world.intake.num_held == 0


def test_the_last_fragment_waits_for_a_second_at_most() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    sender.say(*fragments(sender, LARGE_PARTS + 1))
    began = bench.now
    while column(sender, "message_accepted") == LARGE_PARTS:
        bench.tick()
        bench.receive(sender.listen())
        assert bench.now < began + LAST_WAITS_S + 2 * TICK
    assert bench.now >= began + LAST_WAITS_S
    read_on(bench, reader, rounds=9)
    assert said_in_full(reader, LARGE_PARTS + 1)


def test_what_waits_only_for_others_is_said_when_its_sender_leaves() -> None:
    bench = Bench()
    sender, reader = bench.join_all(2)
    sections = fragments(sender, LARGE_PARTS + 1)
    bench.receive(sender.data(*sections[:10]), sender.data(*sections[10:], sender.message(b"bye")), sender.bye())
    read_on(bench, reader, rounds=9)
    assert said_in_full(reader, LARGE_PARTS + 1) and said(reader)[-1] == b"bye"
    assert max(reader.entries.items())[1].kind == 130  # HOST_CHANGED, after the leave
    assert bench.engine.world.intake.num_held == 0


def reason_of(bye: bytes) -> int:
    return bye[10]


# --- credit


def table_of(accepted: int, permitted: int, unread: int) -> SessionTable:
    table = SessionTable(2)
    table.message_accepted[1], table.message_permitted[1], table.unread_bytes[1] = accepted, permitted, unread
    table.entry_charge[1] = 64
    return table


@pytest.mark.parametrize(
    ("unread", "more"),
    [
        (0, 32),
        (CREDIT_BYTES - 32 * 1088, 32),
        (CREDIT_BYTES - 32 * 1088 + 1, 31),
        (CREDIT_BYTES - 1088, 1),
        (CREDIT_BYTES - 1087, 0),
        (CREDIT_BYTES, 0),
    ],
)
def test_credit_is_in_whole_messages_of_the_largest_size(unread: int, more: int) -> None:
    assert creditable(table_of(500, 0, unread), ints(1)).tolist() == [500 + more]


def test_credit_that_was_granted_is_never_taken_back() -> None:
    table = table_of(500, 0, 0)
    assert grant_credit(table, ints(1)).tolist() == [532]
    table.unread_bytes[1] = CREDIT_BYTES
    assert grant_credit(table, ints(1)).tolist() == [532] and table.message_permitted[1] == 532
    table.message_accepted[1] = 532
    assert grant_credit(table, ints(1)).tolist() == [532]


def test_credit_is_told_in_16_bits() -> None:
    table = table_of(65_530, 0, 0)
    credit = grant_credit(table, ints(1))
    assert credit.dtype == np.uint16 and credit.tolist() == [26]
    assert table.message_permitted[1] == 65_562


def test_a_message_beyond_the_credit_is_not_taken_and_counted() -> None:
    bench = Bench(**FAST)
    [sender] = bench.join_all(1)
    credit = sender.updates[-1].header.message_credit
    assert credit == MESSAGE_WINDOW == 32
    sections = [sender.message(b"%d" % n) for n in range(1, credit + 3)]
    sender.say(sections[credit], sections[credit + 1])
    assert bench.dropped() == {"MESSAGE_WINDOW": 2}
    bench.receive(sender.data(*sections[:20]), sender.data(*sections[20:]))
    assert column(sender, "message_accepted") == credit and bench.dropped() == {"MESSAGE_WINDOW": 4}


def test_a_session_that_nobody_reads_stops_at_its_share_of_unread_bytes() -> None:
    bench = Bench(**FAST)
    sender, _ = bench.join_all(2, max_players=4)
    before = column(sender, "message_accepted")
    for _ in range(300):
        sender.message_id = column(sender, "message_accepted")
        sender.say(sender.message(bytes(1024)))
        sender.say(sender.message(bytes(1024)))
        bench.now += 0.001
        bench.flush()
        bench.tick() if column(sender, "message_accepted") % 8 == 0 else None
        bench.receive(sender.listen())
    value, cap = bench.engine.gauges()["unread_bytes_of_a_session"]
    assert CREDIT_BYTES - 1088 < value <= cap == CREDIT_BYTES
    assert value == (column(sender, "message_accepted") - before) * 1088
    assert bench.dropped().keys() == {"MESSAGE_WINDOW"}


def test_credit_comes_back_when_the_slowest_has_read_and_its_owner_is_told_without_asking() -> None:
    bench = Bench(**FAST)
    sender, reader = bench.join_all(2)
    for _ in range(80):
        sender.message_id = column(sender, "message_accepted")
        sender.say(sender.message(bytes(1024)))
        bench.flush()
        bench.receive(sender.listen())
        bench.now += 0.005
    stuck = column(sender, "message_permitted")
    assert column(sender, "message_accepted") == stuck
    sender.hear()
    read_on(bench, reader, rounds=30)
    credits = [update.header.message_credit for update in sender.hear()]
    assert credits[-1] == stuck + MESSAGE_WINDOW


def test_players_who_send_as_fast_as_their_credit_permits_are_slowed_down_and_not_thrown_out() -> None:
    """Nobody is slow here: everybody acknowledges every tick. But 64 KiB of tiny messages each are 990 entries, and a
    room of more than eight has credit for more than the 8,192 by which a member may be behind. A room of 96 that sent
    150 messages a second each was empty within two seconds: everybody had been ended as too slow.
    """
    bench = Bench(max_room_players=96, max_sessions_per_host=96, client_bytes_per_s=2**31)
    clients = [bench.join(max_players=96)]
    for n in range(95):
        clients.append(bench.join())
        if n % 16 == 15:
            read_on(bench, *clients, rounds=1)
    read_on(bench, *clients, rounds=2)
    credit = {client: client.updates[-1].header.message_credit for client in clients}
    for _ in range(50):
        datagrams = []
        for client in clients:
            for update in client.hear():
                credit[client] = update.header.message_credit
            client.message_id = column(client, "message_accepted")
            room = min(5, credit[client] - client.message_id)
            datagrams.append(client.data(*client.log_bits(), *[client.message(b"m") for _ in range(room)]))
        bench.receive(*datagrams)
        bench.tick()
        assert bench.engine.num_sessions == 96
        value, _ = bench.engine.gauges()["log_entries_of_a_room"]
        assert value <= LOG_CAP_ENTRIES


# --- caps


def test_messages_behind_gaps_are_held_up_to_a_cap_and_counted_beyond_it() -> None:
    bench = Bench(max_sessions_per_host=1000, max_room_players=256, **FAST)
    clients = []
    for n in range(MAX_HELD // 31 + 2):
        clients.append(bench.join(code=f"R{n // 16}"))
        if n % 20 == 0:
            bench.tick()
    sent = 0
    for client in clients:
        sections = [client.message(b"%d" % n) for n in range(1, 33)][1:]
        wanted = min(len(sections), MAX_HELD + 2 - sent)
        for start in range(0, wanted, 20):
            client.say(*sections[start : min(start + 20, wanted)])
        sent += wanted
    assert sent == MAX_HELD + 2
    assert bench.engine.gauges()["held_messages"] == (MAX_HELD, MAX_HELD)
    assert bench.dropped() == {"HOLD_FULL": 2}
    clients[0].message_id = 0
    clients[0].say(clients[0].message(b"fills the gap"))
    assert bench.engine.gauges()["held_messages"][0] == MAX_HELD - 31
    assert column(clients[0], "message_accepted") == 32
    bench.receive(clients[1].bye())
    assert bench.engine.gauges()["held_messages"][0] == MAX_HELD - 62
    assert bench.engine.num_sessions == len(clients) - 1


def fill_log(bench: Bench, clients: list[Client]) -> None:
    """Let everybody send the largest messages that its credit permits, while nobody reads."""
    for _ in range(40):
        for client in clients:
            client.message_id = column(client, "message_accepted")
            client.say(client.message(bytes(1024)))


def test_a_full_log_takes_no_message_until_some_are_read() -> None:
    bench = Bench(log_memory_mib=1, **FAST)
    clients = bench.join_all(16) + bench.join_all(16, code="OTHER")
    fill_log(bench, clients)
    value, cap = bench.engine.gauges()["log_bytes"]
    assert value <= cap
    assert bench.dropped()["LOG_FULL"] > 0
    held_up = [column(client, "message_accepted") for client in clients]
    assert min(held_up) >= 8


def test_a_full_log_that_everybody_reads_takes_messages_again_and_ends_nobody() -> None:
    bench = Bench(log_memory_mib=1, **FAST)
    clients = bench.join_all(16) + bench.join_all(16, code="OTHER")
    fill_log(bench, clients)
    held_up = [column(client, "message_accepted") for client in clients]
    for _ in range(30):
        bench.receive(*[client.listen() for client in clients])
        bench.tick()
    assert bench.counted("left_too_slow") == 0
    before = bench.dropped()["LOG_FULL"]
    for client in clients:
        client.message_id = column(client, "message_accepted")
        client.say(client.message(b"room again"))
    assert bench.dropped()["LOG_FULL"] == before
    assert [column(client, "message_accepted") for client in clients] == [n + 1 for n in held_up]


def test_a_log_that_is_full_still_lets_players_come_and_go() -> None:
    bench = Bench(log_memory_mib=1, **FAST)
    clients = bench.join_all(16, max_players=64) + bench.join_all(16, code="OTHER")
    fill_log(bench, clients)
    for _ in range(20):
        newcomer = bench.join(code="ROOM" if bench.num_clients % 2 else "THIRD")
        bench.receive(newcomer.bye())
    value, cap = bench.engine.gauges()["log_bytes"]
    assert value <= cap


def test_who_comes_and_goes_while_the_log_is_full_grows_it_no_further_than_its_memory() -> None:
    """The roster of every joiner was written whatever the memory: the arena became twice as large as permitted."""
    bench = Bench(log_memory_mib=1, max_sessions_per_host=1000, max_room_players=256, **FAST)
    clients = bench.join_all(16, max_players=256) + bench.join_all(16, code="OTHER", max_players=256)
    fill_log(bench, clients)
    refused = 0
    for n in range(600):
        answer = Client(bench).ask(name=f"{n:032}".encode(), code="OTHER" if n % 2 else "ROOM")
        refused += getattr(answer, "reason", None) == Refusal.SERVER_FULL
    assert refused > 0 and bench.engine.num_sessions > 2 * len(clients)
    for row in bench.engine.world.sessions.live.tolist()[::2]:
        leave(bench.engine.world, row, ByeReason.LEFT)
    assert bench.engine.gauges()["log_bytes"][0] == 1 << 20


def test_requests_and_kept_messages_count_as_several_in_the_budget() -> None:
    bench = Bench(messages_per_s=100, datagrams_per_s=1000)
    client = bench.join()
    for flags in (0, MessageFlag.KEEP):
        bench.wait(1.1)
        before = column(client, "message_accepted")
        for _ in range(120):
            client.message_id = column(client, "message_accepted")
            client.say(client.message(b"", flags=flags))
            bench.keep(bench.engine.tick(bench.now))  # no time passes: nothing refills
            bench.receive(client.listen())
        taken = column(client, "message_accepted") - before
        assert taken == (100 // SPECIAL_MESSAGE_COST if flags else 100)


def hold_and_free(bench: Bench) -> tuple[list[Client], list[bytes]]:
    """Let 120 players send 31 large messages behind a gap each, then what fills the gap. Returns: them, and that."""
    clients = []
    for n in range(120):
        clients.append(bench.join(code=f"R{n // 16}"))
        if n % 20 == 0:
            bench.tick()
    firsts = [client.message(b"1") for client in clients]
    for _ in range(31):
        bench.receive(*[client.data(client.message(bytes(1024))) for client in clients])
    for client, first in zip(clients, firsts, strict=True):
        client.say(first)
    return clients, firsts


def test_held_messages_that_come_free_do_not_pass_the_logs_cap() -> None:
    """What a gap held back was not asked about again: 132 sessions put 4.4 MB into a log of 1 MiB at once."""
    bench = Bench(log_memory_mib=1, max_sessions_per_host=1000, **FAST)
    clients, _ = hold_and_free(bench)
    value, cap = bench.engine.gauges()["log_bytes"]
    assert value <= cap == 2 * (1 << 20)
    assert bench.engine.world.log.arena.free_bytes() >= 0 and value % SEGMENT_BYTES == 0
    assert bench.dropped().keys() == {"LOG_FULL"}  # for some the log was full already when their first came
    assert 0 < sum(column(client, "message_accepted") == 0 for client in clients) < len(clients)


def test_held_messages_that_came_free_go_in_when_some_were_read_without_another_word_of_their_sender() -> None:
    bench = Bench(log_memory_mib=1, max_sessions_per_host=1000, **FAST)
    clients, firsts = hold_and_free(bench)
    said_again = [client for client in clients if column(client, "message_accepted") == 0]
    for client in said_again:
        firsts[clients.index(client)] = client.message(b"1", message_id=1)
    for _ in range(100):
        bench.tick()
        assert bench.counted("left_too_slow") == 0
        again = [
            client.data(*client.log_bits(), firsts[clients.index(client)])
            for client in said_again
            if column(client, "message_accepted") == 0
        ]
        bench.receive(*again, *[client.listen() for client in clients])
    assert bench.engine.gauges()["held_messages"][0] == 0
    assert [column(client, "message_accepted") for client in clients] == [32] * len(clients)


@pytest.mark.parametrize(("max_players", "charge"), [(2, 64), (4, 64), (16, 256), (64, 1024)])
def test_an_entry_is_charged_more_than_its_payload_by_16_bytes_for_each_player_there_may_be(
    max_players: int, charge: int
) -> None:
    bench = Bench()
    sender, _ = bench.join(max_players=max_players), bench.join()
    sender.say(sender.message(b""), sender.message(b"x" * 100))
    assert column(sender, "unread_bytes") == charge + charge + 100
