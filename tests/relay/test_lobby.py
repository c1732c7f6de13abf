"""Cold datagrams: their budgets, the memory of join attempts, and the answers that wait to be sent."""

from itertools import pairwise

import pytest

from protocol import codec, proofs
from protocol.constants import REVISION_MAX, ByeReason, JoinMode, Kind, Refusal
from relay import lobby
from relay.addresses import pack_address
from relay.handshake import COOKIE_MEMORY_S
from relay.lobby import (
    ATTEMPTS_PER_SEAT,
    BYE_AGAIN_S,
    BYE_COPIES,
    GREETINGS_PER_S,
    JOINS_AT_ONCE,
    JOINS_PER_S,
    LISTS_PER_S,
    MAX_BURST,
    MAX_BYES,
    MAX_WAITING_JOINS,
    PINGS_PER_S,
    REPEATS_PER_S,
    RESETS_PER_S,
    Allowance,
)
from tests.relay.bench import TICK, Bench, Client
from tests.relay.finding import list_datagram, open_rooms

ELSEWHERE = pack_address("198.51.100.1", 5)


def kinds(payloads: list[bytes]) -> list[Kind]:
    return [Kind(payload[0]) for payload in payloads]


def ping(nonce: int = 1) -> bytes:
    return codec.encode(Kind.PING, shard=0, magic=b"TKRL", nonce=nonce)


def unknown_data(client: Client) -> tuple[bytes, bytes]:
    """Build DATA of a session that is not there."""
    payload, address = client.data()
    return payload[:11] + bytes([payload[11] ^ 1]) + payload[12:], address


def path_response(client: Client, challenge: int, secret: bytes | None = None) -> bytes:
    session = client.welcome.session
    proof = proofs.path_proof(client.welcome.secret if secret is None else secret, challenge, session)
    return codec.encode(Kind.PATH_RESPONSE, shard=0, session=session, challenge=challenge, proof=proof)


# --- budgets


def test_an_allowance_gives_a_burst_at_once_and_refills_steadily() -> None:
    allowance = Allowance(100)
    assert [allowance.spend(0.0) for _ in range(MAX_BURST + 2)] == [True] * MAX_BURST + [False] * 2
    assert [allowance.spend(0.1) for _ in range(12)] == [True] * 10 + [False] * 2
    assert sum(allowance.spend(1000.0) for _ in range(999)) == MAX_BURST
    assert not allowance.spend(900.0)  # time that goes back gives nothing


def test_greetings_beyond_the_budget_are_counted_and_not_answered() -> None:
    bench = Bench()
    client = Client(bench)
    for build, per_s in ((lambda n: client.hello(), GREETINGS_PER_S), (ping, PINGS_PER_S)):
        bench.engine.stats.dropped.clear()
        bench.receive(*[(build(n), client.address) for n in range(MAX_BURST + 2)])
        bench.flush()
        assert len(bench.take(client.address)) == MAX_BURST
        assert bench.dropped() == {"COLD_BUDGET": 2}
        bench.now += 10 / per_s
        bench.receive(*[(build(n), client.address) for n in range(12)])
        bench.flush()
        assert 9 <= len(bench.take(client.address)) <= 10


def test_a_flood_of_pings_keeps_no_hello_out() -> None:
    bench = Bench()
    client = Client(bench)
    bench.receive(*[(ping(n), ELSEWHERE) for n in range(1000)], (client.hello(), client.address))
    bench.flush()
    assert kinds(bench.take(client.address)) == [Kind.CHALLENGE]
    assert kinds(bench.take(ELSEWHERE)) == [Kind.PONG] * MAX_BURST


