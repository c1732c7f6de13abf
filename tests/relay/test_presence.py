"""Away and back: who is silent keeps its place for a while, and comes back to it by proof."""

from typing import Any

import numpy as np
import pytest

from protocol import codec, schemas
from protocol.constants import (
    LOG_WINDOW,
    NO_PLAYER,
    BanFlag,
    ByeReason,
    EntryKind,
    JoinMode,
    Kind,
    MessageFlag,
    Option,
    Refusal,
    RequestKind,
    Resumed,
)
from protocol.proofs import resume_proof
from relay.engine import MAX_RESETS_PER_PASS
from relay.lobby import MAX_BURST
from relay.log import OwnEntry
from relay.presence import AWAY_ENTRIES, RESUME_BURST
from relay.sessions import KEPT_COLUMNS, MAX_FORMER
from relay.stages import TOO_SLOW_S
from tests.relay.bench import TICK, Bench, Client, Datagram, states_section

TIMEOUT_S, GRACE_S = 2.0, 8.0


def new_bench(**settings: Any) -> Bench:
    return Bench(**{"timeout_s": TIMEOUT_S, "grace_s": GRACE_S} | settings)


def play(bench: Bench, seconds: float, *clients: Client) -> None:
    """Let time pass in which these clients read and acknowledge; the others are silent."""
    until = bench.now + seconds
    while bench.now < until:
        bench.tick()
        if clients:
            bench.receive(*[client.listen() for client in clients])


def players(client: Client, kind: EntryKind) -> list[int]:
    return [fields["player_id"] for fields in client.told_of(kind)]


# --- away


def test_who_is_silent_is_away_and_leaves_when_its_time_is_over() -> None:
    bench = new_bench()
    here, _ = bench.join_all(2)
    play(bench, TIMEOUT_S + 0.2, here)
    assert players(here, EntryKind.PLAYER_AWAY) == [1] and players(here, EntryKind.PLAYER_LEFT) == []
    assert bench.engine.num_sessions == 2
    play(bench, GRACE_S - 0.5, here)
    assert bench.engine.num_sessions == 2
    play(bench, 0.6, here)
    assert here.told_of(EntryKind.PLAYER_LEFT) == [{"player_id": 1, "reason": ByeReason.TIMEOUT}]
    assert bench.engine.num_sessions == 1
    assert players(here, EntryKind.PLAYER_AWAY) == [1], "told once"
    assert bench.engine.world.away == {}


def test_nothing_is_sent_to_who_is_away_and_everything_when_it_is_back_by_itself() -> None:
    bench = new_bench()
    here, silent = bench.join_all(2)
    play(bench, TIMEOUT_S + 0.2, here)
    silent.hear()
    here.say(here.state(b"news"), here.message(b"hello"))
    play(bench, 3.0, here)
    assert bench.take(silent.address) == []
    play(bench, 1.0, here, silent)
    assert here.told_of(EntryKind.PLAYER_BACK) == [{"player_id": 1, "is_afresh": 0}]
    assert silent.messages == [(0, b"hello")] and silent.table == {here.entity(): b"news"}
    play(bench, TIMEOUT_S + GRACE_S, here, silent)
    assert bench.engine.num_sessions == 2


@pytest.mark.parametrize("timeout_s", [TIMEOUT_S, 10.0])
@pytest.mark.parametrize("by_a_join", [False, True])
def test_who_is_back_after_longer_than_a_slow_reader_has_is_not_too_slow(timeout_s: float, by_a_join: bool) -> None:
    """It was ended as TOO_SLOW in the tick in which it was back: what it had not acknowledged while away counted."""
    bench = new_bench(timeout_s=timeout_s, grace_s=60.0)
    here, silent = bench.join_all(2)
    if by_a_join:
        silent = silent.come_back()
    play(bench, timeout_s + 2 * TOO_SLOW_S, here)
    assert players(here, EntryKind.PLAYER_AWAY)[-1] == 1
    here.say(here.message(b"missed"))
    if by_a_join:
        silent.ask()  # with the nonce of the resume whose WELCOME it never saw
    play(bench, 2.0, here, silent)
    assert players(here, EntryKind.PLAYER_LEFT) == [] and players(here, EntryKind.PLAYER_BACK)[-1] == 1
    assert silent.messages == [(0, b"missed")]


