"""Joining and leaving: who is let in, which player id it gets, and what the room is told."""

from typing import Any

import numpy as np
import pytest

from protocol import schemas
from protocol.constants import NO_PLAYER, ByeReason, EntryKind, JoinMode, Option, Refusal, RequestKind
from protocol.proofs import room_key, shard_of
from relay.addresses import is_loopback, pack_address
from relay.log import NO_SESSION
from relay.membership import REST_S
from tests.relay.bench import Bench, Client
from tests.relay.finding import LISTED, ask_for, codes_of, labels, properties


def told(client: Client) -> list[tuple[Any, ...]]:
    """List the server's entries that a client was sent: (kind, player id, ...), in order."""
    lines: list[tuple[Any, ...]] = []
    for _, entry in sorted(client.entries.items()):
        if entry.kind < 128:
            continue
        assert entry.sender == NO_PLAYER
        kind = EntryKind(entry.kind)
        value = schemas.ENTRY_PAYLOADS[kind].parse(entry.payload)
        if kind == EntryKind.ROSTER:
            lines.append((kind, value.host, [(member.player_id, member.name) for member in value.members]))
        elif kind == EntryKind.PLAYER_JOINED:
            lines.append((kind, value.player_id, value.name))
        elif kind == EntryKind.PLAYER_LEFT:
            lines.append((kind, value.player_id, ByeReason(value.reason)))
        elif kind != EntryKind.ROOM_READY:
            lines.append((kind, value.player_id))
    return lines


def leave(client: Client) -> None:
    client.bench.receive(client.bye())


def all_listen(bench: Bench, *clients: Client) -> None:
    """Let everybody read and acknowledge all there is."""
    for _ in range(3):
        bench.tick()
        bench.receive(*[client.listen() for client in clients])


# --- what the room is told


def test_the_first_player_is_told_of_itself_and_that_it_is_host() -> None:
    bench = Bench()
    [client] = bench.join_all(1)
    assert told(client) == [(EntryKind.PLAYER_JOINED, 0, b"client 0"), (EntryKind.HOST_CHANGED, 0)]
    assert client.welcome.log_index == 0


def test_a_later_player_gets_the_roster_then_its_own_entry() -> None:
    bench = Bench()
    first, second, third = bench.join_all(3)
    assert told(third) == [
        (EntryKind.ROSTER, 0, [(0, b"client 0"), (1, b"client 1")]),
        (EntryKind.PLAYER_JOINED, 2, b"client 2"),
    ]
    assert told(second)[-1] == (EntryKind.PLAYER_JOINED, 2, b"client 2")
    rosters = [line for client in (first, second) for line in told(client) if line[0] == EntryKind.ROSTER]
    assert rosters == [(EntryKind.ROSTER, 0, [(0, b"client 0")])]  # each only its own


def test_a_long_roster_comes_in_entries_that_each_fit_a_datagram_and_names_everybody_once() -> None:
    bench = Bench(max_room_players=64, max_sessions_per_host=100)
    for n in range(63):
        bench.join(name=f"{n:032}".encode(), max_players=64)
        bench.tick()
    last = bench.join()
    all_listen(bench, last)
    rosters = [line for line in told(last) if line[0] == EntryKind.ROSTER]
    assert len(rosters) > 1
    assert [member for line in rosters for member in line[2]] == [(n, f"{n:032}".encode()) for n in range(63)]
    assert {line[1] for line in rosters} == {0}
    assert told(last)[-1][0] == EntryKind.PLAYER_JOINED
    assert max(len(entry.payload) for entry in last.entries.values()) <= 1024


def test_a_leave_is_told_with_its_reason_and_the_host_moves_to_who_is_there_longest() -> None:
    bench = Bench()
    first, second, third = bench.join_all(3)
    leave(first)
    all_listen(bench, second, third)
    for client in (second, third):
        assert told(client)[-2:] == [(EntryKind.PLAYER_LEFT, 0, ByeReason.LEFT), (EntryKind.HOST_CHANGED, 1)]
    leave(third)
    all_listen(bench, second)
    assert told(second)[-1] == (EntryKind.PLAYER_LEFT, 2, ByeReason.LEFT)
    assert bench.engine.room_members("ROOM") == {1: "client 1"}


