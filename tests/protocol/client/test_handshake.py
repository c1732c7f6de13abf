"""Handshake: HELLO and JOIN at their times, answers checked."""

from types import SimpleNamespace
from typing import Any

import pytest

from protocol import codec, schemas
from protocol.client.handshake import ClientState, Handshake, Welcome
from protocol.client.request import JoinRequest
from protocol.client.resume import ResumeToken
from protocol.constants import JoinMode, Kind, Option, Resumed
from protocol.drops import DropReason
from protocol.proofs import join_proof, resume_proof, room_key, shard_of

COOKIE = b"c" * 20


def make(now: float = 0.0, **changes: Any) -> Handshake:
    fields: dict[str, Any] = {"mode": JoinMode.JOIN, "code": "ROOM-1", "name": "ann"}
    return Handshake(JoinRequest(**(fields | changes)), 7, now)


def challenge(**changes: Any) -> Any:
    fields = {"nonce": 7, "revision": 1, "features": 0xFF, "fingerprint": 5, "cookie": COOKIE}
    return SimpleNamespace(**(fields | changes))


def joining(now: float = 0.0, **changes: Any) -> Handshake:
    """A handshake that has a cookie and has not sent it."""
    handshake = make(now, **changes)
    handshake.poll(now)
    assert handshake.handle_challenge(challenge(), now) is None
    return handshake


def kinds_sent(handshake: Handshake, start: float, end: float) -> list[tuple[float, Kind]]:
    """Poll whenever the handshake asks for it; list (time, kind) of what it sends before `end`."""
    sent = []
    now = max(start, handshake.next_at())
    while now < end:
        sent += [(round(now, 3), Kind(datagram[0])) for datagram in handshake.poll(now)]
        now = handshake.next_at()
    return sent


def options(handshake: Handshake) -> dict[int, bytes]:
    value = codec.decode(handshake.poll(0.0)[0])
    assert not isinstance(value, DropReason)
    return codec.options_of(value)


def test_a_hello_is_padded_and_says_who_speaks_which_revisions() -> None:
    hello = make(client_name="game", client_release="1.2").poll(0.0)[0]
    value: Any = codec.decode(hello)
    assert len(hello) == 256
    assert (value.kind, value.shard, value.nonce) == (Kind.HELLO, shard_of(b"ROOM-1"), 7)
    assert (value.revision_min, value.revision_max, value.features) == (1, 1, 0)
    assert value.fingerprint == codec.FINGERPRINT
    assert value.client_name.rstrip(b"\0") == b"game" and value.client_release.rstrip(b"\0") == b"1.2"


def test_hello_is_repeated_after_250_ms_then_500_then_every_second() -> None:
    sent = kinds_sent(make(), 0.0, 4.0)
    assert sent == [(time, Kind.HELLO) for time in (0.0, 0.25, 0.75, 1.75, 2.75, 3.75)]


def test_join_follows_a_challenge_at_once_and_after_three_hello_is_sent_again() -> None:
    handshake = make()
    handshake.poll(0.0)
    handshake.handle_challenge(challenge(), 0.1)
    assert handshake.state is ClientState.JOINING
    assert kinds_sent(handshake, 0.1, 2.5) == [
        (0.1, Kind.JOIN),
        (0.35, Kind.JOIN),
        (0.85, Kind.JOIN),
        (1.85, Kind.HELLO),
        (2.1, Kind.HELLO),
    ]
    assert handshake.state is ClientState.GREETING


def test_nothing_is_sent_before_its_time() -> None:
    handshake = make()
    handshake.poll(0.0)
    assert handshake.poll(0.249) == []


def test_the_deadline_wakes_the_caller_even_if_no_datagram_is_due() -> None:
    handshake = make(deadline_s=0.1)
    handshake.poll(0.0)
    assert handshake.next_at() == 0.1


def test_a_challenge_while_joining_brings_a_new_cookie() -> None:
    handshake = joining()
    handshake.poll(0.0)
    assert handshake.handle_challenge(challenge(cookie=b"d" * 20), 0.2) is None
    value: Any = codec.decode(handshake.poll(0.2)[0])
    assert value.fields.cookie == b"d" * 20


def test_a_server_that_challenges_for_ever_gets_no_more_than_20_joins_a_second() -> None:
    handshake = joining()
    num_joins = 0
    for millisecond in range(1000):
        now = millisecond / 1000
        handshake.handle_challenge(challenge(), now)
        num_joins += len(handshake.poll(now))
    assert num_joins <= 21