def test_seat_and_entities_of_who_is_away_are_kept() -> None:
    bench = new_bench()
    here, silent = bench.join_all(2, max_players=2)
    silent.say(silent.state(b"mine"))
    play(bench, TIMEOUT_S + 1.0, here)
    assert bench.engine.room_table("ROOM") == {silent.entity(): b"mine"}
    assert Client(bench).ask().reason == Refusal.ROOM_FULL


def test_without_grace_who_is_silent_leaves_at_once() -> None:
    bench = new_bench(grace_s=0)
    here, _ = bench.join_all(2)
    play(bench, TIMEOUT_S + 0.2, here)
    assert players(here, EntryKind.PLAYER_LEFT) == [1] and players(here, EntryKind.PLAYER_AWAY) == []


def test_a_joiner_is_told_who_is_away() -> None:
    bench = new_bench()
    here, _ = bench.join_all(2)
    play(bench, TIMEOUT_S + 0.2, here)
    [joiner] = bench.join_all(1)
    [roster] = joiner.told_of(EntryKind.ROSTER)
    assert [(member.player_id, member.is_away) for member in roster["members"]] == [(0, 0), (1, 1)]


def test_a_host_that_is_away_is_host_no_more_and_not_again_when_it_is_back() -> None:
    bench = new_bench()
    host, heir, third = bench.join_all(3, entities_per_player=2)
    boss = host.entity(1)
    host.say(host.request(RequestKind.GIVE_ENTITY, entity_id=boss, owner=NO_PLAYER), host.state(b"boss", 1))
    play(bench, TIMEOUT_S + 0.2, heir, third)
    assert players(heir, EntryKind.HOST_CHANGED) == [1]
    assert bench.engine.room_table("ROOM") == {boss: b"boss"}
    heir.say(states_section([(boss, b"mine now")]))
    back = host.come_back()
    play(bench, 0.5, heir, third, back)
    assert players(heir, EntryKind.HOST_CHANGED) == [1]
    assert bench.engine.room_table("ROOM") == {boss: b"mine now"}
    bench.receive(heir.bye())
    play(bench, 0.2, third, back)
    assert players(third, EntryKind.HOST_CHANGED)[-1] == 0, "it has been here longest"


def test_of_a_room_that_is_all_away_the_first_who_is_back_is_host() -> None:
    bench = new_bench()
    host, other = bench.join_all(2)
    play(bench, TIMEOUT_S + 0.2, host)
    play(bench, TIMEOUT_S + 0.2)
    back = other.come_back()
    play(bench, 0.3, back)
    assert players(back, EntryKind.HOST_CHANGED) == [1]
    assert bench.engine.world.rooms.by_row[back.room_row].host == back.row


def test_who_is_away_can_be_kicked_but_not_be_made_host() -> None:
    bench = new_bench()
    host, silent = bench.join_all(2)
    play(bench, TIMEOUT_S + 0.2, host)
    host.say(host.request(RequestKind.HAND_OVER_HOST, player_id=1))
    host.say(host.request(RequestKind.KICK, player_id=1, text=b""))
    play(bench, 0.2, host)
    assert len(host.told_of(EntryKind.REQUEST_REFUSED)) == 1
    assert host.told_of(EntryKind.PLAYER_LEFT) == [{"player_id": 1, "reason": ByeReason.KICKED}]
    assert silent.come_back().outcome.reason == Refusal.CANNOT_RESUME
    assert bench.engine.world.away == {}


# --- coming back


