"""The engine as a whole: what a pass takes, what a send sends, who ends and why, and that nothing passes its cap."""

import gc
import weakref
from random import Random

import pytest

from protocol import codec, dtypes
from protocol.constants import ByeReason, EntryKind, Kind
from relay.addresses import pack_address
from relay.batch import Batch
from relay.config import RelayConfig
from relay.engine import QUICK_S, Engine
from relay.log import LOG_CAP_ENTRIES, OwnEntry
from relay.stages import TOO_SLOW_S
from tests.relay.bench import SECRET, TICK, Bench, Client

ELSEWHERE = pack_address("198.51.100.1", 5)


def row_column(client: Client, name: str) -> int:
    return int(getattr(client.bench.engine.world.sessions.table, name)[client.row])


# --- passes


def test_an_empty_batch_changes_and_counts_nothing() -> None:
    bench = Bench()
    bench.receive()
    assert bench.flush() == 0 and bench.dropped() == {}
    bench.tick(3)
    assert bench.engine.tick_number == 3 and bench.engine.stats.counters["datagrams_out"] == 0


def test_one_datagram_is_a_batch() -> None:
    bench = Bench()
    client = bench.join()
    client.say(client.state(b"alone"))
    assert bench.engine.room_table("ROOM") == {0: b"alone"}


def test_states_messages_and_signals_of_many_rooms_go_through_in_one_batch() -> None:
    bench = Bench()
    rooms = [bench.join_all(3, code=f"R{n}") for n in range(5)]
    datagrams = []
    for n, room in enumerate(rooms):
        for client in room:
            mark = b"%d %d" % (n, client.welcome.player_id)
            datagrams.append(client.data(client.state(mark), client.message(mark), client.signal(mark)))
    Random(1).shuffle(datagrams)
    bench.receive(*datagrams)
    bench.tick()
    for n, room in enumerate(rooms):
        marks = [b"%d %d" % (n, player) for player in range(3)]
        for client in room:
            client.hear()
            assert client.table == dict(enumerate(marks)) == bench.engine.room_table(f"R{n}")
            assert sorted(payload for _, payload in client.messages) == sorted(client.signals) == marks


def test_the_same_datagrams_in_one_batch_or_one_by_one_leave_the_same_table_and_log() -> None:
    outcomes = []
    for batched in (True, False):
        rng = Random(7)
        bench = Bench()
        clients = bench.join_all(3, entities_per_player=3)
        for _ in range(20):
            datagrams = [
                client.data(client.state(rng.randbytes(8), rng.randrange(3)), client.message(rng.randbytes(5)))
                for client in clients
                for _ in range(rng.randint(0, 3))
            ]
            for datagram in [datagrams] if batched else [[one] for one in datagrams]:
                bench.receive(*datagram)
            bench.tick()
            bench.receive(*[client.listen() for client in clients])
        by_sender = {n: [p for sender, p in clients[0].messages if sender == n] for n in range(3)}
        outcomes.append((bench.engine.room_table("ROOM"), by_sender))
    assert outcomes[0] == outcomes[1]


def test_the_batch_may_be_used_again_as_soon_as_it_was_received() -> None:
    bench = Bench()
    one, two = bench.join_all(2)
    batch = Batch(4)
    for client in (one, two):
        payload, address = client.data(client.state(b"state"), client.message(b"message"), client.signal(b"signal"))
        batch.append(payload, address)
    bench.engine.receive(batch, bench.now)
    batch.data[:] = 0xEE
    batch.address[:] = 0
    batch.clear()
    bench.tick()
    two.hear()
    assert set(two.table.values()) == {b"state"} and two.signals == [b"signal"] * 2
    assert [payload for _, payload in two.messages] == [b"message"] * 2


def test_what_is_sent_stays_readable_until_the_next_call_although_the_log_grew_under_it() -> None:
    bench = Bench(messages_per_s=1000, bytes_per_s=2**31)
    clients = bench.join_all(8)
    for client in clients:
        client.say(client.message(b"first" + bytes(1000)))
    outgoing = bench.engine.flush(bench.now)
    before = [payload for _, payload in outgoing.datagrams()]
    arena = weakref.ref(bench.engine.world.log.arena.bytes)
    bench.engine.world.log.arena.take(bench.engine.world.sessions.live * 0 + 250_000)
    gc.collect()
    assert [payload for _, payload in outgoing.datagrams()] == before
    assert arena() is not None