def test_entities_of_who_leaves_are_removed_in_the_next_snapshot() -> None:
    bench = Bench()
    goer, stayer = bench.join_all(2, entities_per_player=3)
    goer.say(goer.state(b"one", 0), goer.state(b"three", 2))
    stayer.say(stayer.state(b"mine", 1))
    all_listen(bench, stayer)
    assert sorted(stayer.table.values()) == [b"mine", b"one", b"three"]
    leave(goer)
    bench.tick()
    stayer.hear()
    assert stayer.table == bench.engine.room_table("ROOM") == {stayer.entity(1): b"mine"}


def test_an_empty_room_closes_and_its_code_is_free_for_a_new_one() -> None:
    bench = Bench()
    [client] = bench.join_all(1, max_state_bytes=100)
    client.say(client.state(b"old"), client.message(b"old"))
    leave(client)
    assert bench.engine.num_rooms == bench.engine.num_sessions == 0
    assert [event.text for event in bench.engine.events] == [
        "room ROOM opened: up to 16 players, 1 entities each, states up to 100 bytes",
        "room ROOM closed",
    ]
    again = bench.join(max_state_bytes=7)
    assert (again.welcome.player_id, again.welcome.log_index, again.welcome.max_state_bytes) == (0, 0, 7)
    assert bench.engine.room_table("ROOM") == {}


def test_the_entries_of_who_left_are_owned_by_nobody() -> None:
    """The row is used again: a credit given back to it would be that of a stranger."""
    bench = Bench()
    goer, stayer = bench.join_all(2, max_players=4)
    row = goer.row
    goer.say(goer.message(bytes(500)))
    bench.flush()
    leave(goer)
    newcomer = bench.join(code="OTHER", max_players=4)
    assert newcomer.row == row
    newcomer.say(newcomer.message(bytes(300)))
    all_listen(bench, stayer)
    table = bench.engine.world.sessions.table
    assert table.unread_bytes[row] == 300 + 64
    assert NO_SESSION not in bench.engine.world.sessions.live
    all_listen(bench, newcomer)
    assert table.unread_bytes[row] == 0


# --- player ids


def test_player_ids_are_given_in_order_and_not_again_while_others_are_free() -> None:
    bench = Bench()
    [first] = bench.join_all(1, max_players=3)
    given = []
    for _ in range(5):
        client = bench.join()
        given.append(client.welcome.player_id)
        leave(client)
        all_listen(bench, first)
    assert given == [1, 2, 3, 4, 5]
    assert bench.join().welcome.player_id == 1  # left longest ago


def use_up_ids(bench: Bench, watcher: Client) -> None:
    """Let players come and go until every id of a room for two was somebody's."""
    for _ in range(3):
        client = bench.join()
        client.say(client.state(b"seen"))
        all_listen(bench, watcher, client)
        leave(client)


def test_an_id_is_not_given_again_before_every_member_has_read_the_leave() -> None:
    bench = Bench()
    [watcher] = bench.join_all(1, max_players=2)
    use_up_ids(bench, watcher)
    cursor = watcher.cursor
    all_listen(bench, watcher)
    bench.receive(watcher.data(log_cursor=cursor))  # a cursor never goes back
    newcomer = bench.join()
    assert newcomer.welcome.player_id == 1
    leave(newcomer)
    bench.tick()
    leave(bench.join())
    leave(bench.join())
    refused = Client(bench).ask()  # ids 2 and 3 were left a moment ago, and 1 as well
    assert refused.reason == Refusal.ROOM_FULL
    all_listen(bench, watcher)
    assert Client(bench).ask().fields.player_id == 1


def test_an_id_is_not_given_again_before_every_member_knows_that_its_entities_are_gone() -> None:
    bench = Bench()
    [watcher] = bench.join_all(1, max_players=2)
    for _ in range(3):
        client = bench.join()
        client.say(client.state(b"here"))
        leave(client)
        bench.tick()
        watcher.hear()
        bench.receive(watcher.data(ack=0, ack_bits=0, flags=1))  # the log was read, but no page is acknowledged
    world = bench.engine.world
    assert world.sessions.table.log_effective[watcher.row] == world.rooms.table.log_head[watcher.room_row]
    assert Client(bench).ask().reason == Refusal.ROOM_FULL
    bench.receive(watcher.data())
    assert Client(bench).ask().fields.player_id == 1