def test_another_process_comes_back_as_the_same_player_and_is_told_all() -> None:
    bench = new_bench()
    here, crashed = bench.join_all(2)
    crashed.say(crashed.state(b"mine"), crashed.message(b"one"))
    play(bench, TIMEOUT_S + 0.2, here)
    here.say(here.message(b"missed"))
    back = crashed.come_back()
    assert back.welcome.resumed == Resumed.AFRESH
    assert back.welcome.player_id == 1 and back.welcome.session != crashed.welcome.session
    assert back.welcome.secret != crashed.welcome.secret and back.welcome.message_id == 1
    play(bench, 0.5, here, back)
    assert [kind for kind, _ in back.told] == [EntryKind.ROSTER, EntryKind.PLAYER_BACK, EntryKind.ROOM_READY]
    [roster] = back.told_of(EntryKind.ROSTER)
    assert [member.player_id for member in roster["members"]] == [0, 1]
    assert back.table == {crashed.entity(): b"mine"}
    assert here.told_of(EntryKind.PLAYER_BACK) == [{"player_id": 1, "is_afresh": 1}]
    back.message_id = 1
    back.say(back.message(b"two"), back.state(b"again"))
    play(bench, 0.3, here, back)
    assert here.messages == [(1, b"one"), (0, b"missed"), (1, b"two")]
    assert bench.engine.room_table("ROOM") == {crashed.entity(): b"again"}


def test_who_still_has_its_log_gets_what_it_missed_and_no_more() -> None:
    bench = new_bench()
    here, lost = bench.join_all(2)
    here.say(here.message(b"had"))
    play(bench, 0.3, here, lost)
    play(bench, TIMEOUT_S + 0.2, here)
    here.say(here.message(b"missed"))
    back = lost.come_back(lost.cursor)
    assert back.welcome.resumed == Resumed.CONTINUED and back.welcome.log_index == lost.cursor
    play(bench, 0.5, here, back)
    assert back.messages == [(0, b"missed")]
    assert [kind for kind, _ in back.told] == [EntryKind.PLAYER_AWAY, EntryKind.PLAYER_BACK, EntryKind.ROOM_READY]
    assert min(back.entries) == lost.cursor + 1


def test_who_goes_on_gets_the_rest_of_a_message_that_had_begun_before() -> None:
    """Its log began anew at the cursor, and what belongs to a message from before that was hidden."""
    bench = new_bench()
    here, lost = bench.join_all(2)
    here.say(here.message(b"first half, ", more=1))
    play(bench, 0.3, here, lost)
    play(bench, TIMEOUT_S + 0.2, here)
    here.say(here.message(b"second half"))
    back = lost.come_back(lost.cursor)
    assert back.welcome.log_index == lost.cursor
    play(bench, 0.5, here, back)
    assert back.messages == [(0, b"second half")]


def test_messages_that_were_taken_are_not_taken_again_after_a_resume() -> None:
    bench = new_bench()
    here, lost = bench.join_all(2)
    first, second = lost.message(b"first"), lost.message(b"second")
    lost.say(first)
    back = lost.come_back(lost.cursor)
    assert back.welcome.message_id == 1
    back.say(first, second)
    play(bench, 0.3, here, back)
    assert here.messages == [(1, b"first"), (1, b"second")]


def test_a_resume_wins_over_a_session_that_is_alive_and_its_process_is_told() -> None:
    bench = new_bench()
    here, old = bench.join_all(2)
    play(bench, 0.3, here, old)
    bench.take(old.address)
    back = old.come_back()
    bye = old.answer(Kind.BYE)
    assert (bye.reason, bye.session) == (ByeReason.REPLACED, old.welcome.session)
    bench.take(old.address)
    bench.receive(old.data(old.state(b"ghost")))
    bench.flush()
    assert old.answer(Kind.RESET).session == old.welcome.session
    play(bench, 0.3, here, back)
    assert bench.engine.num_sessions == 2 and bench.engine.room_table("ROOM") == {}
    assert players(here, EntryKind.PLAYER_AWAY) == [] and players(here, EntryKind.PLAYER_BACK) == [1]