def test_one_rows_coming_and_going_between_two_sends_is_seen_by_nobody_else() -> None:
    """A session ends and another takes its row between receive and flush: nothing of the one may go to the other."""
    bench = Bench()
    goer, stayer = bench.join_all(2)
    row = goer.row
    newcomer = Client(bench)
    join = newcomer.join_datagram(newcomer.get_cookie(), code="OTHER")
    bench.receive(goer.data(goer.state(b"x"), goer.message(b"y")), goer.bye())
    bench.receive((join, newcomer.address))
    assert bench.engine.world.sessions.live.tolist() == sorted([row, stayer.row])
    sent = list(bench.engine.flush(bench.now).datagrams())
    assert goer.address not in [address for address, _ in sent]
    for address, payload in sent:
        if payload[0] == Kind.UPDATE and address == newcomer.address:
            assert b"y" not in payload[dtypes.UPDATE_HEADER.size :] and b"client 0" not in payload


# --- sends


def test_a_quiet_room_sends_nothing_but_keepalives() -> None:
    bench = Bench(keepalive_s=0.5)
    clients = bench.join_all(4)
    clients[0].say(clients[0].state(b"x"))
    for _ in range(10):
        bench.tick()
        bench.receive(*[client.listen() for client in clients])
    sent = []
    for _ in range(60):
        bench.tick()
        sent += [update.size for client in clients for update in client.hear()]
        if bench.engine.tick_number % 15 == 0:
            bench.receive(*[client.data() for client in clients])
    assert set(sent) == {32} and 4 * 3 <= len(sent) <= 4 * 5


def test_a_flush_without_news_sends_nothing() -> None:
    bench = Bench()
    [client] = bench.join_all(1)
    client.say()
    client.say(client.state(b"state waits for the tick"))
    assert bench.flush() == 0
    bench.tick()
    assert len(client.hear()) == 1


def test_a_snapshot_goes_out_at_the_tick_and_messages_at_once() -> None:
    bench = Bench()
    one, two = bench.join_all(2)
    one.say(one.state(b"state"), one.message(b"message"))
    bench.flush()
    two.hear()
    assert two.table == {} and [payload for _, payload in two.messages] == [b"message"]
    bench.tick()
    two.hear()
    assert two.table == {0: b"state"}


def test_counters_are_the_datagrams_and_bytes_that_crossed() -> None:
    bench = Bench()
    clients = bench.join_all(2)
    counters = bench.engine.stats.counters
    before = dict(counters)
    datagrams = [client.data(client.state(b"abc")) for client in clients]
    bench.receive(*datagrams)
    bench.tick()
    sent = [len(payload) for client in clients for payload in bench.take(client.address)]
    assert counters["datagrams_in"] - before["datagrams_in"] == 2
    assert counters["bytes_in"] - before["bytes_in"] == sum(len(payload) for payload, _ in datagrams)
    assert counters["datagrams_out"] - before["datagrams_out"] == len(sent) == 2
    assert counters["bytes_out"] - before["bytes_out"] == sum(sent)


def test_gathering_is_brief_for_a_second_after_a_message_signal_or_join() -> None:
    bench = Bench()
    client = bench.join()
    bench.now = 100.0
    client.say(client.state(b"x"))
    assert not bench.engine.wants_quick(bench.now)
    for section in (client.message(b"x"), client.signal(b"x")):
        bench.now += 5.0
        client.say(section)
        assert bench.engine.wants_quick(bench.now) and bench.engine.wants_quick(bench.now + QUICK_S - 0.01)
        assert not bench.engine.wants_quick(bench.now + QUICK_S)
    bench.now += 5.0
    Client(bench).get_cookie()
    assert bench.engine.wants_quick(bench.now)


def test_a_sample_time_is_moved_into_the_last_second() -> None:
    bench = Bench(tick_rate=10)
    one, reader = bench.join_all(2, max_players=2, entities_per_player=4)
    bench.wait(5.0)
    bench.receive(one.listen(), reader.listen())
    clock = bench.engine.world.clock_ms(bench.now)
    samples = (clock, clock - 400, clock - 30_000, clock + 5_000)
    one.say(*[one.state(b"x", n, sample_ms=sample) for n, sample in enumerate(samples)])
    bench.tick()
    [page] = [page for update in reader.hear() for page in update.pages]
    ages = {entity_id: 2 * age for entity_id, age, _ in page.states}
    assert [ages[one.entity(n)] for n in range(4)] == [100, 500, 510, 100]  # 510 is "or more"


# --- ends