@pytest.mark.parametrize("kind", [Kind.JOIN, Kind.BYE, Kind.PATH_RESPONSE])
def test_a_flood_of_what_proves_nothing_keeps_nobody_out_who_has_a_cookie(kind: Kind) -> None:
    bench = Bench()
    seated, client = bench.join(), Client(bench)
    junk = {
        Kind.JOIN: client.join_datagram(bytes(20)),
        Kind.BYE: codec.encode(Kind.BYE, shard=0, session=12_345, reason=1, text=b""),
        Kind.PATH_RESPONSE: codec.encode(Kind.PATH_RESPONSE, shard=0, session=9, challenge=1, proof=bytes(16)),
    }[kind]
    cookie = client.get_cookie()
    bench.receive(*[(junk, ELSEWHERE) for _ in range(1000)], (client.join_datagram(cookie), client.address))
    assert bench.engine.num_sessions == 2 and bench.dropped()["COLD_BUDGET"] >= 1000 - MAX_BURST
    bench.receive(*[(junk, ELSEWHERE) for _ in range(1000)], seated.bye())
    assert bench.engine.num_sessions == 1


def test_lists_have_a_budget_of_their_own_and_keep_nobody_out() -> None:
    bench = Bench()
    client, other = Client(bench), Client(bench)
    question = list_datagram(client, client.get_cookie())
    join = other.join_datagram(other.get_cookie())
    bench.now += 1.0
    bench.receive(*[(question, client.address)] * 1000, (join, other.address))
    bench.flush()
    assert kinds(bench.take(client.address)) == [Kind.ROOMS] * MAX_BURST and bench.engine.num_sessions == 1
    assert bench.dropped() == {"COLD_BUDGET": 1000 - MAX_BURST} and bench.counted("lists") == MAX_BURST
    bench.now += 10 / LISTS_PER_S
    bench.receive(*[(question, client.address)] * 12)
    bench.flush()
    assert 9 <= len(bench.take(client.address)) <= 10


def test_a_list_without_a_good_cookie_gets_a_fresh_one_and_no_more_bytes_than_it_has() -> None:
    bench = Bench()
    open_rooms(bench, *(f"R{n}" for n in range(20)))
    client = Client(bench)
    cookie = client.get_cookie()
    for wrong, address in ((bytes(20), client.address), (cookie, ELSEWHERE)):
        question = list_datagram(client, wrong, game=b"")
        bench.receive((question, address))
        bench.flush()
        [answer] = bench.take(address)
        assert answer[0] == Kind.CHALLENGE and len(answer) <= len(question)
    assert bench.dropped() == {"STALE_COOKIE": 2}
    bench.receive((list_datagram(client, cookie)[:-1], client.address))
    assert bench.dropped() == {"STALE_COOKIE": 2, "MALFORMED": 1}


def test_a_list_of_a_revision_that_we_do_not_speak_is_refused() -> None:
    bench = Bench()
    client = Client(bench)
    question = list_datagram(client, client.get_cookie(), revision=REVISION_MAX + 1)
    bench.receive((question, client.address))
    bench.flush()
    assert client.answer(Kind.REFUSE).reason == Refusal.VERSION


def test_joins_that_are_repeated_have_a_budget_of_their_own_and_keep_nobody_out() -> None:
    bench = Bench()
    client = bench.join()
    bench.now += 1.0
    fresh = client.join_datagram(client.get_cookie())
    bench.receive(*[(fresh, client.address)] * (MAX_BURST + 2))
    assert bench.counted("welcomes_again") == MAX_BURST and bench.dropped() == {"COLD_BUDGET": 2}
    bench.now += 10 / REPEATS_PER_S
    bench.receive(*[(fresh, client.address)] * 12)
    assert MAX_BURST + 9 <= bench.counted("welcomes_again") <= MAX_BURST + 10
    other = Client(bench)
    join = other.join_datagram(other.get_cookie())
    bench.receive(*[(fresh, client.address)] * 1000, (join, other.address), client.bye())
    assert bench.counted("joins") == 2 and bench.engine.num_sessions == 1


def crowd_of(bench: Bench, count: int) -> list[tuple[bytes, bytes]]:
    """JOINs of so many clients, of a room that is not there."""
    clients = [Client(bench) for _ in range(count)]
    nowhere = {"code": "NOWHERE", "mode": JoinMode.JOIN}
    return [(client.join_datagram(client.get_cookie(), **nowhere), client.address) for client in clients]