def test_a_resume_whose_welcome_was_lost_may_be_tried_again_with_what_the_client_has() -> None:
    bench = new_bench()
    _, lost = bench.join_all(2)
    seats = {lost.come_back().welcome.player_id for _ in range(MAX_FORMER)}
    assert seats == {1} and bench.engine.num_sessions == 2
    lost.come_back()
    assert lost.come_back().outcome.reason == Refusal.CANNOT_RESUME, "so often only"


def test_the_old_secret_is_good_until_the_new_session_has_spoken() -> None:
    bench = new_bench()
    _, lost = bench.join_all(2)
    back = lost.come_back()
    assert lost.come_back().welcome is not None
    again = back.come_back()
    assert again.welcome.player_id == 1
    again.say()
    assert lost.come_back().outcome.reason == Refusal.CANNOT_RESUME
    assert back.come_back().outcome.reason == Refusal.CANNOT_RESUME
    assert again.come_back().welcome.player_id == 1


def test_a_repeated_join_of_a_resume_is_welcomed_again_and_never_makes_a_second_session() -> None:
    bench = new_bench()
    _, lost = bench.join_all(2)
    back = lost.come_back()
    first = back.welcome
    assert back.answer_to(back.resume_join).fields == first
    assert bench.counted("resumes") == 1


def resume_join(client: Client, log_index: int = 0) -> tuple[Client, Datagram]:
    """Build the JOIN by which another process comes back in a client's place. Returns: that process, and the JOIN."""
    other = Client(client.bench)
    cookie, session = other.get_cookie(), client.welcome.session
    proof = resume_proof(client.welcome.secret, cookie, other.nonce, session)
    option = schemas.RESUME_OPTION.build({"session": session, "log_index": log_index, "proof": proof})
    return other, (other.join_datagram(cookie, mode=JoinMode.RESUME, options=[(Option.RESUME, option)]), other.address)


def test_a_bye_of_the_old_session_does_not_end_the_one_that_was_resumed_in_the_same_batch() -> None:
    """The engine noted the row of who said BYE, and a resume keeps the row."""
    bench = new_bench()
    here, old = bench.join_all(2)
    other, join = resume_join(old)
    bench.receive(old.bye(), old.bye(), join)
    bench.flush()
    answer = other.answer(Kind.WELCOME, Kind.REFUSE)
    assert answer.fields.player_id == 1 and bench.engine.num_sessions == 2
    play(bench, 0.3, here)
    assert players(here, EntryKind.PLAYER_LEFT) == []


@pytest.mark.parametrize("kind", [RequestKind.KICK, RequestKind.BAN])
def test_who_is_removed_by_the_last_words_of_a_host_cannot_come_back_before_the_tick(kind: RequestKind) -> None:
    """It was ended by its number with the next tick; who came back in between had another."""
    bench = new_bench()
    host, bad, slow = bench.join_all(3)
    for part in range(20):  # the request waits behind a large message that one of them does not read
        host.say(host.message(bytes(900), more=1))
        if part % 5 == 4:
            bench.tick()
            bench.receive(host.listen(), bad.listen())
    flags = {"flags": 0} if kind == RequestKind.BAN else {}
    host.say(host.message(b"last"), host.request(kind, player_id=bad.welcome.player_id, text=b"", **flags))
    other, join = resume_join(bad)
    bench.receive(host.bye())
    bench.receive(join)
    bench.flush()
    assert "reason" in other.answer(Kind.WELCOME, Kind.REFUSE)
    play(bench, 0.5, slow)
    assert bench.engine.room_members("ROOM") == {slow.welcome.player_id: slow.name}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"secret": bytes(16)}, Refusal.CANNOT_RESUME),
        ({"code": "OTHER"}, Refusal.CANNOT_RESUME),
        ({"options": []}, Refusal.BAD_OPTIONS),
        ({"options": [(Option.RESUME, bytes(28)), (Option.IDENTITY, bytes(15))]}, Refusal.BAD_OPTIONS),
        ({"revision": 77}, Refusal.VERSION),
        ({"options": [(Option.RESUME, bytes(27))]}, Refusal.BAD_OPTIONS),
        ({"options": [(Option.RESUME, bytes(29))]}, Refusal.BAD_OPTIONS),
        ({"options": [(Option.RESUME, bytes(28))]}, Refusal.CANNOT_RESUME),
    ],
)
def test_who_does_not_prove_to_have_been_here_is_not_let_in(change: dict[str, Any], reason: Refusal) -> None:
    bench = new_bench()
    _, lost = bench.join_all(2)
    before = lost.welcome.session
    assert lost.come_back(**change).outcome.reason == reason
    assert bench.engine.world.sessions.find(before) is not None, "nothing has changed"