def test_an_id_whose_player_never_had_an_entity_only_waits_for_the_log() -> None:
    bench = Bench()
    [watcher] = bench.join_all(1, max_players=1 + 1)
    for _ in range(3):
        leave(bench.join())
    assert Client(bench).ask().reason == Refusal.ROOM_FULL
    bench.tick()
    watcher.hear()
    bench.receive(watcher.data(ack=0, ack_bits=0, flags=1))
    assert Client(bench).ask().fields.player_id == 1


# --- who is let in


def test_the_modes_do_what_they_say() -> None:
    bench = Bench()
    assert Client(bench).ask(mode=JoinMode.JOIN).reason == Refusal.NO_SUCH_ROOM
    assert Client(bench).ask(mode=JoinMode.CREATE).fields.player_id == 0
    assert Client(bench).ask(mode=JoinMode.CREATE).reason == Refusal.ROOM_EXISTS
    assert Client(bench).ask(mode=JoinMode.JOIN).fields.player_id == 1
    assert Client(bench).ask(mode=JoinMode.JOIN_OR_CREATE).fields.player_id == 2
    assert bench.engine.num_rooms == 1


def test_a_code_that_the_relay_makes_up_is_told_with_its_shard() -> None:
    bench = Bench()
    made = [bench.join(code="", mode=JoinMode.CREATE).welcome for _ in range(3)]
    codes = {welcome.code.rstrip(b"\0") for welcome in made}
    assert len(codes) == 3 and all(len(code) == 6 for code in codes)
    assert all(welcome.shard == shard_of(welcome.code.rstrip(b"\0")) for welcome in made)


def test_options_of_a_room_that_exists_are_ignored() -> None:
    bench = Bench()
    bench.join(max_players=3, entities_per_player=4, max_state_bytes=50)
    second = bench.join(max_players=9, entities_per_player=7, max_state_bytes=60).welcome
    assert (second.max_players, second.entities_per_player, second.max_state_bytes) == (3, 4, 50)
    assert second.player_slots == 6


def test_a_room_is_full_at_max_players_and_open_again_when_one_leaves() -> None:
    bench = Bench()
    first, _ = bench.join_all(2, max_players=2)
    assert [Client(bench).ask().reason for _ in range(2)] == [Refusal.ROOM_FULL] * 2
    assert bench.counted("refused_room_full") == 2
    leave(first)
    assert Client(bench).ask().fields.player_id == 2


def test_the_relay_is_full_at_max_players_and_counts_whom_it_refused() -> None:
    bench = Bench(max_players=3)
    clients = [bench.join(code=f"R{n}") for n in range(3)]
    assert [Client(bench).ask(code=f"X{n}").reason for n in range(2)] == [Refusal.SERVER_FULL] * 2
    assert bench.engine.gauges()["sessions"] == (3, 3)
    assert bench.counted("refused_server_full") == 2
    leave(clients[1])
    assert Client(bench).ask(code="R0").fields.player_id == 1


def test_the_relay_opens_no_more_rooms_than_max_rooms() -> None:
    bench = Bench(max_rooms=2)
    clients = [bench.join(code=f"R{n}") for n in range(2)]
    assert [Client(bench).ask(code=f"X{n}").reason for n in range(2)] == [Refusal.SERVER_FULL] * 2
    assert bench.engine.gauges()["rooms"] == (2, 2)
    assert Client(bench).ask(code="R1").fields.player_id == 1  # a room that is there may be joined
    leave(clients[0])
    assert Client(bench).ask(code="X0").fields.player_id == 0


def test_a_room_that_does_not_fit_the_memory_is_refused_and_smaller_ones_are_not() -> None:
    bench = Bench(state_memory_mib=1)
    large = {"max_players": 64, "entities_per_player": 64, "max_state_bytes": 100}
    assert Client(bench).ask(code="LARGE", **large).reason == Refusal.SERVER_FULL
    assert bench.engine.num_rooms == 0
    assert Client(bench).ask(code="SMALL").fields.player_id == 0