def test_of_a_crowd_that_joins_at_once_most_wait_and_all_are_answered_in_their_turn() -> None:
    bench = Bench()
    joins = crowd_of(bench, 3 * JOINS_AT_ONCE)
    bench.receive(*joins)
    assert bench.counted("refused_no_such_room") == JOINS_AT_ONCE
    for number, go_on in enumerate((bench.flush, bench.tick), 2):
        bench.now += 1.01 * JOINS_AT_ONCE / JOINS_PER_S
        go_on()
        assert bench.counted("refused_no_such_room") == number * JOINS_AT_ONCE
    assert bench.engine.lobby.num_waiting == 0 and bench.dropped() == {}
    order = [address for address, sent in bench.sent.items() if any(one[0] == Kind.REFUSE for one in sent)]
    assert order == [address for _, address in joins]


def test_joins_that_wait_are_bounded_and_who_ends_or_moves_does_not_wait_for_them() -> None:
    bench = Bench()
    seated = bench.join()
    joins = crowd_of(bench, JOINS_AT_ONCE + MAX_WAITING_JOINS + 2)
    bench.receive(*joins, seated.bye())
    assert bench.engine.lobby.num_waiting == MAX_WAITING_JOINS and bench.dropped() == {"COLD_BUDGET": 2}
    assert bench.engine.num_sessions == 0
    value, cap = bench.engine.gauges()["waiting_joins"]
    assert value == cap


def test_a_late_join_of_an_attempt_that_was_refused_seats_nobody() -> None:
    """Its client has given up; it took the place of one who is there until its timeout, and of the next, and so on."""
    bench = Bench()
    [first] = bench.join_all(1, max_players=1)
    late = Client(bench)
    join = late.join_datagram(late.get_cookie())
    assert late.answer_to(join).reason == Refusal.ROOM_FULL
    bench.receive(first.bye())
    assert late.answer_to(join).reason == Refusal.ROOM_FULL and bench.engine.num_sessions == 0
    assert bench.counted("refused_room_full") == 1
    bench.wait(COOKIE_MEMORY_S + 0.1)
    assert bench.engine.lobby.num_refused == 0
    assert Client(bench).join()


def test_refused_attempts_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "MAX_REFUSED", 3)
    bench = Bench()
    joins = crowd_of(bench, 5)
    bench.receive(*joins)
    assert bench.engine.lobby.num_refused == 3
    bench.receive(joins[0], joins[-1])
    assert bench.counted("refused_no_such_room") == 6  # the first was forgotten, the last was not


def test_a_flood_of_greetings_keeps_nobody_out_who_has_a_cookie() -> None:
    bench = Bench()
    client = Client(bench)
    cookie = client.get_cookie()
    bench.receive(*[(ping(n), ELSEWHERE) for n in range(1000)])
    bench.receive((client.join_datagram(cookie), client.address))
    assert bench.engine.num_sessions == 1


def test_joins_beyond_the_budget_are_counted_and_others_are_answered() -> None:
    bench = Bench()
    client = Client(bench)
    stale = client.join_datagram(bytes(20))
    bench.now = 1000.0
    bench.receive(*[(stale, ELSEWHERE) for _ in range(MAX_BURST + 2)])
    assert bench.dropped() == {"STALE_COOKIE": MAX_BURST, "COLD_BUDGET": 2}
    bench.now += 10 / GREETINGS_PER_S
    bench.receive(*[(stale, ELSEWHERE) for _ in range(12)])
    bench.receive((ping(), ELSEWHERE))
    bench.flush()
    answers = kinds(bench.take(ELSEWHERE))
    assert MAX_BURST + 9 <= answers.count(Kind.CHALLENGE) <= MAX_BURST + 10
    assert answers.count(Kind.PONG) == 1


# --- joining again


