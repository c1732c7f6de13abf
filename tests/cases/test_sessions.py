"""Special cases of joining, leaving, ending, moving."""

from random import Random

import pytest

from protocol import codec, proofs
from protocol.client import Disconnected, Refused
from protocol.constants import ByeReason, JoinMode, Kind, Option, Refusal
from protocol.drops import DropReason
from relay.config import RelayConfig
from relay.engine import Engine
from tests.sim.network import PERFECT, Conditions
from tests.sim.players import RoomShape
from tests.sim.raw import Desk, RawClient
from tests.sim.world import World

ROUND_TRIP = Conditions(delay_s=(0.06, 0.06), jitter_s=0.0, loss=0.2)


# --- coming and going


@pytest.mark.parametrize("seed", range(20))
def test_a_player_who_leaves_and_joins_within_one_round_trip_gets_an_id_that_nobody_mistakes(seed: int) -> None:
    """A room for two has four ids: after a few rounds one is asked for whose last owner some have not seen leave."""
    world = World(f"again {seed}", conditions=ROUND_TRIP, num_players=2, room=RoomShape(max_players=2))
    world.join_all()
    for _ in range(12):
        for local_index in range(4):
            world.publish(1, local_index, 24)
        world.send_message(1)
        world.run(world.rng.uniform(0.0, 0.1))
        world.leave(1)
        world.run(world.rng.uniform(0.0, 0.1))
        world.join(1)
        world.run_until(lambda: world.players[1].playing is not None, within_s=30.0)
    world.settle()
    assert len(world.witness.lives) >= 2 + 12  # an attempt that lost too much was made again
    assert world.engine.num_sessions == 2


def test_a_leaver_whose_byes_are_all_lost_is_gone_after_the_timeout() -> None:
    world = World("no bye", conditions=PERFECT, num_players=2)
    world.join_all()
    world.publish(1, 0, 24)
    world.run(0.5)
    world.players[1].up.blocked = True
    world.leave(1)
    world.run(world.config.timeout_s - 0.5)
    assert len(world.engine.room_members(world.room.code)) == 2
    world.run(1.0)
    assert len(world.engine.room_members(world.room.code)) == 1
    world.settle()


def test_a_client_whose_server_falls_silent_gives_up_after_the_timeout() -> None:
    world = World("silent server", conditions=PERFECT, num_players=1)
    world.join_all()
    life = world.players[0].life
    assert life is not None
    life.ending = True  # what comes is no surprise
    world.players[0].down.blocked = True
    world.run(world.config.timeout_s + 0.1)
    assert [event.reason for event in world.endings if isinstance(event, Disconnected)] == [ByeReason.TIMEOUT]


def test_a_client_that_is_silent_for_two_seconds_after_joining_loses_nothing() -> None:
    world = World("scene load", num_players=4, conditions=Conditions(loss=0.1, delay_s=(0.02, 0.1)))
    for number in range(3):
        world.join(number)
    world.run_until(lambda: all(world.players[n].playing is not None for n in range(3)), within_s=5.0)
    world.join(3)
    world.run_until(lambda: world.players[3].playing is not None, within_s=5.0)
    world.freeze(3, 2.0)
    bytes_before = world.players[3].bytes_down
    for _ in range(60):
        for number in range(3):
            world.publish(number, 0, 48)
            world.send_message(number, 300)
        world.run(1 / 30)
    assert world.players[3].bytes_down - bytes_before <= 64 * 1024  # a socket's buffer
    world.settle()


def test_everybody_is_told_when_the_server_shuts_down() -> None:
    world = World("shutdown", conditions=Conditions(loss=0.2), num_players=4)
    world.join_all()
    for life in world.witness.lives:
        life.ending = True
    world.shut_down()
    world.run(1.0)
    assert [event.reason for event in world.endings] == [ByeReason.SHUTDOWN] * 4


# --- RESET


def test_after_a_restart_with_the_same_secret_a_client_learns_of_it_at_once() -> None:
    world = World("restart", conditions=PERFECT, num_players=2)
    world.join_all()
    for life in world.witness.lives:
        life.ending = True
    world.restart_engine()
    world.publish(0, 0, 24)
    world.run(1.2)
    assert [event.reason for event in world.endings] == [ByeReason.RESET] * 2