def test_hosts_are_held_to_their_share_whatever_their_ports() -> None:
    bench = Bench(max_sessions_per_host=2)
    clients = [Client(bench, host="192.0.2.1").join() for _ in range(2)]
    assert [Client(bench, host="192.0.2.1").ask().reason for _ in range(2)] == [Refusal.TOO_MANY_SESSIONS] * 2
    assert bench.counted("refused_too_many_sessions") == 2
    Client(bench, host="192.0.2.2").join()
    leave(clients[0])
    Client(bench, host="192.0.2.1").join()
    assert Client(bench, host="192.0.2.1").ask().reason == Refusal.TOO_MANY_SESSIONS


def test_a_slash_64_is_one_host() -> None:
    bench = Bench(max_sessions_per_host=2)
    for n in range(2):
        Client(bench, host=f"2001:db8:0:1::{n + 1}").join()
    assert Client(bench, host="2001:db8:0:1:ffff::9").ask().reason == Refusal.TOO_MANY_SESSIONS
    Client(bench, host="2001:db8:0:2::1").join()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.255.255", "::1"])
def test_loopback_has_no_cap(host: str) -> None:
    bench = Bench(max_sessions_per_host=1)
    for _ in range(3):
        Client(bench, host=host).join()
    assert bench.engine.num_sessions == 3


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("126.0.0.1", False),
        ("128.0.0.1", False),
        ("::2", False),
    ],
)
def test_loopback_is_127_slash_8_and_1(host: str, loopback: bool) -> None:
    assert is_loopback(pack_address(host, 1)) == loopback


def test_a_session_that_roams_is_counted_where_it_joined() -> None:
    bench = Bench(max_sessions_per_host=1)
    client = Client(bench, host="192.0.2.1").join()
    bench.engine.world.sessions.set_address(client.row, pack_address("192.0.2.2", 5))
    assert Client(bench, host="192.0.2.1").ask().reason == Refusal.TOO_MANY_SESSIONS
    leave(client)
    Client(bench, host="192.0.2.1").join()
    assert sum(bench.engine.world.hosts.values()) == 1


def test_who_was_refused_leaves_nothing_behind() -> None:
    bench = Bench(max_sessions_per_host=1)
    Client(bench, host="192.0.2.1").join(max_players=1)
    before = len(bench.engine.world.sessions.live), dict(bench.engine.world.hosts), bench.engine.num_rooms
    Client(bench, host="192.0.2.1").ask(code="OTHER")
    Client(bench, host="192.0.2.2").ask()
    Client(bench, host="192.0.2.2").ask(code="bad")
    Client(bench, host="192.0.2.2").ask(code="NEW", max_state_bytes=0)
    after = len(bench.engine.world.sessions.live), dict(bench.engine.world.hosts), bench.engine.num_rooms
    assert after == before


def test_a_session_row_that_is_used_again_starts_with_full_buckets_and_a_blank_seat() -> None:
    bench = Bench(datagrams_per_s=10)
    goer, stayer = bench.join_all(2)
    bench.receive(*[goer.data(goer.state(b"%d" % n)) for n in range(20)])
    row = goer.row
    leave(goer)
    bench.receive(stayer.data())
    newcomer = bench.join()
    world = bench.engine.world
    assert newcomer.row == row
    assert world.sessions.table.tokens[row].tolist() == [10, 200_000, 200, 300]
    first = int(world.sessions.table.pages_first[row])
    assert not world.entities.seats.acked_tick[first] and not world.entities.seats.sent_tick[first]
    assert newcomer.welcome.player_id == 2
    newcomer.say(newcomer.state(b"new"), seq=1)
    assert bench.engine.room_table("ROOM") == {newcomer.entity(): b"new"}
    owner = world.entities.table.owner[: len(world.rooms.by_code[b"ROOM"].slots)]
    assert np.flatnonzero(owner == row).tolist() == [newcomer.entity()]