def test_a_join_that_comes_several_times_makes_one_session() -> None:
    bench = Bench()
    client = Client(bench)
    join = client.join_datagram(client.get_cookie())
    bench.receive(*[(join, client.address)] * 3)
    bench.receive((join, client.address))
    bench.flush()
    welcomes = [codec.decode(payload).fields for payload in bench.take(client.address) if payload[0] == Kind.WELCOME]
    assert len(welcomes) == 4 and bench.engine.num_sessions == 1
    assert len({(welcome.session, welcome.secret, welcome.player_id) for welcome in welcomes}) == 1
    assert bench.counted("welcomes_again") == 3 and bench.counted("joins") == 1


def test_the_welcome_goes_where_the_newest_join_came_from_until_the_first_data() -> None:
    bench = Bench()
    first, second, third = Client(bench), Client(bench), Client(bench)
    second.nonce = third.nonce = first.nonce
    first.join()
    second.join()
    assert second.welcome.session == first.welcome.session
    table = bench.engine.world.sessions.table
    assert table.address[second.row].tobytes() == second.address
    second.say()
    third.join()
    assert third.welcome.session == first.welcome.session
    assert table.address[second.row].tobytes() == second.address
    assert bench.engine.num_sessions == 1


def test_a_nonce_is_known_for_20_s_after_its_session_ended_and_then_forgotten() -> None:
    bench = Bench()
    client = bench.join()
    bench.receive(client.bye())
    started = bench.now
    while bench.now < started + COOKIE_MEMORY_S - 0.5:
        bench.tick(15)
        bench.receive((client.join_datagram(client.get_cookie()), client.address))
        bench.flush()
        assert Kind.WELCOME not in kinds(bench.take(client.address))
        assert bench.engine.num_sessions == 0 and bench.engine.gauges()["nonces"][0] == 1
    assert bench.dropped()["STALE_JOIN"] > 30
    bench.wait(1.0)
    assert bench.engine.gauges()["nonces"][0] == 0


def test_a_cookie_that_a_forgotten_session_was_made_with_is_worth_nothing_any_more() -> None:
    bench = Bench(now=9.99)
    client = Client(bench)
    join = client.join_datagram(client.get_cookie())
    bench.now = 19.9
    bench.receive((join, client.address))
    assert bench.engine.num_sessions == 1
    bench.receive((codec.encode(Kind.BYE, shard=0, reason=1, text=b"", session=newest_session(bench)), client.address))
    while bench.now < 60.0:
        bench.tick()
        bench.receive((join, client.address))
        assert bench.engine.num_sessions == 0


def newest_session(bench: Bench) -> int:
    sessions = bench.engine.world.sessions
    return int(sessions.table.id[sessions.live[-1]])


def test_a_full_nonce_map_refuses_joins_and_evicts_nobody() -> None:
    bench = Bench(max_players=1)
    _, cap = bench.engine.gauges()["nonces"]
    for n in range(cap):
        bench.receive(bench.join().bye())
        if n % 50 == 0:
            bench.tick()
    assert bench.engine.gauges()["nonces"] == (cap, cap)
    refused = [Client(bench) for _ in range(2)]
    assert [client.ask().reason for client in refused] == [Refusal.SERVER_FULL] * 2
    assert bench.engine.gauges()["nonces"] == (cap, cap)
    assert bench.counted("refused_server_full") == 2
    bench.wait(COOKIE_MEMORY_S + 1.0)
    refused[0].join()
    assert bench.engine.gauges()["nonces"] == (1, cap)