def test_who_is_silent_for_the_timeout_ends_and_who_is_not_stays() -> None:
    bench = Bench(timeout_s=2.0)
    silent, alive = bench.join_all(2)
    began = bench.now
    while bench.now < began + 2.0 - 2 * TICK:
        bench.tick()
        bench.receive(alive.data())
    assert bench.engine.num_sessions == 2
    for _ in range(4):
        bench.tick()
        bench.receive(alive.listen())
    assert bench.engine.room_members("ROOM") == {1: alive.name}
    assert bench.counted("left_timeout") == 1
    assert codec.decode(bench.take(silent.address)[-1]).reason == ByeReason.TIMEOUT


def play_deaf(bench: Bench, deaf: Client, others: list[Client], seconds: float) -> float | None:
    """Let a client send and acknowledge datagrams, but never the log. Returns: when it ended, from now."""
    began, cursor = bench.now, deaf.cursor
    while bench.now < began + seconds:
        bench.tick()
        bench.receive(*[other.listen() for other in others])
        if bench.engine.num_sessions == len(others):
            return bench.now - began
        deaf.hear()
        bench.receive(deaf.data(log_cursor=cursor))
    return None


def test_who_does_not_move_in_the_log_for_10_s_with_something_outstanding_is_too_slow() -> None:
    bench = Bench()
    deaf, other = bench.join_all(2)
    other.say(other.message(b"read me"))
    ended = play_deaf(bench, deaf, [other], 20.0)
    assert ended is not None and TOO_SLOW_S - 2 * TICK <= ended <= TOO_SLOW_S + 2 * TICK
    assert bench.counted("left_too_slow") == 1
    bye = next(payload for payload in bench.take(deaf.address) if payload[0] == Kind.BYE)
    assert codec.decode(bye).reason == ByeReason.TOO_SLOW


def test_who_reads_one_entry_in_9_s_is_too_slow() -> None:
    """Progress was enough: with an entry now and then one member held up everybody's credit for ever."""
    bench = Bench()
    slow, other = bench.join_all(2)
    cursor, began = slow.cursor, bench.now
    for n in range(25 * 30):
        if n % 30 == 0:
            bench.receive(other.data(other.message(b"%d" % n)))
        bench.tick()
        slow.hear()
        bench.receive(other.listen())
        if bench.engine.num_sessions == 1:
            break
        bench.receive(slow.data(log_cursor=cursor + int((bench.now - began) / 9.0)))
    assert bench.now - began <= 2 * TOO_SLOW_S + 2 * TICK
    assert bench.engine.room_members("ROOM") == {1: other.name} and bench.counted("left_too_slow") == 1


def test_who_reads_late_but_all_that_was_there_10_s_before_stays() -> None:
    bench = Bench()
    late, other = bench.join_all(2)
    for n in range(25 * 30):
        if n % 30 == 0:
            bench.receive(other.data(other.message(b"%d" % n)))
        bench.tick()
        late.hear()
        cursor = late.cursor - 4  # four seconds behind all the time
        bench.receive(other.listen(), late.data(log_cursor=max(late.welcome.log_index, cursor)))
    assert bench.engine.num_sessions == 2


def test_who_sends_and_acknowledges_nothing_for_10_s_is_too_slow() -> None:
    bench = Bench()
    mute, other = bench.join_all(2)
    began, ended = bench.now, 0.0
    for _ in range(15 * 30):
        bench.tick()
        mute.hear()
        bench.receive(other.listen())
        if bench.engine.num_sessions == 1:
            ended = bench.now - began
            break
        bench.receive(mute.data(ack=0, ack_bits=0, flags=1))  # it says that it has got nothing yet; its log is read
    assert TOO_SLOW_S - 0.5 <= ended <= TOO_SLOW_S + 1.5
    assert bench.engine.room_members("ROOM") == {1: other.name} and bench.counted("left_too_slow") == 1


def test_who_fills_the_memory_of_logs_by_not_reading_ends_and_nobody_else() -> None:
    bench = Bench(
        log_memory_mib=1, bytes_per_s=2**31, messages_per_s=65_535, client_bytes_per_s=2**31, datagrams_per_s=65_535
    )
    hoarder, *writers = bench.join_all(24, max_players=24)
    others = bench.join_all(2, code="OTHER")
    table, cursor, rounds = bench.engine.world.sessions.table, hoarder.cursor, 0
    while bench.engine.num_sessions == 26 and rounds < 200:
        rounds += 1
        datagrams = [client.listen() for client in [*writers, *others]]
        for client in [*writers, *others]:
            if client.message_id < int(table.message_permitted[client.row]):
                datagrams.append(client.data(client.message(bytes(1024))))
        hoarder.hear()
        bench.receive(*datagrams, hoarder.data(log_cursor=cursor))
        bench.tick()
    for _ in range(30):
        bench.receive(*[client.listen() for client in [*writers, *others]])
        bench.tick()
    assert rounds < 200 and bench.engine.num_sessions == 25
    assert hoarder.name not in bench.engine.room_members("ROOM").values()
    assert bench.counted("left_too_slow") == 1