def test_a_reset_from_a_server_with_another_secret_is_ignored() -> None:
    world = World("other server", conditions=PERFECT, num_players=1)
    world.join_all()
    world.witness.lives[0].ending = True
    world.engine = Engine(world.config, b"another secret".ljust(32), Random(1))
    world.run(world.config.timeout_s - 1.0)
    assert world.endings == []
    world.run(2.0)
    assert [event.reason for event in world.endings] == [ByeReason.TIMEOUT]


def test_a_reset_is_no_larger_than_what_caused_it_and_comes_at_a_limited_rate() -> None:
    desk = Desk()
    client = RawClient(desk, 0).join()
    client.welcome.session ^= 1 << 40
    asked = 0
    for _ in range(2000):
        client.say()
        asked += 1
    resets = client.hear()
    assert {reset.kind for reset in resets} == {Kind.RESET}
    assert 0 < len(resets) < asked
    assert all(
        len(codec.encode(Kind.RESET, **{k: reset[k] for k in ("shard", "session", "reset_token")})) <= 26
        for reset in resets
    )


# --- too slow


def test_a_client_that_does_not_read_the_log_for_10_s_is_too_slow() -> None:
    desk = Desk()
    writer, slow = RawClient(desk, 0).join(), RawClient(desk, 1).join()
    desk.wait(1.0)
    slow.hear()
    slow.say()
    read_up_to = slow.log_cursor
    writer.say(writer.message(b"hello"))
    for second in range(12):
        for client in (writer, slow):
            client.hear()
        writer.say()
        slow.say(log_cursor=read_up_to)
        assert desk.engine.num_sessions == (2 if second < 11 else 1)
        desk.wait(1.0)
    assert slow.byes() == [ByeReason.TOO_SLOW] * 3