def test_a_host_that_comes_and_goes_keeps_nobody_else_out() -> None:
    """One host's joins and leaves filled the map of nonces for everybody."""
    bench = Bench(max_sessions_per_host=4)
    for n in range(ATTEMPTS_PER_SEAT * 4):
        bench.receive(Client(bench, host="203.0.113.9").join().bye())
        assert bench.engine.gauges()["nonces"][0] == n + 1
    for _ in range(3):
        assert Client(bench, host="203.0.113.9").ask().reason == Refusal.TOO_MANY_SESSIONS
    assert bench.engine.gauges()["nonces"][0] == ATTEMPTS_PER_SEAT * 4
    bench.receive(Client(bench, host="198.51.100.7").join().bye())
    for _ in range(ATTEMPTS_PER_SEAT * 4 + 1):  # this machine is not asked
        bench.receive(Client(bench, host="127.0.0.1").join().bye())
    bench.wait(COOKIE_MEMORY_S + 1.0)
    Client(bench, host="203.0.113.9").join()


def test_who_was_refused_may_try_again_by_another_attempt() -> None:
    bench = Bench(max_rooms=1)
    keeper = bench.join(code="A")
    client = Client(bench)
    assert client.ask(code="B").reason == Refusal.SERVER_FULL
    assert bench.engine.gauges()["nonces"][0] == 1
    bench.receive(keeper.bye())
    assert client.ask(code="B").reason == Refusal.SERVER_FULL
    bench.join(code="B")


def test_a_join_with_a_stale_cookie_gets_a_fresh_one_that_works() -> None:
    bench = Bench()
    client = Client(bench)
    join = client.join_datagram(client.get_cookie())
    bench.now += 30.0
    bench.receive((join, client.address))
    bench.flush()
    challenge = client.answer(Kind.CHALLENGE)
    assert bench.dropped() == {"STALE_COOKIE": 1} and challenge.nonce == client.nonce
    bench.receive((client.join_datagram(challenge.cookie), client.address))
    assert bench.engine.num_sessions == 1


def test_nobody_joins_a_relay_that_shuts_down() -> None:
    bench = Bench()
    client = bench.join()
    outgoing = bench.engine.shutdown(bench.now)
    [(address, payload)] = outgoing.datagrams()
    assert address == client.address and codec.decode(payload).reason == ByeReason.SHUTDOWN
    assert Client(bench).ask().reason == Refusal.SHUTTING_DOWN


@pytest.mark.parametrize("damage", ["short", "options"])
def test_a_malformed_join_is_counted_and_not_answered(damage: str) -> None:
    bench = Bench()
    client = Client(bench)
    join = client.join_datagram(client.get_cookie(), options=[(1, b"\x02\0")])
    bench.receive((join[:60] if damage == "short" else join[:-1], client.address))
    bench.flush()
    assert bench.dropped() == {"MALFORMED": 1}
    assert bench.take(client.address) == []


# --- BYE


def test_a_bye_ends_its_session_only_and_a_copy_of_it_is_of_an_unknown_one() -> None:
    bench = Bench()
    first, second = bench.join(), bench.join()
    bench.receive(first.bye(), first.bye(), first.bye())
    assert bench.engine.room_members("ROOM") == {1: second.name}
    assert bench.counted("left_left") == 1 and bench.dropped() == {}
    bench.receive(first.bye())
    assert bench.dropped() == {"UNKNOWN_SESSION": 1}
    bench.flush()
    assert Kind.BYE not in kinds(bench.take(first.address))  # who said it need not hear it


def test_what_arrives_with_a_bye_in_one_batch_still_counts() -> None:
    bench = Bench()
    goer, stayer = bench.join_all(2)
    bench.receive(goer.bye(), goer.data(goer.message(b"farewell")))
    bench.flush()
    stayer.hear()
    assert stayer.messages == [(0, b"farewell")]
    assert bench.engine.num_sessions == 1


def time_out(bench: Bench, *clients: Client) -> dict[bytes, list[float]]:
    """Let clients fall silent and note when each copy of BYE went to whom."""
    at: dict[bytes, list[float]] = {client.address: [] for client in clients}
    began = bench.now
    while bench.now < began + bench.engine.config.timeout_s + 0.5:
        bench.tick()
        for address, times in at.items():
            times += [bench.now for payload in bench.take(address) if payload[0] == Kind.BYE]
    return at


