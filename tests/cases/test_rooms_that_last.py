"""Special cases of rooms that last: who is lost comes back, and the room keeps what it was told (SPEC 4 and 9)."""

from itertools import pairwise
from typing import Any

import pytest

from protocol.client import StateChanged
from protocol.constants import NO_PLAYER, ByeReason, EntryKind, Kind, Refusal, Target
from tests.sim.network import PERFECT, Conditions
from tests.sim.players import LASTING_ROOM, RoomShape
from tests.sim.world import LASTING_CONFIG, World

FAR = Conditions(delay_s=(0.06, 0.06), jitter_s=0.0, loss=0.10)
"""A round trip of 120 ms, and every tenth datagram is lost."""
ROUND_TRIP_S = 0.12
TIMEOUT_S, GRACE_S = LASTING_CONFIG.timeout_s, LASTING_CONFIG.grace_s


def new_world(seed: object, num_players: int = 8, conditions: Conditions = FAR, **options: Any) -> World:
    """Let players join a room that lasts."""
    world = World(seed, num_players=num_players, conditions=conditions, config=LASTING_CONFIG, **options)
    world.join_all(within_s=20.0)
    return world


def play(world: World, seconds: float) -> None:
    """Let everybody who is there publish each tick, and speak now and then."""
    tick_s = 1 / world.config.tick_rate
    for tick in range(round(seconds / tick_s)):
        for player in world.players:
            world.publish(player.number)
            if (tick + player.number) % 10 == 0:
                world.send_message(player.number)
        world.run(tick_s)


def reasons(world: World) -> list[object]:
    """Why connections ended, in order."""
    return [event.reason for event in world.endings]


def told(world: World, number: int, kind: EntryKind) -> list[int]:
    """Player ids of the entries of a kind that a player was handed."""
    life = world.players[number].life
    assert life is not None
    return [what[1] for what in life.handed if isinstance(what, tuple) and what[0] == kind]


# --- coming back


@pytest.mark.parametrize("down_s", [0.3, 4.0])
def test_of_eight_players_one_is_killed_and_comes_back_as_the_same_player(down_s: float) -> None:
    world = new_world(f"killed {down_s}")
    play(world, 1.0)
    former = world.players[5].life
    world.crash_and_resume(5, down_s)
    play(world, down_s + 3.0)
    life = world.players[5].playing
    assert former is not None and life is not None and life is not former
    assert life.player_id == former.player_id
    world.settle()
    assert world.endings == [] and world.engine.stats.counters["resumes"] == 1
    assert told(world, 0, EntryKind.PLAYER_BACK) == [life.player_id]
    assert told(world, 0, EntryKind.PLAYER_AWAY) == ([life.player_id] if down_s > TIMEOUT_S else [])
    assert told(world, 0, EntryKind.PLAYER_LEFT) == []
    assert life.messages and all(message.uid in world.players[0].life.handed_at for message in life.messages)  # type: ignore[union-attr]


def test_a_player_whose_line_is_cut_comes_back_by_itself_and_misses_nothing() -> None:
    world = new_world("cut")
    play(world, 1.0)
    life = world.players[3].life
    world.lose_connection(3, TIMEOUT_S + 1.5)
    play(world, TIMEOUT_S + 4.0)
    world.settle()
    assert life is not None and world.players[3].life is life and life.alive, "the same process, nothing told anew"
    assert world.engine.stats.counters["resumes"] == 1 and world.endings == []
    assert told(world, 3, EntryKind.PLAYER_AWAY) == told(world, 3, EntryKind.PLAYER_BACK) == [life.player_id]
    others = [message for other in world.witness.lives for message in other.messages if other is not life]
    assert all(message.uid in life.handed_at for message in others)


def test_a_player_who_loads_for_longer_than_the_timeout_is_away_and_back_without_a_new_session() -> None:
    world = new_world("loads", conditions=PERFECT, num_players=3)
    world.freeze(2, TIMEOUT_S + 1.0)
    play(world, TIMEOUT_S + 2.0)
    world.settle()
    assert world.engine.stats.counters["resumes"] == 0
    assert told(world, 0, EntryKind.PLAYER_AWAY) == told(world, 0, EntryKind.PLAYER_BACK) == [2]