def test_who_left_cannot_come_back() -> None:
    bench = new_bench()
    _, gone = bench.join_all(2)
    bench.receive(gone.bye())
    assert gone.come_back().outcome.reason == Refusal.CANNOT_RESUME


def test_a_place_that_was_kept_is_there_in_a_full_locked_room_with_a_password() -> None:
    bench = new_bench()
    key = [(Option.ROOM_KEY, b"k" * 32)]
    host = Client(bench).join(mode=JoinMode.CREATE, options=key, max_players=1)
    host.say(host.request(RequestKind.LOCK, is_locked=1))
    assert host.come_back().welcome.player_id == 0


@pytest.mark.parametrize("log_index", [1, 2**32 - 1])
def test_a_log_index_that_cannot_be_is_no_place_to_go_on_from(log_index: int) -> None:
    bench = new_bench()
    here, lost = bench.join_all(2)
    play(bench, 0.3, here, lost)
    assert lost.come_back(log_index).welcome.resumed == Resumed.AFRESH


def test_the_unfinished_message_of_who_comes_back_afresh_is_given_up() -> None:
    bench = new_bench()
    here, crashed = bench.join_all(2)
    crashed.say(crashed.message(b"half of", more=1))
    back = crashed.come_back()
    back.message_id = back.welcome.message_id
    back.say(back.message(b"whole"))
    play(bench, 0.3, here, back)
    entry = here.entries[max(here.entries)]
    assert (entry.payload, entry.part) == (b"whole", 0)


def test_who_was_begun_afresh_without_a_word_cannot_be_continued_in_the_middle_of_a_message() -> None:
    bench = new_bench()
    here, cut = bench.join_all(2)
    cut.say(cut.message(b"half of", more=1))
    play(bench, 0.3, here, cut)
    head = bench.engine.world.rooms.table.log_head
    other = cut.come_back()
    back = cut.come_back(int(head[other.room_row]))
    assert back.welcome.resumed == Resumed.AFRESH


def test_of_a_resumed_session_only_what_is_the_players_stays() -> None:
    bench = new_bench()
    here, lost = bench.join_all(2)
    lost.say(lost.message(b"x"), lost.state(b"s"))
    play(bench, 0.5, here, lost)
    table, row = bench.engine.world.sessions.table, lost.row
    assert set(KEPT_COLUMNS) <= set(table.COLUMNS)
    assert table.send_seq[row] > 0 and table.recv_newest[row] > 0
    back = lost.come_back(lost.cursor)
    assert back.row == row and back.welcome.message_id == 1
    numbers = (table.recv_newest[row], table.acked_seq[row], table.rtt_s[row], table.recv_mask[row])
    assert [float(number) for number in numbers] == [0.0] * 4
    assert bench.engine.world.entities.table.write_seq.max() == 0


def test_who_cannot_be_told_all_for_want_of_memory_is_refused_and_keeps_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = new_bench()
    host, lost = bench.join_all(2)
    host.say(host.message(b"wall", flags=MessageFlag.KEEP))
    play(bench, 0.2, host, lost)
    arena = bench.engine.world.log.arena
    with monkeypatch.context() as full:
        full.setattr(arena, "free_bytes", lambda: 100)
        assert lost.come_back().outcome.reason == Refusal.SERVER_FULL
    assert lost.come_back().welcome.player_id == 1