@pytest.mark.parametrize("tick_rate", [10, 20, 30, 60])
def test_a_bye_of_the_relays_goes_out_three_times_20_ms_apart_or_more(tick_rate: int) -> None:
    bench = Bench(timeout_s=2.0, tick_rate=tick_rate)
    [times] = time_out(bench, bench.join()).values()
    assert len(times) == BYE_COPIES
    assert all(later - earlier >= BYE_AGAIN_S - 1e-9 for earlier, later in pairwise(times))


@pytest.mark.parametrize("tick_rate", [30, 60])
def test_byes_of_sessions_that_end_together_are_each_20_ms_apart_or_more(tick_rate: int) -> None:
    bench = Bench(timeout_s=2.0, tick_rate=tick_rate)
    for times in time_out(bench, *[bench.join() for _ in range(3)]).values():
        assert len(times) == BYE_COPIES
        assert all(later - earlier >= BYE_AGAIN_S - 1e-9 for earlier, later in pairwise(times))


def test_a_bye_says_why_for_the_program_and_for_a_human() -> None:
    bench = Bench(timeout_s=2.0)
    client = bench.join()
    bench.wait(2.5)
    byes = [codec.decode(payload) for payload in bench.take(client.address) if payload[0] == Kind.BYE]
    assert {(bye.session, bye.reason) for bye in byes} == {(client.welcome.session, ByeReason.TIMEOUT)}
    assert byes[0].text == b"The connection was lost."
    assert bench.counted("left_timeout") == 1


def end_too_many_at_once(bench: Bench) -> int:
    """End so many sessions together that four of their BYEs cannot be repeated."""
    world, lobby = bench.engine.world, bench.engine.lobby
    bench.join()
    rows = [world.sessions.open(pack_address("10.0.0.1", n + 1), f"n{n}", n, 0.0) for n in range(MAX_BYES + 4)]
    for row in rows:
        world.counted_host[row] = b""
        lobby.on_session_ended(row, ByeReason.TIMEOUT, 0.0)
    return len(rows)


def test_copies_of_bye_that_do_not_fit_are_left_out_and_the_first_of_each_goes_out() -> None:
    bench = Bench(timeout_s=2.0)
    num_ended = end_too_many_at_once(bench)
    assert bench.engine.gauges()["byes"] == (MAX_BYES, MAX_BYES)
    lobby = bench.engine.lobby
    assert len(lobby.take_answers(0.0)) == num_ended
    assert sum(len(lobby.take_answers(n * BYE_AGAIN_S)) for n in range(1, 10)) == 2 * MAX_BYES
    assert bench.engine.gauges()["byes"][0] == 0


def test_copies_of_bye_that_are_left_out_are_counted() -> None:
    bench = Bench()
    end_too_many_at_once(bench)
    assert sum(count for name, count in bench.engine.stats.counters.items() if "bye" in name) > 0


# --- RESET and path checks


def test_data_of_an_unknown_session_is_answered_by_a_reset_that_its_client_can_prove() -> None:
    bench = Bench()
    client = bench.join()
    bench.receive(client.bye())
    client.say()
    bench.flush()
    [reset] = [codec.decode(payload) for payload in bench.take(client.address) if payload[0] == Kind.RESET]
    assert (reset.session, reset.reset_token) == (client.welcome.session, client.welcome.reset_token)
    assert bench.dropped() == {"UNKNOWN_SESSION": 1}


def test_resets_of_all_together_stay_within_their_rate_and_what_is_withheld_is_counted() -> None:
    bench = Bench()
    client = bench.join()
    bench.take(client.address)
    bench.now += 10.0
    began, sent = bench.now, 0
    while bench.now < began + 2.0:
        bench.receive(*[unknown_data(client) for _ in range(15)])
        bench.now += 0.010
        bench.flush()
        sent += kinds(bench.take(client.address)).count(Kind.RESET)
    assert RESETS_PER_S * 2 <= sent <= RESETS_PER_S * 2 + MAX_BURST + 1
    assert bench.counted("resets_withheld") == bench.dropped()["UNKNOWN_SESSION"] - sent