def test_a_message_whose_fragments_arrive_before_and_after_a_resume_is_whole() -> None:
    """Who went on was not sent the rest of a message that had begun before its cursor."""
    world = new_world("fragments", conditions=PERFECT, num_players=2)
    receiver = world.players[1]
    message = world.send_message(0, 12_000)
    before = num_entries_of(world, 1)
    world.run_until(lambda: num_entries_of(world, 1) > before + 4, within_s=2.0, step_s=0.001)
    world.lose_connection(1, TIMEOUT_S + 1.0)
    world.run(TIMEOUT_S + 1.0)
    assert receiver.life is not None and message is not None and message.uid not in receiver.life.handed_at
    world.settle()
    assert world.engine.stats.counters["resumes"] == 1
    assert message.uid in receiver.life.handed_at


def num_entries_of(world: World, number: int) -> int:
    """Count the log entries that were sent to a player."""
    life = world.players[number].life
    assert life is not None
    return sum(len(world.witness.tap.sessions[session].indexes) for session in life.sessions)


def test_a_process_that_is_killed_while_it_comes_back_can_come_back() -> None:
    world = new_world("killed twice", num_players=3)
    player = world.players[2]
    world.crash_and_resume(2, 0.2)
    world.run_until(lambda: world.engine.stats.counters["resumes"] == 1, within_s=5.0, step_s=0.001)
    assert player.playing is None, "its WELCOME is under way"
    world.crash(2)
    player.resume_at = world.now + 0.1
    world.run_until(lambda: player.playing is not None, within_s=10.0)
    world.settle()
    assert world.engine.stats.counters["resumes"] == 2 and world.engine.num_sessions == 3
    assert player.life is not None and player.life.player_id == 2


def test_who_is_gone_for_longer_than_its_place_is_kept_has_left() -> None:
    world = new_world("too long", conditions=PERFECT, num_players=3)
    world.publish(2)
    world.crash_and_resume(2, TIMEOUT_S + GRACE_S + 0.5)
    world.run(TIMEOUT_S + GRACE_S + 0.4)
    assert told(world, 0, EntryKind.PLAYER_LEFT) == [2] and world.engine.room_table(world.room.code) == {}
    world.run(2.0)
    assert reasons(world) == [Refusal.CANNOT_RESUME]
    assert world.players[2].playing is not None, "it has joined again"
    world.settle()


def test_of_two_processes_with_one_token_the_older_is_told_and_does_not_fight_back() -> None:
    world = new_world("two processes", num_players=3)
    older = world.players[1]
    assert older.connection is not None and older.life is not None
    world.leave(2)
    world.run(1.0)
    newer = world.players[2]
    newer.token, newer.name = older.connection.resume_token(), older.name
    older.life.ending = True  # what comes is no surprise
    world.resume(2)
    play(world, TIMEOUT_S + 3.0)
    world.settle()
    assert newer.life is not None and newer.life.alive and newer.life.player_id == older.life.player_id
    assert reasons(world) == [ByeReason.LEFT, ByeReason.REPLACED] and older.connection is None
    assert world.engine.stats.counters["resumes"] == 1 and world.engine.num_sessions == 2


# --- addresses


