"""Every cap is pushed past by two, through the wire; what its policy says happens, and a gauge never passes its cap."""

from typing import Any

import pytest

from protocol import codec, schemas
from protocol.constants import (
    LOG_WINDOW,
    MAX_FRAGMENT_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_SECTIONS,
    MESSAGE_WINDOW,
    WINDOW,
    ByeReason,
    DataSection,
    Kind,
    Refusal,
    UpdateSection,
)
from protocol.drops import DropReason
from relay import lobby, log, messages, pacing, signals, stages
from relay.config import RelayConfig
from tests.sim.raw import Desk, RawClient, state_section

ROOMY = {
    "max_sessions_per_host": 100_000,
    "datagrams_per_s": 60_000,
    "bytes_per_s": 1 << 30,
    "messages_per_s": 60_000,
    "signals_per_s": 60_000,
}
"""Budgets that are in nobody's way."""


def desk_with(**settings: Any) -> Desk:
    return Desk(RelayConfig(**{"grace_s": 0} | settings))


def assert_no_gauge_is_beyond_its_cap(desk: Desk) -> None:
    assert {name: pair for name, pair in desk.engine.gauges().items() if pair[0] > pair[1]} == {}


def answers_to(desk: Desk, count: int, same_host: bool = False, first: int = 0, **join: Any) -> list[Any]:
    """Let `count` clients join one after the other; those who are in stay. Callables get the client's number."""
    answers = []
    for number in range(first, first + count):
        host = "10.9.9.9" if same_host else ""
        answers.append(
            RawClient(desk, number, host).ask(**{k: v(number) if callable(v) else v for k, v in join.items()})
        )
        desk.tick()
    assert_no_gauge_is_beyond_its_cap(desk)
    return answers


def reasons(answers: list[Any]) -> list[Any]:
    """Return per answer the reason of a REFUSE, None for a WELCOME."""
    return [None if "fields" in answer else Refusal(answer.reason) for answer in answers]


# --- joining


def test_players_of_a_room() -> None:
    answers = answers_to(Desk(), 5, max_players=3)
    assert reasons(answers) == [None] * 3 + [Refusal.ROOM_FULL] * 2


def test_sessions_of_the_relay() -> None:
    answers = answers_to(desk_with(max_players=3), 5)
    assert reasons(answers) == [None] * 3 + [Refusal.SERVER_FULL] * 2


def test_sessions_of_one_host() -> None:
    desk = desk_with(max_sessions_per_host=3)
    assert reasons(answers_to(desk, 5, same_host=True)) == [None] * 3 + [Refusal.TOO_MANY_SESSIONS] * 2
    assert reasons([RawClient(desk, 9, "127.0.0.1").ask()]) == [None]


def test_sessions_of_one_ipv6_network() -> None:
    desk = desk_with(max_sessions_per_host=3)
    answers = [RawClient(desk, number, f"2001:db8::{number + 1}").ask() for number in range(5)]
    assert reasons(answers) == [None] * 3 + [Refusal.TOO_MANY_SESSIONS] * 2
    assert reasons([RawClient(desk, 9, "2001:db8:0:1::1").ask()]) == [None]


def test_rooms() -> None:
    answers = answers_to(desk_with(max_rooms=3), 5, code=lambda number: f"ROOM{number}")
    assert reasons(answers) == [None] * 3 + [Refusal.SERVER_FULL] * 2


def test_memory_of_all_tables() -> None:
    """Rooms of about 300 kB each on a relay that may use 1 MiB; when they close, their memory serves others."""
    desk = desk_with(state_memory_mib=1)
    shape = {"max_players": 16, "entities_per_player": 64, "max_state_bytes": 100}
    answers = answers_to(desk, 8, code=lambda number: f"ROOM{number}", **shape)
    accepted = reasons(answers).count(None)
    assert 1 <= accepted <= 6
    assert set(reasons(answers)) == {None, Refusal.SERVER_FULL}
    desk.wait(desk.config.timeout_s + 1)
    assert desk.engine.num_rooms == 0
    assert reasons(answers_to(desk, 1, first=50, code="LATER", **shape)) == [None]