def test_a_client_that_reads_a_little_of_the_log_every_9_s_is_too_slow_all_the_same() -> None:
    """It would hold up the credit of everybody else for as long as it likes."""
    desk = Desk()
    writer, slow = RawClient(desk, 0).join(), RawClient(desk, 1).join()
    desk.wait(1.0)
    slow.hear()
    read_up_to = slow.log_cursor
    writer.say(*[writer.message(b"hello") for _ in range(5)])
    for second in range(13):
        for client in (writer, slow):
            client.hear()
        writer.say()
        slow.say(log_cursor=read_up_to + second // 9)
        desk.wait(1.0)
    assert desk.engine.num_sessions == 1
    assert slow.byes()[:1] == [ByeReason.TOO_SLOW]


def test_who_has_nothing_outstanding_is_never_too_slow() -> None:
    world = World("idle", conditions=PERFECT, num_players=2)
    world.join_all()
    world.run(30.0)
    world.settle()
    assert len(world.witness.lives) == world.engine.num_sessions == 2


# --- passwords, versions, refusals


def test_the_right_password_opens_a_room_and_a_wrong_one_does_not() -> None:
    desk = Desk()
    RawClient(desk, 0).join(password="open sesame")
    assert RawClient(desk, 1).ask(password="open sesame") is not None
    wrong = RawClient(desk, 2).ask(password="open says me")
    missing = RawClient(desk, 3).ask()
    assert (wrong.reason, missing.reason) == (Refusal.WRONG_PASSWORD, Refusal.WRONG_PASSWORD)
    assert desk.engine.num_sessions == 2


def test_a_proof_that_was_overheard_is_of_no_use_to_another_address() -> None:
    desk = Desk()
    RawClient(desk, 0).join(password="open sesame")
    honest, thief = RawClient(desk, 1), RawClient(desk, 2)
    cookie = honest.get_cookie()
    key = proofs.room_key("open sesame")
    proof = proofs.join_proof(key, cookie, honest.nonce)
    stolen = thief.ask(options=[(Option.PROOF, proof)])
    assert stolen.reason == Refusal.WRONG_PASSWORD


def test_a_client_of_an_older_or_newer_revision_is_told_which_side_to_update() -> None:
    desk = Desk()
    client = RawClient(desk, 0)
    texts = []
    for low, high in ((0, 0), (2, 9)):
        desk.offer([(client.hello(low, high), client.address)])
        [answer] = desk.take(client.address)
        value = codec.decode(answer)
        assert (value.reason, value.revision_min, value.revision_max) == (Refusal.VERSION, 1, 1)
        texts.append(value.text)
    assert texts[0] != texts[1]


def test_a_range_of_revisions_around_ours_is_welcome() -> None:
    desk = Desk()
    client = RawClient(desk, 0)
    desk.offer([(client.hello(1, 9), client.address)])
    assert codec.decode(desk.take(client.address)[0]).revision == 1


@pytest.mark.parametrize(
    ("join", "reason"),
    [
        ({"mode": JoinMode.JOIN}, Refusal.NO_SUCH_ROOM),
        ({"mode": JoinMode.RESUME}, Refusal.BAD_OPTIONS),
        ({"mode": 6}, Refusal.UNSUPPORTED),
        ({"options": [(Option.IDENTITY, b"x")]}, Refusal.BAD_OPTIONS),
        ({"code": "a b"}, Refusal.BAD_CODE),
        ({"code": ""}, Refusal.BAD_CODE),
        ({"name": b""}, Refusal.BAD_NAME),
        ({"name": b"\xff"}, Refusal.BAD_NAME),
        ({"name": b"a\x07b"}, Refusal.BAD_NAME),
        ({"max_players": 0}, Refusal.BAD_OPTIONS),
        ({"max_players": 65}, Refusal.BAD_OPTIONS),
        ({"entities_per_player": 257}, Refusal.BAD_OPTIONS),
        ({"max_state_bytes": 0}, Refusal.BAD_OPTIONS),
        ({"revision": 2}, Refusal.VERSION),
    ],
)
def test_a_join_that_cannot_be_is_refused_with_its_reason(join: dict[str, object], reason: Refusal) -> None:
    desk = Desk()
    answer = RawClient(desk, 0).ask(**join)
    assert answer.reason == reason
    assert (desk.engine.num_sessions, desk.engine.num_rooms) == (0, 0)


def test_a_room_that_exists_cannot_be_created_again() -> None:
    desk = Desk()
    RawClient(desk, 0).join(mode=JoinMode.CREATE)
    assert RawClient(desk, 1).ask(mode=JoinMode.CREATE).reason == Refusal.ROOM_EXISTS


def test_a_server_makes_up_a_code_of_letters_that_do_not_look_alike() -> None:
    desk = Desk()
    client = RawClient(desk, 0).join(mode=JoinMode.CREATE, code="")
    assert set(client.welcome.code.rstrip(b"\0").decode()) <= set("ABCDEFGHJKMNPQRSTUVWXYZ23456789")


def test_a_refused_player_hears_why_through_its_client() -> None:
    world = World("full", conditions=PERFECT, num_players=3, room=RoomShape(max_players=2))
    for number in range(2):
        world.join(number)
        world.run(0.3)
    world.join(2)
    world.run(0.3)
    [event] = world.endings
    assert isinstance(event, Refused) and event.reason == Refusal.ROOM_FULL


# --- nonces: no ghosts


def test_a_join_that_arrives_twice_makes_one_player() -> None:
    desk = Desk()
    client = RawClient(desk, 0)
    join = client.join_datagram(client.get_cookie())
    desk.offer([(join, client.address)] * 3)
    desk.offer([(join, client.address)])
    welcomes = [payload for payload in desk.take(client.address) if payload[0] == Kind.WELCOME]
    assert len(set(welcomes)) == 1
    assert desk.engine.num_sessions == 1


def test_a_join_that_arrives_again_after_bye_makes_no_ghost() -> None:
    desk = Desk()
    RawClient(desk, 1).join()  # keeps the room
    client = RawClient(desk, 0)
    join = client.join_datagram(client.get_cookie())
    desk.offer([(join, client.address)])
    welcome = codec.decode(next(p for p in desk.take(client.address) if p[0] == Kind.WELCOME))
    bye = codec.encode(Kind.BYE, shard=0, session=welcome.fields.session, reason=ByeReason.LEFT, text=b"")
    desk.offer([(bye, client.address)] * 3)
    assert desk.engine.num_sessions == 1
    for _ in range(20):
        desk.wait(1.0)
        desk.offer([(join, client.address)])
        assert desk.engine.num_sessions <= 1
    assert not [payload for payload in desk.take(client.address) if payload[0] == Kind.WELCOME]
    assert desk.dropped(DropReason.STALE_JOIN) > 0


def test_the_same_nonce_with_a_fresh_cookie_from_another_address_is_still_one_player() -> None:
    desk = Desk()
    client = RawClient(desk, 0).join()
    moved = RawClient(desk, 1)
    moved.nonce = client.nonce
    moved.join()
    assert moved.welcome.session == client.welcome.session
    assert desk.engine.num_sessions == 1


def test_a_cookie_is_of_no_use_to_another_address_or_nonce_or_later() -> None:
    desk = Desk()
    honest, thief = RawClient(desk, 0), RawClient(desk, 1)
    cookie = honest.get_cookie()
    desk.offer([(thief.join_datagram(cookie), thief.address)])
    other_nonce = RawClient(desk, 2)
    other_nonce.address = honest.address
    desk.offer([(other_nonce.join_datagram(cookie), honest.address)])
    desk.wait(30.0)
    desk.offer([(honest.join_datagram(cookie), honest.address)])
    assert desk.engine.num_sessions == 0
    assert desk.dropped(DropReason.STALE_COOKIE) == 3
    answers = [codec.decode(payload).kind for payload in desk.take(thief.address) + desk.take(honest.address)]
    assert answers == [Kind.CHALLENGE] * 3  # so an honest client with an old cookie gets on


# --- addresses


def test_a_client_with_a_new_address_is_answered_there_after_it_has_proved_it() -> None:
    desk = Desk()
    client, old = RawClient(desk, 0).join(), RawClient(desk, 0).address
    new = RawClient(desk, 7).address
    client.address = new
    client.say(client.state((0, b"moved")))
    assert list(client.entities().values()) == [b"moved"]  # what it says counts at once
    [challenge] = [codec.decode(payload) for payload in desk.take(new)]
    assert challenge.kind == Kind.PATH_CHALLENGE
    desk.wait(0.5)
    assert desk.take(old)  # answers still go to the old one
    assert desk.take(new) == []
    proof = proofs.path_proof(client.welcome.secret, challenge.challenge, client.welcome.session)
    response = codec.encode(
        Kind.PATH_RESPONSE, shard=0, session=client.welcome.session, challenge=challenge.challenge, proof=proof
    )
    desk.offer([(response, new)])
    desk.wait(0.5)
    client.say(client.state((0, b"there")))
    desk.wait(0.5)
    assert desk.take(new)
    desk.wait(0.5)
    assert desk.take(old) == []


def test_a_path_is_not_taken_over_with_a_wrong_proof_or_from_a_third_address() -> None:
    desk = Desk()
    client = RawClient(desk, 0).join()
    old, new, third = client.address, RawClient(desk, 7).address, RawClient(desk, 8).address
    desk.offer([(client.data(client.state((0, b"moved"))), new)])
    [challenge] = [codec.decode(payload) for payload in desk.take(new)]
    fields = {"shard": 0, "session": client.welcome.session, "challenge": challenge.challenge}
    good = proofs.path_proof(client.welcome.secret, challenge.challenge, client.welcome.session)
    bad = bytes(16)
    desk.offer([(codec.encode(Kind.PATH_RESPONSE, **fields, proof=bad), new)])
    desk.offer([(codec.encode(Kind.PATH_RESPONSE, **fields, proof=good), third)])
    assert desk.dropped(DropReason.BAD_PATH_PROOF) == 2
    desk.take(old)
    desk.wait(2.0)
    assert desk.take(old)
    assert desk.take(new) == desk.take(third) == []


def test_path_challenges_come_at_most_one_per_session_and_250_ms() -> None:
    desk = Desk()
    client = RawClient(desk, 0).join()
    challenges = 0
    for n in range(300):  # 10 s, every tick from another address
        elsewhere = RawClient(desk, 10 + n).address
        desk.offer([(client.data(client.state((0, b"x"))), elsewhere)])
        desk.tick()
        challenges += len(desk.take(elsewhere))
    assert 20 <= challenges <= 41


def test_a_player_who_moves_again_and_again_stays_in_the_room() -> None:
    world = World("roaming", num_players=3, conditions=Conditions(loss=0.1))
    world.join_all()
    for _ in range(40):
        world.move(world.rng.randrange(3))
        for number in range(3):
            world.publish(number, 0, 24)
            world.send_message(number)
        world.run(world.rng.uniform(0.0, 0.6))
    world.settle()
    assert sum(player.num_moves for player in world.players) == 40
    assert len(world.witness.lives) == world.engine.num_sessions == 3


def test_a_relay_with_the_shortest_timeouts_keeps_players_who_only_listen() -> None:
    config = RelayConfig(timeout_s=2.0, keepalive_s=0.5, grace_s=0)
    world = World("listeners", config=config, num_players=3, conditions=Conditions(loss=0.1))
    world.join_all()
    world.run(20.0)
    world.settle()
    assert len(world.witness.lives) == world.engine.num_sessions == 3