def test_who_changes_its_address_while_it_plays_is_not_missed_for_longer_than_a_round_trip_and_a_tick() -> None:
    """What it says counts at once; what it is sent waits for the proof, which takes a round trip."""
    far = Conditions(delay_s=(0.06, 0.06), jitter_s=0.0)
    world = new_world("moves", conditions=far, num_players=3, gather_s=0.0)
    tick_s = 1 / world.config.tick_rate
    shown: list[float] = []
    heard: dict[bytes, float] = {}
    sent: dict[bytes, float] = {}
    on_event, on_to_server, on_from_server = (
        world.witness.on_event,
        world.witness.on_to_server,
        world.witness.on_from_server,
    )

    def note_shown(life: Any, event: object) -> None:
        on_event(life, event)
        if life.player == 0 and isinstance(event, StateChanged) and any(id_ == 1 for id_, _, _ in event.changed):
            shown.append(world.now)

    def note_heard(address: bytes, payload: bytes) -> None:
        on_to_server(address, payload)
        heard.setdefault(address, world.now)

    def note_sent(address: bytes, payload: bytes) -> None:
        on_from_server(address, payload)
        if payload[0] == Kind.UPDATE:
            sent.setdefault(address, world.now)

    world.witness.on_event, world.witness.on_to_server, world.witness.on_from_server = (  # type: ignore[method-assign]
        note_shown,
        note_heard,
        note_sent,
    )
    play(world, 1.0)
    world.move(1)
    play(world, 1.0)
    moved_to = world.players[1].address
    gaps = [after - before for before, after in pairwise(shown)]
    assert len(shown) > 40 and max(gaps) <= ROUND_TRIP_S + tick_s
    assert sent[moved_to] - heard[moved_to] <= ROUND_TRIP_S + 2 * tick_s
    assert told(world, 0, EntryKind.PLAYER_AWAY) == []
    world.settle()


def test_who_comes_back_from_another_address_goes_on_there() -> None:
    world = new_world("elsewhere")
    world.lose_connection(4, TIMEOUT_S + 0.5)
    world.move(4)
    play(world, TIMEOUT_S + 3.0)
    world.settle()
    assert world.players[4].playing is not None and world.endings == []


# --- the relay


def test_a_restarted_relay_is_noticed_at_once_and_nobody_waits_for_its_place() -> None:
    world = new_world("restart", conditions=Conditions(delay_s=(0.06, 0.06), jitter_s=0.0))
    play(world, 1.0)
    for life in world.witness.lives:
        life.ending = True  # what comes is no surprise
    world.restart_engine()
    restarted_at = world.now
    took_s = world.run_until(lambda: len(world.endings) == 8, within_s=5.0, step_s=0.01)
    assert reasons(world) == [ByeReason.RESET] * 8
    # nobody publishes any more, so the next thing each says is its keepalive
    assert took_s <= world.config.keepalive_s + ROUND_TRIP_S + 0.1, restarted_at


# --- the host


def test_when_the_host_is_killed_there_is_another_within_the_timeout_and_nobody_else_drops() -> None:
    world = new_world("host killed", room=LASTING_ROOM)
    for local_index in range(2):
        world.publish(0, local_index)
        world.give_entity(0, local_index * 2 * world.room.max_players, None)
    play(world, 1.0)
    world.crash(0)
    world.run(0.2)  # what it said last is under way
    table = {id_: state for id_, state in world.engine.room_table(world.room.code).items() if id_ in (0, 32)}
    others = world.players[1:]
    took_s = world.run_until(
        lambda: all(player.connection is not None and player.connection.host == 1 for player in others), within_s=5.0
    )
    assert took_s <= TIMEOUT_S + ROUND_TRIP_S * 3
    assert len(table) == 2 and table.items() <= world.engine.room_table(world.room.code).items(), (
        "what is the host's stays"
    )
    world.publish_entity(1, 0)
    play(world, GRACE_S + 1.0)
    world.settle()
    assert world.endings == [] and all(player.playing is not None for player in others)
    assert world.engine.room_table(world.room.code)[0] != table[0], "the new host publishes it"
    assert told(world, 1, EntryKind.PLAYER_LEFT) == [0]


def test_a_host_hands_over_and_is_not_host_again() -> None:
    world = new_world("hand over", num_players=4)
    world.hand_over_host(0, 2)
    world.run_until(lambda: world.host() == 2, within_s=3.0)
    world.crash_and_resume(0)
    world.run(3.0)
    world.settle()
    assert world.host() == 2 and told(world, 1, EntryKind.HOST_CHANGED)[-1] == 2


# --- what the room keeps


def test_of_eight_who_change_one_version_exactly_one_succeeds_each_time() -> None:
    world = new_world("compare and set", room=LASTING_ROOM)
    for round_number in range(5):
        requests = [world.compare_and_set(number, "turn") for number in range(8)]
        world.run(2.0)
        done = [request for request in requests if request is not None and request.uid in world.witness.done()]
        refused = [request for request in requests if request is not None and request.is_refused]
        assert (len(done), len(refused)) == (1, 7), round_number
    world.settle()