def test_an_update_before_welcome_brings_another_join_soon_and_hello_no_more() -> None:
    handshake = joining()
    assert kinds_sent(handshake, 0.0, 0.01) == [(0.0, Kind.JOIN)]
    handshake.handle_update(0.03)
    assert handshake.next_at() == 0.05, "not within 50 ms of the last"
    sent = kinds_sent(handshake, 0.05, 0.06)
    handshake.handle_update(0.2)
    sent += kinds_sent(handshake, 0.2, 0.21)
    assert sent == [(0.05, Kind.JOIN), (0.2, Kind.JOIN)]
    for tick in range(10, 40):  # three JOINs without an answer go back to HELLO; here there are answers
        handshake.handle_update(tick / 30)
        assert {kind for _, kind in kinds_sent(handshake, tick / 30, (tick + 1) / 30)} <= {Kind.JOIN}


def test_an_update_while_greeting_changes_nothing() -> None:
    handshake = make()
    handshake.poll(0.0)
    handshake.handle_update(0.1)
    assert (handshake.state, handshake.next_at()) == (ClientState.GREETING, 0.25)


def test_answers_to_another_nonce_are_stale() -> None:
    handshake = make()
    assert handshake.handle_challenge(challenge(nonce=8), 0.0) is DropReason.STALE_JOIN
    assert handshake.state is ClientState.GREETING
    assert handshake.is_own(7) and not handshake.is_own(8)


@pytest.mark.parametrize("revision", [0, 2])
def test_a_revision_that_we_did_not_offer_is_malformed(revision: int) -> None:
    assert make().handle_challenge(challenge(revision=revision), 0.0) is DropReason.MALFORMED


def test_a_join_repeats_what_was_chosen_and_says_who_wants_what() -> None:
    value: Any = codec.decode(joining(name="änn").poll(0.0)[0])
    fields = value.fields
    assert (fields.nonce, fields.cookie, fields.revision, fields.features) == (7, COOKIE, 1, 0)
    assert (fields.mode, fields.code.rstrip(b"\0"), fields.name.rstrip(b"\0").decode()) == (
        JoinMode.JOIN,
        b"ROOM-1",
        "änn",
    )
    assert list(value.options) == []


def test_create_sends_the_rooms_options_and_the_key_of_its_password() -> None:
    wanted = {"max_players": 256, "entities_per_player": 3, "max_state_bytes": 200, "password": "pw"}
    assert options(joining(mode=JoinMode.CREATE, code="", **wanted)) == {
        Option.MAX_PLAYERS: b"\x00\x01",
        Option.ENTITIES_PER_PLAYER: b"\x03\x00",
        Option.MAX_STATE_BYTES: b"\xc8",
        Option.ROOM_KEY: room_key("pw"),
    }


def test_join_sends_a_proof_and_no_options_of_create() -> None:
    proof = join_proof(room_key("pw"), COOKIE, 7)
    assert options(joining(max_players=8, password="pw")) == {Option.PROOF: proof}


def test_join_or_create_sends_both() -> None:
    sent = options(joining(mode=JoinMode.JOIN_OR_CREATE, max_players=8, password="pw"))
    assert set(sent) == {Option.MAX_PLAYERS, Option.ROOM_KEY, Option.PROOF}


def test_identity_goes_with_every_join_and_the_rooms_flags_with_create() -> None:
    for mode in (JoinMode.CREATE, JoinMode.JOIN, JoinMode.JOIN_OR_CREATE):
        sent = options(joining(mode=mode, identity=b"i" * 16, anyone_sets=True))
        assert sent.pop(Option.IDENTITY) == b"i" * 16
        assert sent == ({} if mode is JoinMode.JOIN else {Option.ROOM_FLAGS: b"\x01"})


def test_game_and_version_go_with_every_join_and_what_a_room_is_like_with_create() -> None:
    about: dict[str, Any] = {"room_name": "Zur Linde", "listed": True, "shown": ["map"]}
    wish: dict[str, Any] = {"tags": ["duo"], "properties": {"map": "sea"}}
    labels = {Option.GAME: b"chess", Option.GAME_VERSION: b"1"}
    asked_for = {Option.TAGS: b"\3duo", Option.PROPERTIES: b"\3map\4\3sea"}
    for mode in (JoinMode.CREATE, JoinMode.JOIN, JoinMode.JOIN_OR_CREATE):
        sent = options(joining(mode=mode, game="chess", game_version="1", **about, **wish))
        room = asked_for | {Option.ROOM_NAME: b"Zur Linde", Option.ROOM_FLAGS: b"\2", Option.SHOWN: b"\3map"}
        assert sent == labels | ({} if mode is JoinMode.JOIN else room)
    sent = options(joining(mode=JoinMode.QUICK, code="", game="chess", game_version="1", **wish))
    assert sent == labels | asked_for