@pytest.mark.parametrize(
    "shape",
    [
        {"max_players": 66},
        {"entities_per_player": 258},
        {"max_players": 64, "entities_per_player": 256, "max_state_bytes": 255},  # 8,192 pages
    ],
)
def test_shapes_beyond_what_a_room_may_have(shape: dict[str, int]) -> None:
    assert reasons([RawClient(Desk(), 0).ask(**shape)]) == [Refusal.BAD_OPTIONS]


def test_entity_ids_of_a_room() -> None:
    desk = desk_with(max_room_players=256)
    assert reasons([RawClient(desk, 0).ask(max_players=256, entities_per_player=130)]) == [Refusal.BAD_OPTIONS]


def test_join_attempts_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that come and go leave their nonces behind for a while; a full map refuses, it never forgets early."""
    cap = 260  # the real one, 4,096 and more, is forgotten faster than a test can fill it
    monkeypatch.setattr(lobby.Lobby, "max_nonces", property(lambda self: cap))
    desk = desk_with(max_players=2, max_sessions_per_host=100_000)
    told = []
    for number in range(cap + 2):
        client = RawClient(desk, number)
        told += reasons([client.ask()])
        if client.welcome is not None:
            bye = codec.encode(Kind.BYE, shard=0, session=client.welcome.session, reason=ByeReason.LEFT, text=b"")
            desk.offer([(bye, client.address)])
        desk.tick()
    assert told == [None] * cap + [Refusal.SERVER_FULL] * 2
    assert_no_gauge_is_beyond_its_cap(desk)
    desk.wait(25.0)
    assert reasons([RawClient(desk, 999).ask()]) == [None]


def test_cold_datagrams_at_once() -> None:
    desk = Desk()
    client = RawClient(desk, 0)
    desk.offer([(client.hello(), client.address)] * (lobby.MAX_BURST + 2))
    assert len(desk.take(client.address)) == lobby.MAX_BURST
    assert desk.dropped(DropReason.COLD_BUDGET) == 2


def test_a_flood_of_hellos_does_not_keep_out_who_has_a_cookie() -> None:
    desk = Desk()
    client, flooder = RawClient(desk, 0), RawClient(desk, 1)
    cookie = client.get_cookie()
    desk.offer([(flooder.hello(), flooder.address)] * 1000 + [(client.join_datagram(cookie), client.address)])
    assert desk.engine.num_sessions == 1


# --- what one session may send


def test_datagrams_of_a_session() -> None:
    client = RawClient(desk_with(datagrams_per_s=20), 0).join()
    client.desk.offer([(client.data(), client.address) for _ in range(22)])
    assert client.desk.dropped(DropReason.OVER_RATE) == 2
    client.desk.wait(1.0)
    client.say(client.state((0, b"again")))
    assert list(client.entities().values()) == [b"again"]


def test_bytes_of_a_session() -> None:
    client = RawClient(desk_with(bytes_per_s=10_000), 0).join()
    big = [client.data((200, bytes(971))) for _ in range(12)]
    assert {len(payload) for payload in big} == {1000}
    client.desk.offer([(payload, client.address) for payload in big])
    assert client.desk.dropped(DropReason.OVER_BYTE_RATE) == 2


def test_messages_of_a_session() -> None:
    """What is over the rate is not lost: it is not acknowledged, and taken when it is repeated later."""
    desk = desk_with(messages_per_s=10)
    client = RawClient(desk, 0).join()
    sections = [client.message(bytes([n])) for n in range(12)]
    client.say(*sections)
    assert desk.dropped(DropReason.OVER_MESSAGE_RATE) == 2
    desk.wait(1.0)
    client.say(*sections[10:])
    desk.wait(0.2)
    client.hear()
    assert client.updates[-1].header.message_ack == 12
    assert (
        client.log_cursor == client.welcome.log_index + 3 + 12
    )  # PLAYER_JOINED, HOST_CHANGED, ROOM_READY and the messages


def test_signals_of_a_session() -> None:
    client = RawClient(desk_with(signals_per_s=10), 0).join()
    client.say(*[client.signal(b"x") for _ in range(12)])
    assert client.desk.dropped(DropReason.OVER_SIGNAL_RATE) == 2


def test_sections_of_a_datagram() -> None:
    client = RawClient(Desk(), 0).join()
    client.say(*[(200, b"")] * MAX_SECTIONS)
    assert client.desk.dropped(DropReason.BAD_SECTION) == 0
    client.say(*[(200, b"")] * (MAX_SECTIONS + 2))
    assert client.desk.dropped(DropReason.BAD_SECTION) == 1


def test_datagrams_behind_the_newest() -> None:
    client = RawClient(Desk(), 0).join()
    late = [client.data() for _ in range(WINDOW + 2)]
    client.say()
    client.desk.offer([(payload, client.address) for payload in late])
    assert client.desk.dropped(DropReason.TOO_OLD) == 3  # the newest is one of the 64


def test_entities_of_a_player_and_bytes_of_a_state() -> None:
    client = RawClient(Desk(), 0).join(entities_per_player=3, max_state_bytes=10)
    client.say(client.state(*[(n, b"0123456789") for n in range(5)]))
    assert client.desk.dropped(DropReason.BAD_ENTITY) == 2
    assert len(client.entities()) == 3
    client.say(client.state((0, bytes(12))))
    assert client.desk.dropped(DropReason.BAD_SECTION) == 1


def test_payload_of_a_message_and_of_a_signal() -> None:
    client = RawClient(Desk(), 0).join()
    client.say(client.message(bytes(MAX_FRAGMENT_BYTES + 2)))
    client.say(client.signal(bytes(MAX_FRAGMENT_BYTES + 2)))
    assert client.desk.dropped(DropReason.BAD_SECTION) == 2


def test_fragments_of_a_signal() -> None:
    client = RawClient(Desk(), 0).join()
    client.say(client.signal(b"x", fragment=9 << 4 | 9))
    assert client.desk.dropped(DropReason.BAD_SECTION) == 1


# --- messages


def test_messages_beyond_those_accepted() -> None:
    desk = Desk()
    client = RawClient(desk, 0).join()
    for message_id in range(2, MESSAGE_WINDOW + 4):  # 1 is missing, so none is accepted
        client.say(client.message(b"x", message_id=message_id))
    assert desk.dropped(DropReason.MESSAGE_WINDOW) >= 2
    assert_no_gauge_is_beyond_its_cap(desk)


def test_messages_kept_behind_a_gap() -> None:
    desk = desk_with(**ROOMY)
    per_session = MESSAGE_WINDOW - 1
    clients = []
    for number in range(messages.MAX_HELD // per_session + 1):
        client = RawClient(desk, number).join(code=f"ROOM{number % 8}", max_players=64)
        clients.append(client)
        client.message(b"never sent")
        for _ in range(per_session):
            client.say(client.message(b"x"))
        desk.tick()
    beyond = len(clients) * per_session - messages.MAX_HELD
    assert desk.dropped(DropReason.HOLD_FULL) == beyond > 0
    assert_no_gauge_is_beyond_its_cap(desk)


def test_bytes_that_a_session_may_have_unread() -> None:
    """One member reads nothing; the other goes on as far as its credit goes, and two messages further."""
    desk = desk_with(**ROOMY)
    writer, reader = RawClient(desk, 0).join(), RawClient(desk, 1).join()
    told = writer.welcome.message_credit
    while writer.message_id < told:
        writer.say(writer.message(bytes(MAX_FRAGMENT_BYTES)))
        reader.say(log_cursor=reader.welcome.log_index)
        desk.tick()
        writer.hear()
        told = max([told, *[update.header.message_credit for update in writer.updates[-3:]]])
    assert told * (MAX_FRAGMENT_BYTES + log.LEAST_CHARGE_BYTES) <= log.CREDIT_BYTES
    before = desk.dropped(DropReason.MESSAGE_WINDOW)
    writer.say(writer.message(b"x"))
    writer.say(writer.message(b"x"))
    assert desk.dropped(DropReason.MESSAGE_WINDOW) == before + 2
    assert_no_gauge_is_beyond_its_cap(desk)


def test_memory_of_all_logs() -> None:
    desk = desk_with(log_memory_mib=1, **ROOMY)
    clients = [RawClient(desk, number).join(max_players=64) for number in range(40)]
    for _ in range(60):
        for client in clients:
            client.say(client.message(bytes(1000)), log_cursor=client.welcome.log_index)
    assert desk.dropped(DropReason.LOG_FULL) > 2
    assert_no_gauge_is_beyond_its_cap(desk)


def test_a_message_of_more_fragments_than_permitted_ends_its_session() -> None:
    desk = desk_with(**ROOMY)
    client = RawClient(desk, 0).join()
    while client.message_id < MAX_MESSAGE_BYTES // MAX_FRAGMENT_BYTES:
        assert desk.engine.num_sessions == 1
        sections = [client.message(b"x", more=1) for _ in range(client.may_send(16))]
        client.say(*sections)
        desk.tick()
    client.say(client.message(b"x", more=1), client.message(b"x", more=1))
    desk.wait(0.2)
    assert client.byes() == [ByeReason.PROTOCOL] * 3
    assert desk.engine.num_sessions == 0


def test_entries_that_a_member_may_be_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credit keeps a room far below the real cap, so the cap is lowered here: who is 102 behind is too slow."""
    monkeypatch.setattr(stages, "LOG_CAP_ENTRIES", 100)
    desk = desk_with(**ROOMY)
    writers = [RawClient(desk, number).join(max_players=8) for number in range(3)]
    slow = RawClient(desk, 99).join()
    begin = slow.log_cursor + 3  # its own ROSTER, PLAYER_JOINED and ROOM_READY
    slow.say(log_cursor=begin)
    for n in range(98 + 4):
        writer = writers[n % 3]
        writer.say(*[writer.message(b"") for _ in range(writer.may_send(1))])
        slow.hear()
        slow.say(log_cursor=begin)
        desk.tick()
        assert desk.engine.num_sessions == (4 if n < 100 else 3)
    assert slow.byes()[:1] == [ByeReason.TOO_SLOW]