def test_a_room_that_lost_nobody_for_good_keeps_properties_owners_and_kept_messages() -> None:
    world = new_world("kept", room=LASTING_ROOM, num_players=4)
    world.set_property(0, "map")
    world.set_property(1, "team", owner=1)
    world.send_message(1, keep=True)
    world.send_message(1, keep=True, outlives_sender=True)
    world.publish(1)
    world.give_entity(1, 1, 2)
    world.settle()
    world.crash_and_resume(1)
    world.crash_and_resume(2)
    world.run(3.0)
    world.settle()
    connection = world.players[1].connection
    assert connection is not None and len(connection.room_properties) == len(connection.player_properties(1)) == 1
    assert connection.owner_of(1) == 2 and 1 in connection.table
    life = world.players[1].life
    assert life is not None and len(life.kept_handed) == 2
    world.leave(1)
    world.run(1.0)
    world.join(1)
    world.settle()
    life = world.players[1].life
    assert life is not None and len(life.kept_handed) == 1, "the one that outlives its sender"
    assert life.player_id != 1 and world.engine.room_table(world.room.code), "player 2 has the entity"


def test_who_is_banned_goes_with_all_of_its_machine_and_does_not_get_in_from_another_address() -> None:
    """The others of a banned identity played on, until their connections were lost."""
    room = RoomShape(num_identities=3)
    world = new_world("banned", room=room, num_players=6)  # 1 and 4 share a machine
    world.ban(0, 1)
    world.run_until(lambda: len(world.endings) == 2, within_s=3.0)
    assert reasons(world) == [ByeReason.BANNED] * 2
    assert {life.player for life in world.witness.lives if life.ended_at is not None} == {1, 4}
    world.move(1)
    world.join(1, identity=b"machine        1")
    world.run(TIMEOUT_S + 2.0)
    assert set(reasons(world)[2:]) == {Refusal.BANNED}
    assert world.players[1].playing is not None, "from another machine it gets in"
    world.settle()


def test_a_host_who_bans_its_own_machine_plays_on() -> None:
    world = new_world("bans itself", room=RoomShape(num_identities=2), num_players=4)  # 0 and 2 share a machine
    world.ban(0, 2)
    world.run(2.0)
    assert reasons(world)[0] == ByeReason.BANNED and world.host() == 0
    world.settle()


def test_a_locked_room_takes_back_whose_place_it_keeps_and_nobody_else() -> None:
    world = new_world("locked", num_players=4)
    world.leave(3)
    world.lock(0)
    world.run(1.0)
    world.crash_and_resume(2)
    world.join(3)
    world.run(2.0)
    assert world.players[2].playing is not None
    assert Refusal.ROOM_LOCKED in reasons(world)
    world.lock(0, False)
    world.run_until(lambda: world.players[3].playing is not None, within_s=5.0)
    world.settle()


def test_a_request_of_who_is_not_host_is_refused_and_changes_nothing() -> None:
    world = new_world("not host", num_players=3)
    connection = world.players[1].connection
    assert connection is not None
    world.kick(1, 2)
    world.lock(1)
    world.set_property(1, "map")
    world.settle()
    assert world.engine.stats.counters["requests_refused_not_host"] == 3
    assert world.engine.num_sessions == 3 and not connection.is_locked and connection.room_properties == {}


def test_messages_of_who_is_killed_arrive_whole_or_not_at_all() -> None:
    """Of those that were under way the first arrive: none twice, none in part, none behind one that did not."""
    world = new_world("half said", num_players=3)
    former = world.players[1].life
    assert former is not None
    for _ in range(6):
        world.send_message(1, 5_000, Target.ALL)
    world.run(0.25)
    world.crash_and_resume(1, 0.1)
    world.run(3.0)
    said = world.send_message(1, 5_000)
    world.settle()
    other = world.players[2].life
    assert other is not None and said is not None and said.uid in other.handed_at
    arrived = [message.uid in other.handed_at for message in former.messages]
    assert arrived == sorted(arrived, reverse=True)
    assert world.witness.states[0].host == 0 and NO_PLAYER not in world.witness.states[0].members