def test_who_comes_back_again_and_again_does_not_push_the_others_out() -> None:
    bench = new_bench()
    here, noisy = bench.join_all(2)
    for number in range(100):
        cookie_of = Client(bench)
        cookie = cookie_of.get_cookie()
        proof = resume_proof(noisy.welcome.secret, cookie, cookie_of.nonce, noisy.welcome.session)
        option = schemas.RESUME_OPTION.build({"session": noisy.welcome.session, "log_index": 0, "proof": proof})
        join = cookie_of.join_datagram(cookie, mode=JoinMode.RESUME, options=[(Option.RESUME, option)])
        bench.receive((join, cookie_of.address))
        bench.flush()
        answers = [codec.decode(data) for data in bench.take(cookie_of.address) if data[0] == Kind.WELCOME]
        if answers:
            cookie_of.welcome = answers[0].fields
            noisy = cookie_of
        assert bool(answers) == (number < RESUME_BURST), number
    assert bench.dropped()["COLD_BUDGET"] == 100 - RESUME_BURST
    play(bench, 6.0, here)
    assert noisy.come_back().welcome.player_id == 1, "later it may"


@pytest.mark.parametrize("game", [[], [(Option.GAME, b"chess")]], ids=["no game", "a game"])
def test_who_is_banned_while_it_is_away_is_told_so_when_it_comes_back(game: list[tuple[int, bytes]]) -> None:
    bench = new_bench()
    [host] = bench.join_all(1, options=game)
    me = (Option.IDENTITY, b"i" * 16)
    bad = Client(bench, "10.9.9.9").join(options=[me, *game])
    play(bench, TIMEOUT_S + 0.2, host)
    host.say(host.request(RequestKind.BAN, player_id=bad.welcome.player_id, flags=0, text=b""))
    bench.flush()
    option = schemas.RESUME_OPTION.build({"session": bad.welcome.session, "log_index": 0, "proof": bytes(16)})
    assert bad.come_back(options=[(Option.RESUME, option), me, *game]).outcome.reason == Refusal.BANNED


@pytest.mark.parametrize(("identity", "flags"), [(b"i" * 16, BanFlag.ADDRESS), (b"", BanFlag(0))])
def test_a_ban_by_address_does_not_take_the_place_of_a_neighbour(identity: bytes, flags: BanFlag) -> None:
    """All behind one address lost their places: also without the host's asking, if the banned one gave no identity."""
    bench = new_bench()
    [host] = bench.join_all(1)
    bad = Client(bench, "10.9.9.9").join(options=[(Option.IDENTITY, identity)] if identity else [])
    neighbour = Client(bench, "10.9.9.9").join()
    twin = Client(bench).join(options=[(Option.IDENTITY, identity)] if identity else [])
    host.say(host.request(RequestKind.BAN, player_id=bad.welcome.player_id, flags=flags, text=b""))
    bench.flush()
    assert Client(bench, "10.9.9.9").ask().reason == Refusal.BANNED
    back = neighbour.come_back(host="10.9.9.9")
    assert back.welcome.player_id == neighbour.welcome.player_id
    outcome = twin.come_back().outcome
    assert ("reason" in outcome) == bool(identity), "the same installation is banned wherever it is"


def test_players_are_counted_under_the_host_that_they_come_back_from() -> None:
    bench = new_bench(max_sessions_per_host=1)
    one = Client(bench, "10.1.1.1").join()
    one.come_back(host="10.2.2.2")
    assert Client(bench, "10.2.2.2").ask().reason == Refusal.TOO_MANY_SESSIONS
    assert "fields" in Client(bench, "10.1.1.1").ask()


def test_who_comes_back_counts_as_one_join_attempt_more() -> None:
    bench = new_bench()
    [one] = bench.join_all(1)
    before = bench.engine.lobby.num_nonces
    one.come_back()
    assert bench.engine.lobby.num_nonces == before + 1
    play(bench, 21.0)
    assert bench.engine.lobby.num_nonces <= 1