def test_a_player_id_rests_at_most_20_s_whatever_members_claim_not_to_have_read() -> None:
    bench = Bench()
    keeper = bench.join(max_players=2)
    world = bench.engine.world
    room = world.rooms.by_row[keeper.room_row]
    for slot in room.slots[1:]:
        slot.left_index, slot.left_tick = 1_000_000, world.tick
    assert Client(bench).ask().reason == Refusal.ROOM_FULL
    left_at = bench.now
    while bench.now < left_at + REST_S - 0.5:
        bench.tick()
        bench.receive(keeper.listen())
    assert Client(bench).ask().reason == Refusal.ROOM_FULL
    for _ in range(30):
        bench.tick()
        bench.receive(keeper.listen())
    assert Client(bench).join().welcome.player_id == 1


# --- games, versions and quick matches

QUICK = {"mode": JoinMode.QUICK, "code": "", "max_players": 4}


def in_rooms(bench: Bench) -> list[int]:
    return sorted(len(room.joined) for room in bench.engine.world.rooms.by_row.values())


def test_rooms_of_two_games_may_have_one_code_and_do_not_meet() -> None:
    bench = Bench()
    chess, go = (bench.join(options=labels(game=game)) for game in (b"chess", b"go"))
    assert chess.room_row != go.room_row and bench.engine.num_rooms == 2
    assert Client(bench).ask(mode=JoinMode.JOIN).reason == Refusal.NO_SUCH_ROOM  # of no game
    leave(chess)
    assert Client(bench).ask(mode=JoinMode.JOIN, options=labels(game=b"chess")).reason == Refusal.NO_SUCH_ROOM
    assert bench.join(mode=JoinMode.JOIN, options=labels(game=b"go")).room_row == go.room_row


def test_another_version_of_the_game_is_told_so() -> None:
    bench = Bench()
    bench.join(options=labels(version=b"1"))
    for mode in (JoinMode.JOIN, JoinMode.JOIN_OR_CREATE):
        refused = Client(bench).ask(mode=mode, options=labels(version=b"2"))
        assert refused.reason == Refusal.OTHER_VERSION and b"version" in refused.text


def test_quick_matches_fill_the_fullest_room_and_then_open_another() -> None:
    bench = Bench()
    clients = [bench.join(**QUICK, options=labels()) for _ in range(10)]
    assert in_rooms(bench) == [2, 4, 4]
    leave(clients[0])
    assert bench.join(**QUICK, options=labels()).room_row == clients[1].room_row
    assert in_rooms(bench) == [2, 4, 4]
    assert codes_of(ask_for(bench, is_open=True)) == [clients[8].welcome.code.rstrip(b"\0").decode()]


def test_a_quick_match_takes_no_room_that_does_not_suit() -> None:
    bench = Bench()
    host = bench.join(code="LOCKED", options=[*labels(), LISTED])
    host.say(host.request(RequestKind.LOCK, is_locked=1))
    bench.join(code="HIDDEN", options=labels())
    bench.join(code="PASSWORD", options=[*labels(), LISTED, (Option.ROOM_KEY, room_key("x"))])
    bench.join(code="OLD", options=[*labels(version=b"0"), LISTED])
    bench.join(code="SEA", options=[*labels(), LISTED, (Option.PROPERTIES, properties(map=b"sea"))])
    bench.join(code="RATED", options=[*labels(tags=(b"rated",)), LISTED])
    host = bench.join(code="BANNED", options=[*labels(tags=(b"fun",)), LISTED])
    bench.engine.world.rooms.by_row[host.room_row].belongings.bans.add(b"i" * 16, host.address, False)

    def meets(*more: tuple[int, bytes], tags: tuple[bytes, ...] = ()) -> str:
        client = bench.join(**QUICK, options=[*labels(tags=tags), *more])
        return client.welcome.code.rstrip(b"\0").decode()

    air = meets((Option.PROPERTIES, properties(map=b"air")), tags=(b"rated",))
    assert len(air) == 6  # none suited
    assert meets((Option.PROPERTIES, properties(map=b"air")), tags=(b"rated",)) == air
    assert meets((Option.PROPERTIES, properties(map=b"sea"))) == "SEA"
    assert len(meets((Option.IDENTITY, b"i" * 16), tags=(b"fun",))) == 6
    assert meets(tags=(b"fun",)) == "BANNED"


def test_a_quick_match_with_a_code_that_is_none_is_refused() -> None:
    assert Client(Bench()).ask(mode=JoinMode.QUICK, code="lower").reason == Refusal.BAD_CODE