def test_log_indexes_sent_beyond_a_receivers_cursor() -> None:
    desk = desk_with(**ROOMY)
    writers = [RawClient(desk, number).join() for number in range(3)]
    reader = RawClient(desk, 9).join()
    stuck = reader.welcome.log_index
    for _ in range(60):
        for writer in writers:
            writer.say(*[writer.message(b"x") for _ in range(writer.may_send(10))])
        desk.tick()
        reader.hear()
        reader.say(log_cursor=stuck)
    ranges = [s.body.header for update in reader.updates for s in update.sections if s.type == UpdateSection.LOG_RANGE]
    assert sum(writer.message_id for writer in writers) > LOG_WINDOW + 2
    assert max(header.last for header in ranges) == stuck + LOG_WINDOW


# --- signals


def test_signals_that_wait_for_a_message_of_their_sender() -> None:
    desk = desk_with(**ROOMY)
    for number in range(signals.MAX_WAITING // signals.MAX_WAITING_OF_SESSION):
        client = RawClient(desk, number).join(code=f"ROOM-{number // 8}")
        for _ in range(signals.MAX_WAITING_OF_SESSION // 16):
            client.say(*[client.signal(b"x", flags=2, after_message=1) for _ in range(16)])
    assert desk.dropped(DropReason.SIGNAL_QUEUE_FULL) == 0
    client = RawClient(desk, 999).join(code="ONE-MORE")
    client.say(*[client.signal(b"x", flags=2, after_message=1) for _ in range(2)])
    assert desk.dropped(DropReason.SIGNAL_QUEUE_FULL) == 2
    assert_no_gauge_is_beyond_its_cap(desk)


def test_signals_of_one_session_that_wait_for_a_message() -> None:
    desk = desk_with(**ROOMY)
    client = RawClient(desk, 0).join()
    for count in (16,) * (signals.MAX_WAITING_OF_SESSION // 16) + (2,):
        client.say(*[client.signal(b"x", flags=2, after_message=1) for _ in range(count)])
    assert desk.dropped(DropReason.SIGNAL_QUEUE_FULL) == 2
    other = RawClient(desk, 1).join()
    other.say(other.signal(b"x", flags=2, after_message=1))
    assert desk.dropped(DropReason.SIGNAL_QUEUE_FULL) == 2


def test_signals_gathered_until_the_next_sends() -> None:
    desk = desk_with(**ROOMY)
    client = RawClient(desk, 0).join()
    payloads = [client.data(*[client.signal(b"") for _ in range(20)]) for _ in range(signals.MAX_QUEUED // 20)]
    rest = signals.MAX_QUEUED % 20 + 2
    payloads.append(client.data(*[client.signal(b"") for _ in range(rest)]))
    for first in range(0, len(payloads), 50):  # fewer than the window of 64 in one batch
        desk.receive_without_sending([(payload, client.address) for payload in payloads[first : first + 50]])
    assert desk.dropped(DropReason.SIGNAL_QUEUE_FULL) == 2
    assert_no_gauge_is_beyond_its_cap(desk)


# --- what goes to one client


def test_datagrams_and_bytes_under_way_to_a_client_that_acknowledges_nothing() -> None:
    """However much changes, a silent client gets at most 40 datagrams and 48 KiB, then one per 200 ms."""
    desk = desk_with(**ROOMY)
    writer = RawClient(desk, 0).join(entities_per_player=64, max_state_bytes=60)
    silent = RawClient(desk, 1).join()
    desk.take(silent.address)
    sent = []
    for _ in range(60):
        for first in range(0, 64, 16):
            writer.say(writer.state(*[(first + n, desk.rng.randbytes(60)) for n in range(16)]))
        desk.tick()
        writer.hear()
        sent.append([len(payload) for payload in desk.take(silent.address)])
    beyond = [len(lengths) for lengths in sent].index(0)
    under_way = [length for lengths in sent[:beyond] for length in lengths]
    assert len(under_way) <= pacing.MAX_FLIGHT_DATAGRAMS
    assert sum(under_way) <= pacing.MAX_FLIGHT_BYTES
    rest = sent[beyond:]
    assert sum(map(len, rest)) <= len(rest) / 30 / pacing.PROBE_S + 1


def test_resets() -> None:
    desk = Desk()
    client = RawClient(desk, 0).join()
    client.welcome.session ^= 1 << 40
    for _ in range(lobby.RESETS_PER_S + 2):
        client.say()
    client.hear()
    withheld = desk.engine.stats.counters["resets_withheld"]
    assert withheld >= 2
    assert len(client.others) + withheld == lobby.RESETS_PER_S + 2


def test_states_of_one_section_are_at_most_what_its_count_can_say() -> None:
    """255 removals fill a section; a count that says more than is there spoils the datagram."""
    client = RawClient(Desk(), 0).join(entities_per_player=256, max_players=2, max_state_bytes=1)
    listed = [{"entity_id": n * 4, "state": b""} for n in range(255)]
    client.say(state_section(listed, 0))
    kind, body = state_section(listed[:3], 0)
    header = schemas.STATE_HEADER.build({"sample_ms": 0, "count": 5, "stride": 0})
    client.say((kind, header + body[4:]))
    assert client.desk.dropped(DropReason.BAD_SECTION) == 1
    assert kind == DataSection.STATE