def resuming(log_index: int, nonce: int = 7) -> Handshake:
    token = ResumeToken(9, b"s" * 16, "ROOM-1")
    request = JoinRequest(mode=JoinMode.RESUME, resume=token, password="pw", max_players=3)
    return Handshake(request, nonce, 0.0, log_index=log_index, deadline_s=60.0)


def test_a_resume_proves_the_old_secret_and_offers_the_cursor() -> None:
    handshake = resuming(70000)
    handshake.poll(0.0)
    assert not handshake.has_sent_join and handshake.deadline_at == 60.0
    handshake.handle_challenge(challenge(), 0.1)
    value: Any = codec.decode(handshake.poll(0.1)[0])
    assert handshake.has_sent_join
    assert (value.fields.mode, value.fields.code.rstrip(b"\0")) == (JoinMode.RESUME, b"ROOM-1")
    sent = codec.options_of(value)
    assert set(sent) == {Option.RESUME}
    offer = schemas.RESUME_OPTION.parse(sent[Option.RESUME])
    assert (offer.session, offer.log_index) == (9, 70000)
    assert offer.proof == resume_proof(b"s" * 16, COOKIE, 7, 9)


@pytest.mark.parametrize(
    ("log_index", "permitted"), [(0, {Resumed.AFRESH}), (5, {Resumed.CONTINUED, Resumed.AFRESH}), (None, {Resumed.NO})]
)
def test_a_welcome_says_of_a_resume_what_was_asked_for(
    server: Any, log_index: int | None, permitted: set[Resumed]
) -> None:
    request = JoinRequest(mode=JoinMode.JOIN, code="ROOM-1", name="ann")
    handshake = Handshake(request, server.nonce, 0.0) if log_index is None else resuming(log_index, server.nonce)
    for resumed in (*Resumed, 3):
        welcome = handshake.handle_welcome(codec.decode(server.welcome(resumed=resumed)))
        if resumed in permitted:
            assert isinstance(welcome, Welcome) and welcome.resumed is Resumed(resumed)
        else:
            assert welcome is DropReason.MALFORMED


def test_options_that_were_not_asked_for_are_left_to_the_server() -> None:
    assert options(joining(mode=JoinMode.CREATE, max_state_bytes=9)) == {Option.MAX_STATE_BYTES: b"\x09"}
    assert options(joining(mode=JoinMode.CREATE, entities_per_player=9)) == {Option.ENTITIES_PER_PLAYER: b"\x09\0"}


def test_a_welcome_is_read(server: Any) -> None:
    handshake = Handshake(JoinRequest(mode=JoinMode.JOIN, code="ROOM-1", name="ann"), server.nonce, 0.0)
    welcome = handshake.handle_welcome(codec.decode(server.welcome(grace_s=60, room_flags=1)))
    assert isinstance(welcome, Welcome)
    assert (welcome.grace_s, welcome.anyone_sets, welcome.resumed) == (60, True, Resumed.NO)
    assert (welcome.session, welcome.code, welcome.player_id) == (server.session, "ROOM-1", 1)
    assert (welcome.keepalive_s, welcome.timeout_s) == (1.0, 10.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"code": bytes(16)},
        {"code": b"lower".ljust(16, b"\0")},
        {"code": b"\xff" * 16},
        {"player_id": 8},
        {"player_slots": 513},
        {"player_slots": 0, "player_id": 0},
        {"entities_per_player": 0},
        {"entities_per_player": 257},
        {"player_slots": 512, "entities_per_player": 129},
        {"max_players": 0},
        {"max_state_bytes": 0},
        {"page_ids": 0},
        {"tick_rate": 0},
        {"keepalive_ms": 0},
        {"timeout_ms": 0},
    ],
)
def test_a_welcome_that_no_room_can_have_is_malformed(server: Any, changes: dict[str, Any]) -> None:
    handshake = Handshake(JoinRequest(mode=JoinMode.JOIN, code="ROOM-1", name="ann"), server.nonce, 0.0)
    assert handshake.handle_welcome(codec.decode(server.welcome(**changes))) is DropReason.MALFORMED


def test_a_welcome_for_another_attempt_is_stale(server: Any) -> None:
    assert make().handle_welcome(codec.decode(server.welcome())) is DropReason.STALE_JOIN