def test_a_batch_of_unknown_sessions_costs_a_bounded_number_of_answers() -> None:
    bench = Bench()
    client = bench.join()
    bench.take(client.address)
    bench.receive(*[unknown_data(client) for _ in range(500)])
    bench.flush()
    assert kinds(bench.take(client.address)) == [Kind.RESET] * 16
    assert bench.dropped() == {"UNKNOWN_SESSION": 500}


def test_a_new_address_is_asked_for_proof_and_then_answered() -> None:
    bench = Bench()
    client = bench.join()
    client.bench.take(client.address)
    payload, _ = client.data(client.state(b"moved"))
    bench.receive((payload, ELSEWHERE))
    assert bench.engine.room_table("ROOM") == {0: b"moved"}  # what it says counts at once
    bench.flush()
    [asked] = bench.take(ELSEWHERE)
    challenge = codec.decode(asked)
    assert challenge.kind == Kind.PATH_CHALLENGE and len(asked) <= len(payload)
    bench.tick()
    assert bench.take(ELSEWHERE) == [] and bench.take(client.address)
    bench.receive((path_response(client, challenge.challenge), ELSEWHERE))
    client.say(client.message(b"x"))
    bench.tick()
    assert bench.take(ELSEWHERE) and not bench.take(client.address)
    assert bench.counted("path_moves") == 1


def test_a_path_is_not_moved_by_a_wrong_proof_a_third_address_or_a_late_answer() -> None:
    bench = Bench()
    client, other = bench.join(), bench.join()
    payload, _ = client.data()
    bench.receive((payload, ELSEWHERE))
    bench.flush()
    challenge = codec.decode(bench.take(ELSEWHERE)[0]).challenge
    good = path_response(client, challenge)
    bench.receive(
        (path_response(client, challenge, secret=other.welcome.secret), ELSEWHERE),
        (path_response(client, challenge ^ 1), ELSEWHERE),
        (good, pack_address("198.51.100.2", 5)),
        (path_response(other, challenge), ELSEWHERE),
    )
    bench.now += 30.0
    bench.receive((good, ELSEWHERE))
    assert bench.dropped() == {"BAD_PATH_PROOF": 5}
    assert bench.engine.world.sessions.table.address[client.row].tobytes() == client.address


def test_a_path_response_of_an_unknown_session_is_counted() -> None:
    bench = Bench()
    client = bench.join()
    bench.receive(client.bye())
    bench.receive((path_response(client, 1), client.address))
    assert bench.dropped() == {"UNKNOWN_SESSION": 1}


def test_a_session_is_challenged_once_per_250_ms_whatever_it_sends() -> None:
    bench = Bench()
    client = bench.join()
    asked = 0
    for n in range(60):  # 2 s
        addresses = [pack_address("198.51.100.1", 10 * n + k + 1) for k in range(3)]
        bench.receive(*[(client.data()[0], address) for address in addresses])
        bench.tick()
        asked += sum(kinds(bench.take(address)).count(Kind.PATH_CHALLENGE) for address in addresses)
    assert 2.0 / (0.25 + TICK) - 1 <= asked <= 2.0 / 0.25


def test_answers_wait_until_they_are_sent_and_are_sent_once() -> None:
    bench = Bench()
    bench.receive((ping(), ELSEWHERE))
    assert bench.take(ELSEWHERE) == []
    bench.flush()
    assert kinds(bench.take(ELSEWHERE)) == [Kind.PONG]
    bench.flush()
    assert bench.take(ELSEWHERE) == []


def test_pong_shows_the_load_that_the_server_measured() -> None:
    bench = Bench()
    bench.join()
    bench.engine.load_percent = 42
    bench.receive((ping(9), ELSEWHERE))
    bench.flush()
    pong = codec.decode(bench.take(ELSEWHERE)[0])
    assert (pong.load_percent, pong.players, pong.rooms, pong.nonce) == (42, 1, 1, 9)