def test_who_has_nothing_outstanding_is_never_too_slow() -> None:
    bench = Bench()
    deaf, other = bench.join_all(2)
    assert play_deaf(bench, deaf, [other], 15.0) is None


def test_who_may_see_none_of_what_goes_by_is_never_too_slow() -> None:
    bench = Bench()
    deaf, one, two = bench.join_all(3)
    cursor = deaf.cursor
    for n in range(15 * 30):
        if n % 10 == 0:
            one.say(one.message(b"private", 2, (two.welcome.player_id,)))
        bench.tick()
        deaf.hear()
        bench.receive(one.listen(), two.listen(), deaf.data(log_cursor=cursor))
    assert bench.engine.num_sessions == 3 and len(two.messages) == 45


def test_who_falls_8192_entries_behind_is_too_slow_and_the_others_go_on() -> None:
    """One room's log is pushed past its cap: the policy is that who does not read ends. Its gauge stays below.

    Players' credit ends long before that; what is left are entries of the relay's own.
    """
    bench = Bench(client_bytes_per_s=2**31)
    clients = bench.join_all(3)
    deaf, others = clients[0], clients[1:]
    world, cursor, room_row = bench.engine.world, deaf.cursor, deaf.room_row
    written = 0
    while bench.engine.num_sessions == 3:
        for _ in range(200):
            world.log.append_own(world.rooms, room_row, [OwnEntry(EntryKind.HOST_CHANGED, b"\0\0")])
        written += 200
        bench.tick()
        deaf.hear()
        bench.receive(*[client.listen() for client in others])
        if bench.engine.num_sessions == 3:
            bench.receive(deaf.data(log_cursor=cursor))
        value, cap = bench.engine.gauges()["log_entries_of_a_room"]
        assert value <= cap == 2 * LOG_CAP_ENTRIES and written <= LOG_CAP_ENTRIES + 400
    assert written > LOG_CAP_ENTRIES and bench.counted("left_too_slow") == 1
    assert bench.engine.room_members("ROOM") == {1: "client 1", 2: "client 2"}
    for _ in range(3):
        bench.tick()
        bench.receive(*[client.listen() for client in others])
    bench.tick()
    assert bench.engine.gauges()["log_entries_of_a_room"][0] == 0
    assert others[0].cursor == max(others[0].entries)


def test_a_message_beyond_all_bounds_ends_its_sender_for_the_protocol_and_nobody_else() -> None:
    bench = Bench()
    sender, other = bench.join_all(2)
    table = bench.engine.world.sessions.table
    table.unfinished_parts[sender.row] = 1024
    sender.say(sender.message(b"one too many", more=1))
    assert bench.engine.room_members("ROOM") == {1: other.name}
    assert bench.counted("left_protocol") == 1


def test_everybody_is_told_of_a_shutdown_three_times() -> None:
    bench = Bench()
    clients = bench.join_all(3)
    for _ in range(3):
        byes = {address: codec.decode(payload) for address, payload in bench.engine.shutdown(bench.now).datagrams()}
        assert {address: bye.session for address, bye in byes.items()} == {
            c.address: c.welcome.session for c in clients
        }
        assert {bye.reason for bye in byes.values()} == {ByeReason.SHUTDOWN}
        bench.now += 0.02


def test_answers_that_waited_go_out_with_the_shutdown() -> None:
    bench = Bench()
    bench.receive((codec.encode(Kind.PING, shard=0, magic=b"TKRL", nonce=4), ELSEWHERE))
    assert [payload[0] for _, payload in bench.engine.shutdown(bench.now).datagrams()] == [Kind.PONG]


# --- what may be read


def test_what_is_read_of_rooms_that_are_not_there_is_empty() -> None:
    bench = Bench()
    bench.join(code="HERE")
    assert bench.engine.room_members("THERE") == {} == bench.engine.room_table("THERE")
    assert bench.engine.room_members("HERE") == {0: "client 0"}
    assert (bench.engine.num_rooms, bench.engine.num_sessions) == (1, 1)