# --- what is kept for who is away


def talk(bench: Bench, speaker: Client, count: int) -> None:
    """Let a player write entries, one a tick, as fast as its credit permits."""
    for _ in range(count):
        speaker.say(speaker.message(b""))
        bench.flush()
        bench.receive(speaker.listen())
        if not speaker.message_id % 8:
            play(bench, TICK, speaker)


@pytest.mark.parametrize(("count", "resumed"), [(100, Resumed.CONTINUED), (AWAY_ENTRIES + LOG_WINDOW, Resumed.AFRESH)])
def test_the_log_is_kept_for_who_is_away_up_to_a_cap(count: int, resumed: Resumed) -> None:
    bench = new_bench(messages_per_s=10_000, datagrams_per_s=10_000, grace_s=600)
    here, lost = bench.join_all(2, max_players=2)
    play(bench, TIMEOUT_S + 0.2, here)
    talk(bench, here, count)
    assert bench.counted("away_logs_given_up") == (resumed == Resumed.AFRESH)
    assert lost.come_back(lost.cursor).welcome.resumed == resumed
    assert bench.engine.world.lost_log == set()


def test_the_log_is_kept_for_who_is_away_whatever_it_would_cost_a_talkers_credit() -> None:
    """Ten messages a second in a room of 16: after 12 s of silence the log was given up."""
    bench = new_bench(grace_s=600)
    here, lost = bench.join_all(2, max_players=16)
    play(bench, TIMEOUT_S + 0.2, here)
    for _ in range(600):
        here.say(here.message(bytes(20)))
        play(bench, 0.1, here)
    assert bench.counted("away_logs_given_up") == 0 and bench.dropped() == {}
    assert bench.engine.world.sessions.table.unread_bytes[here.row] < 2000
    back = lost.come_back(lost.cursor)
    assert back.welcome.resumed == Resumed.CONTINUED
    play(bench, 1.0, here, back)
    assert sum(entry.payload == bytes(20) for entry in back.entries.values()) == 600
    assert bench.engine.world.sessions.table.unread_bytes[here.row] == 0


def test_nobody_is_silenced_for_one_who_is_away() -> None:
    bench = new_bench(messages_per_s=10_000, bytes_per_s=10_000_000, grace_s=600)
    here, lost = bench.join_all(2, max_players=2)
    play(bench, TIMEOUT_S + 0.2, here)
    for _ in range(150):
        here.say(here.message(bytes(1000)))
        play(bench, TICK, here)
    table = bench.engine.world.sessions.table
    assert table.message_accepted[here.row] == 150
    assert bench.dropped() == {} and np.all(table.unread_bytes[here.row] < 40_000)
    assert lost.come_back(lost.cursor).welcome.resumed == Resumed.CONTINUED


def give_up_log_of(bench: Bench, here: Client, lost: Client) -> None:
    """Let a player be silent until nothing is kept for it any more; what it was sent before is lost."""
    play(bench, TIMEOUT_S + 0.2, here)
    world, some = bench.engine.world, [OwnEntry(EntryKind.ROOM_LOCKED, b"\0")] * 8
    for _ in range(AWAY_ENTRIES // 8 + 1):
        world.log.append_own(world.rooms, here.room_row, some)
        play(bench, TICK, here)
    assert world.lost_log == {lost.row}
    bench.take(lost.address)


@pytest.mark.parametrize("from_its_cursor", [True, False])
def test_a_repeated_join_of_a_resume_whose_log_was_given_up_meanwhile_begins_afresh(from_its_cursor: bool) -> None:
    """WELCOME said again that the log goes on, from an index that the client did not have: it could not take that."""
    bench = new_bench(grace_s=600)
    here, lost = bench.join_all(2)
    play(bench, 0.3, here, lost)
    back = lost.come_back(lost.cursor if from_its_cursor else 0)
    give_up_log_of(bench, here, back)
    answer = back.ask()
    assert answer.fields.resumed == Resumed.AFRESH
    play(bench, 0.5, here, back)
    assert [kind for kind, _ in back.told] == [EntryKind.ROSTER, EntryKind.PLAYER_BACK, EntryKind.ROOM_READY]
    assert back.told_of(EntryKind.PLAYER_BACK) == [{"player_id": 1, "is_afresh": 1}]
    assert bench.engine.world.lost_log == set()
    here.say(here.message(b"still here?"))
    play(bench, TIMEOUT_S + 1.0, here, back)
    assert back.messages == [(0, b"still here?")]


def test_a_repeated_join_of_a_joiner_whose_log_was_given_up_meanwhile_tells_it_all_once_more() -> None:
    bench = new_bench(grace_s=600)
    [here] = bench.join_all(1)
    new = bench.join()
    give_up_log_of(bench, here, new)
    assert new.ask().fields.resumed == Resumed.NO
    play(bench, 0.5, here, new)
    kinds = [kind for kind, _ in new.told]
    assert kinds == [EntryKind.ROSTER, EntryKind.PLAYER_BACK, EntryKind.ROOM_READY]


def test_a_repeated_join_whose_log_was_given_up_waits_while_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = new_bench(grace_s=600)
    here, lost = bench.join_all(2)
    back = lost.come_back()
    give_up_log_of(bench, here, back)
    join = back.join_datagram(back.get_cookie())
    with monkeypatch.context() as full:
        full.setattr(bench.engine.world.log.arena, "free_bytes_for_names", lambda: 0)
        bench.receive((join, back.address))
        bench.flush()
        assert bench.take(back.address) == [] and bench.dropped()["COLD_BUDGET"] == 1
    assert back.row in bench.engine.world.away
    assert "fields" in back.ask()


def test_data_of_a_session_whose_log_was_given_up_is_told_to_resume() -> None:
    """It was dropped without an answer: a client that read only of being back by itself waited for nothing."""
    bench = new_bench(grace_s=600)
    here, silent = bench.join_all(2)
    play(bench, 0.3, here, silent)
    give_up_log_of(bench, here, silent)
    stranger = Client(bench)
    payload, _ = silent.data()
    bench.receive((payload, stranger.address), silent.data())
    bench.flush()
    for address in (stranger.address, silent.address):
        (bye,) = bench.take(address)
        assert len(bye) <= len(payload), "no larger than its cause"
        value = codec.decode(bye)
        assert (value.session, value.reason, value.text) == (silent.welcome.session, ByeReason.LOG_GONE, b"")
    assert silent.row in bench.engine.world.away and bench.dropped() == {"BAD_ACK": 2}
    back = silent.come_back(silent.cursor)
    assert back.welcome.resumed == Resumed.AFRESH
    play(bench, 0.5, here, back)
    assert players(here, EntryKind.PLAYER_BACK) == [1] and players(here, EntryKind.PLAYER_LEFT) == []


def test_what_is_not_of_the_log_is_no_reason_to_resume() -> None:
    bench = new_bench()
    [here] = bench.join_all(1)
    here.say(log_cursor=1000)
    bench.flush()
    assert bench.dropped() == {"BAD_ACK": 1} and bench.take(here.address) == []


def test_of_those_who_must_resume_so_many_are_told_a_second() -> None:
    bench = new_bench(grace_s=600)
    here, silent = bench.join_all(2)
    play(bench, 0.3, here, silent)
    give_up_log_of(bench, here, silent)
    bench.receive(*[silent.data() for _ in range(MAX_RESETS_PER_PASS + 2)])
    assert len(bench.engine.lobby.answers) == MAX_RESETS_PER_PASS
    for _ in range(8):
        bench.receive(*[silent.data() for _ in range(MAX_RESETS_PER_PASS)])
    assert len(bench.engine.lobby.answers) == MAX_BURST
    assert bench.counted("resets_withheld") == 9 * MAX_RESETS_PER_PASS - MAX_BURST