def test_every_gauge_is_within_its_cap_and_falls_back_when_all_have_left() -> None:
    bench = Bench()
    empty = bench.engine.gauges()
    clients = bench.join_all(6)
    for client in clients:
        client.say(client.message(b"a"), client.message(b"c", message_id=4), client.signal(b"b"))
        client.say(client.signal(b"w", flags=2, after_message=9))
    busy = bench.engine.gauges()
    assert all(0 <= value <= cap for value, cap in busy.values())
    used = {"sessions", "rooms", "nonces", "held_messages", "waiting_signals", "queued_signals"}
    used |= {"log_entries_of_a_room", "unread_bytes_of_a_session"}
    assert {name for name in busy if busy[name][0] > empty[name][0]} == used
    bench.receive(*[client.bye() for client in clients])
    bench.wait(25.0)
    left = bench.engine.gauges()
    assert {name: value for name, (value, _) in left.items() if name not in ("log_entries_of_a_room",)} == {
        name: value for name, (value, _) in empty.items() if name not in ("log_entries_of_a_room",)
    }


@pytest.mark.parametrize("num_ticks", [1, 2, 3, 4])
def test_a_client_of_a_slower_rate_is_served_although_ticks_are_left_out(num_ticks: int) -> None:
    """An engine that is always late by one tick counts in steps of two: then `tick % 4 == 0` may never come."""
    bench = Bench()
    writer, reader = bench.join_all(2)
    bench.engine.world.sessions.table.tick_interval[reader.row] = 4
    if bench.engine.tick_number % 2 == 0:
        bench.tick()
    for n in range(8):
        writer.say(writer.state(b"%d" % n))
        bench.now += num_ticks * TICK
        bench.keep(bench.engine.tick(bench.now, num_ticks))
    reader.hear()
    assert reader.table != {}


def test_ticks_that_are_left_out_move_server_time_on_and_lose_nothing() -> None:
    bench = Bench()
    writer, reader = bench.join_all(2)
    for n in range(20):
        writer.say(writer.state(b"%d" % n), writer.message(b"%d" % n))
        before = bench.engine.tick_number
        bench.now += (1 + n % 5) * TICK
        bench.keep(bench.engine.tick(bench.now, 1 + n % 5))
        assert bench.engine.tick_number == before + 1 + n % 5
        bench.receive(writer.listen(), reader.listen())
        assert reader.updates[-1].header.tick == bench.engine.tick_number
    assert reader.table == {0: b"19"} and len(reader.messages) == 20
    assert bench.engine.world.clock_ms(bench.now) == pytest.approx(1000 * bench.engine.tick_number / 30, abs=1)


def test_two_engines_with_one_seed_send_the_same_bytes() -> None:
    sent = []
    for _ in range(2):
        bench = Bench()
        clients = bench.join_all(3)
        for n in range(20):
            bench.receive(*[c.data(c.state(b"%d" % n), c.message(b"%d" % n), c.signal(b"s")) for c in clients])
            bench.tick()
            sent.append([payload for client in clients for payload in bench.sent.get(client.address, [])])
            bench.receive(*[client.listen() for client in clients])
    assert sent[:20] == sent[20:] and any(sent)


@pytest.mark.parametrize("tick_rate", [1, 7, 240])
def test_any_tick_rate_serves_a_room(tick_rate: int) -> None:
    bench = Bench(tick_rate=tick_rate)
    one, two = bench.join_all(2)
    for n in range(5):
        one.say(one.state(b"%d" % n), one.message(b"%d" % n))
        bench.tick()
        bench.receive(one.listen(), two.listen())
    assert two.table == {0: b"4"} and len(two.messages) == 5
    assert one.welcome.tick_rate == tick_rate


def test_a_restarted_engine_with_the_same_secret_tells_its_clients_so() -> None:
    bench = Bench()
    client = bench.join()
    bench.engine = Engine(RelayConfig(), SECRET, Random(99))
    client.say(client.state(b"anybody there?"))
    bench.take(client.address)
    bench.flush()
    [reset] = [codec.decode(payload) for payload in bench.take(client.address)]
    assert (reset.kind, reset.reset_token) == (Kind.RESET, client.welcome.reset_token)


def test_members_whom_the_relay_itself_makes_wait_are_not_too_slow() -> None:
    """64 players with one message of 32 fragments each take 17 s at 120 fragments a second, and all were ended."""
    bench = Bench(max_sessions_per_host=64)
    clients = []
    for n in range(64):
        clients.append(bench.join(max_players=64))
        if n % 16 == 15:
            bench.tick()
    for number in range(32):
        bench.receive(*[client.data(client.message(bytes(1000), more=int(number < 31))) for client in clients])
    for _ in range(15 * 30):
        bench.receive(*[client.listen() for client in clients])
        bench.tick()
    assert bench.engine.num_sessions == 64
