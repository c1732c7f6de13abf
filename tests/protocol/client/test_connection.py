"""ClientConnection: from the first HELLO to the last BYE."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec
from protocol.client import (
    ClientConnection,
    ClientState,
    Disconnected,
    Joined,
    JoinMode,
    JoinRequest,
    PlayerJoined,
    Refused,
)
from protocol.client.connection import printable, refusal_of
from protocol.constants import ByeReason, DataSection, Kind, Refusal, SignalFlag
from protocol.drops import DropReason
from protocol.texts import BYE_TEXTS

REQUEST = JoinRequest(mode=JoinMode.JOIN, code="ROOM-1", name="ann")


@pytest.fixture
def greeting(server: Any) -> ClientConnection:
    """A connection that has sent its first HELLO at now=0.0."""
    connection = ClientConnection(REQUEST, nonce=server.nonce, now=0.0)
    assert [datagram[0] for datagram in connection.poll(0.0)] == [Kind.HELLO]
    return connection


def test_a_nonce_has_64_bits() -> None:
    for nonce in (-1, 1 << 64):
        with pytest.raises(ValueError, match="nonce"):
            ClientConnection(REQUEST, nonce=nonce, now=0.0)


def test_hello_challenge_join_welcome(server: Any, greeting: ClientConnection) -> None:
    assert greeting.state is ClientState.GREETING
    assert greeting.next_poll_at() == 0.25
    greeting.receive(server.challenge(), 0.1)
    assert greeting.state is ClientState.JOINING and greeting.next_poll_at() == 0.1
    assert [datagram[0] for datagram in greeting.tick(0.1)] == [Kind.JOIN]
    greeting.receive(server.welcome(), 0.2)
    assert greeting.state is ClientState.JOINED
    assert greeting.take_events() == [] and not greeting.is_whole
    assert greeting.player_id == 1
    greeting.receive(server.update(server.log(1, 2, server.joined(1, 1), server.ready(2))), 0.3)
    assert greeting.take_events() == [PlayerJoined(1, "bob"), Joined(player_id=1, code="ROOM-1")]
    assert greeting.take_events() == [] and greeting.is_whole
    assert greeting.disconnect_reason is None


def test_a_welcome_that_comes_late_is_taken_in_greeting_too(server: Any, greeting: ClientConnection) -> None:
    greeting.receive(server.welcome(), 0.2)
    assert greeting.state is ClientState.JOINED


def test_answers_are_dropped_once_joined(server: Any, connection: ClientConnection) -> None:
    for datagram in (server.challenge(), server.welcome(), server.refuse()):
        connection.receive(datagram, 10.0)
    assert connection.dropped == {DropReason.STALE_JOIN: 3}
    assert connection.state is ClientState.JOINED and connection.take_events() == []


def test_a_malformed_welcome_is_dropped(server: Any, greeting: ClientConnection) -> None:
    greeting.receive(server.welcome(player_slots=0), 0.1)
    assert greeting.dropped == {DropReason.MALFORMED: 1}


def test_a_refusal_ends_the_attempt_with_the_servers_words(server: Any, greeting: ClientConnection) -> None:
    greeting.receive(server.refuse(nonce=1), 0.1)
    assert greeting.dropped == {DropReason.STALE_JOIN: 1}
    greeting.receive(server.refuse(), 0.1)
    assert greeting.take_events() == [Refused(Refusal.ROOM_FULL, "This room is full.")]
    assert greeting.state is ClientState.CLOSED
    assert greeting.disconnect_reason is Refusal.ROOM_FULL
    assert greeting.next_poll_at() == math.inf
    assert greeting.tick(5.0) == []


def test_without_any_answer_the_attempt_ends_at_its_deadline(greeting: ClientConnection) -> None:
    while greeting.state is not ClientState.CLOSED:
        now = greeting.next_poll_at()
        greeting.poll(now)
    assert now == 5.0
    (event,) = greeting.take_events()
    assert isinstance(event, Disconnected) and event.reason is ByeReason.TIMEOUT
    assert "could not join within 5 s" in event.text and "firewall" in event.text
    assert greeting.disconnect_reason is ByeReason.TIMEOUT


def test_the_text_tells_a_relay_that_answered_from_one_that_did_not(server: Any, greeting: ClientConnection) -> None:
    greeting.receive(server.challenge(), 0.1)
    greeting.poll(5.0)
    (event,) = greeting.take_events()
    assert isinstance(event, Disconnected) and "the relay is there" in event.text


def test_another_build_is_noticed(server: Any, greeting: ClientConnection) -> None:
    assert not greeting.fingerprint_differs
    for fingerprint, differs in ((0, False), (codec.FINGERPRINT, False), (codec.FINGERPRINT ^ 1, True)):
        greeting.receive(server.challenge(fingerprint=fingerprint), 0.1)
        assert greeting.fingerprint_differs is differs


def test_updates_before_joining_are_dropped(server: Any, greeting: ClientConnection) -> None:
    greeting.receive(server.update(), 0.1)
    for datagram in (server.bye(), server.reset(), server.path_challenge()):
        greeting.receive(datagram, 0.1)
    assert greeting.dropped == {DropReason.UNKNOWN_SESSION: 4}


def test_an_acknowledgement_that_is_due_does_not_wait_for_a_tick(server: Any, connection: ClientConnection) -> None:
    connection.receive(server.update(server.log(2, 2, server.entry(2))), 10.0)
    assert connection.poll(10.049) == []
    assert connection.next_poll_at() == pytest.approx(10.05)
    (datagram,) = connection.poll(10.05)
    assert server.read(datagram).header.ack == 1
    assert len(server.sections(datagram, DataSection.LOG_BITS)) == 1
    assert connection.poll(10.06) == []


def test_the_sixteenth_datagram_is_acknowledged_at_once(server: Any, connection: ClientConnection) -> None:
    for _ in range(15):
        connection.receive(server.update(server.unknown()), 10.0)
    assert connection.poll(10.0) == []
    connection.receive(server.update(server.unknown()), 10.001)
    assert len(connection.poll(10.001)) == 1


def test_a_keepalive_is_sent_after_a_silence_of_ours(server: Any, connection: ClientConnection) -> None:
    assert connection.next_poll_at() == 11.0
    (datagram,) = connection.poll(11.0)
    assert list(server.read(datagram).sections) == []
    assert connection.next_poll_at() == 12.0


def test_the_session_is_over_after_a_silence_of_the_servers(server: Any, connection: ClientConnection) -> None:
    connection.receive(server.update(), 15.0)
    connection.poll(24.9)
    assert connection.state is ClientState.JOINED
    assert connection.next_poll_at() == 25.0
    assert connection.poll(25.0) == []
    assert connection.take_events() == [Disconnected(ByeReason.TIMEOUT, "The connection was lost.")]
    assert connection.state is ClientState.CLOSED and connection.next_poll_at() == math.inf


def test_the_servers_bye_ends_the_session(server: Any, connection: ClientConnection) -> None:
    connection.receive(server.bye(session=1), 10.0)
    assert connection.dropped == {DropReason.UNKNOWN_SESSION: 1}
    connection.receive(server.bye(), 10.0)
    assert connection.take_events() == [Disconnected(ByeReason.SHUTDOWN, "Bye.")]
    connection.receive(server.bye(), 10.02)
    connection.receive(server.update(), 10.03)
    assert connection.dropped == {DropReason.UNKNOWN_SESSION: 3}
    assert connection.take_events() == []


def test_a_bye_without_words_gets_the_usual_ones_for_its_reason(server: Any) -> None:
    for reason, text in ((4, BYE_TEXTS[ByeReason.TOO_SLOW]), (99, "")):
        connection = server.connect(10.0)
        connection.receive(server.bye(reason=reason, text=b""), 10.0)
        assert connection.take_events() == [Disconnected(reason, text)]


def test_a_reset_counts_only_with_the_token_from_welcome(server: Any, connection: ClientConnection) -> None:
    connection.receive(server.reset(reset_token=b"x" * 16), 10.0)
    connection.receive(server.reset(session=1), 10.0)
    assert connection.dropped == {DropReason.UNKNOWN_SESSION: 2}
    assert connection.state is ClientState.JOINED
    connection.receive(server.reset(), 10.0)
    assert connection.take_events() == [Disconnected(ByeReason.RESET, "The server was restarted. Join again.")]


def test_of_several_path_challenges_the_newest_is_answered(server: Any, connection: ClientConnection) -> None:
    connection.receive(server.path_challenge(session=1), 10.0)
    assert connection.dropped == {DropReason.UNKNOWN_SESSION: 1}
    connection.receive(server.path_challenge(challenge=1), 10.0)
    connection.receive(server.path_challenge(challenge=2), 10.0)
    assert [server.read(datagram).challenge for datagram in connection.poll(10.0)] == [2]


def test_closing_says_bye_three_times_twenty_ms_apart(server: Any, connection: ClientConnection) -> None:
    connection.receive(server.path_challenge(), 10.0)
    connection.close(10.0)
    assert connection.state is ClientState.CLOSED
    assert connection.take_events() == [Disconnected(ByeReason.LEFT, "Left the room.")]
    sent = []
    while connection.next_poll_at() < math.inf:
        now = connection.next_poll_at()
        assert connection.poll(now - 0.001) == []
        sent += [(now, server.read(datagram)) for datagram in connection.tick(now)]
    assert [now for now, _ in sent] == [10.0, pytest.approx(10.02), pytest.approx(10.04)]
    assert all((value.kind, value.session, value.reason) == (Kind.BYE, server.session, 1) for _, value in sent)
    connection.close(11.0)
    assert connection.take_events() == [] and connection.poll(11.0) == []


def test_closing_before_joining_sends_nothing(greeting: ClientConnection) -> None:
    greeting.close(0.1)
    assert greeting.next_poll_at() == math.inf and greeting.poll(1.0) == []
    assert greeting.take_events() == [Disconnected(ByeReason.LEFT, "Left the room.")]


def test_who_gives_up_while_joining_answers_a_welcome_with_bye(server: Any, greeting: ClientConnection) -> None:
    greeting.poll(0.0)
    greeting.receive(server.challenge(), 0.1)
    greeting.poll(0.1)
    greeting.close(0.2)
    assert greeting.poll(0.2) == [] and greeting.next_poll_at() == pytest.approx(1.2)
    greeting.receive(server.welcome(), 0.3)
    assert [datagram[0] for datagram in greeting.poll(0.3)] == [Kind.BYE]
    assert [datagram[0] for at in (0.35, 0.4, 0.45) for datagram in greeting.poll(at)] == [Kind.BYE] * 2
    assert greeting.next_poll_at() == math.inf
    assert greeting.take_events() == [Disconnected(ByeReason.LEFT, "Left the room.")]


def test_who_gives_up_does_not_wait_for_ever(server: Any, greeting: ClientConnection) -> None:
    greeting.poll(0.0)
    greeting.receive(server.challenge(), 0.1)
    greeting.poll(0.1)
    greeting.close(0.2)
    assert greeting.poll(1.2) == [] and greeting.next_poll_at() == math.inf


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", DropReason.TOO_SHORT),
        (b"\x11", DropReason.TOO_SHORT),
        (b"\x11" * 1201, DropReason.TOO_LONG),
        (b"\x00\x00", DropReason.UNKNOWN_KIND),
        (bytes([Kind.HELLO]) + bytes(300), DropReason.UNKNOWN_KIND),
        (bytes([Kind.REDIRECT]) + bytes(28), DropReason.UNKNOWN_KIND),
        (bytes([Kind.PONG]) + bytes(60), DropReason.UNKNOWN_KIND),
        (bytes([Kind.DATA]) + bytes(60), DropReason.UNKNOWN_KIND),
        (bytes([Kind.CHALLENGE]) + bytes(60), DropReason.MALFORMED),
        (bytes([Kind.BYE, 0, 1]), DropReason.MALFORMED),
    ],
)
def test_what_no_server_sends_is_dropped_and_counted(
    connection: ClientConnection, datagram: bytes, reason: DropReason
) -> None:
    connection.receive(datagram, 10.0)
    assert connection.dropped == {reason: 1}


def test_reasons_of_a_later_revision_stay_numbers() -> None:
    assert refusal_of(4) is Refusal.ROOM_FULL and refusal_of(99) == 99


def test_a_servers_text_cannot_control_a_terminal() -> None:
    assert printable("Tsch\u00fcss \x1b[31m\n".encode() + b"\xff") == "Tsch\u00fcss [31m\ufffd"


def facts(connection: ClientConnection) -> object:
    """All that a dropped datagram must leave as it was."""
    session = connection._session
    assert session is not None
    return (
        connection.state,
        dict(connection.table),
        dict(connection.members),
        session.room.inbox.cursor,
        session.room.inbox.done,
        session.room.inbox.log_bits(),
        session.receipts.window.newest,
        session.receipts.window.ack_bits(),
        session.flight.rtt_s,
        session.room.tick,
        connection.unacked_messages,
        connection.is_idle(),
        len(connection._events),
    )


WHOLE_DROPS = {
    DropReason.TOO_SHORT,
    DropReason.TOO_LONG,
    DropReason.UNKNOWN_KIND,
    DropReason.UNKNOWN_SESSION,
    DropReason.DUPLICATE,
    DropReason.TOO_OLD,
    DropReason.BAD_ACK,
    DropReason.BAD_SECTION,
    DropReason.STALE_JOIN,
}
"""MALFORMED is not here: it may also be one entry of a datagram that was taken."""


def live_connection(server: Any) -> ClientConnection:
    """A connection with something of everything under way."""
    connection: ClientConnection = server.connect(10.0)
    connection.publish(0, b"state", 10.0)
    connection.send_message(b"hello")
    connection.tick(10.0)
    connection.receive(server.update(server.page(0, {2: b"a", 3: b"b"}), server.log(1, 2, server.joined(2, 2))), 10.0)
    connection.receive(server.update(server.log(4, 5, server.entry(5, part=1), after=2)), 10.0)
    connection.receive(server.update(server.signal(flags=SignalFlag.AFTER_LOG, position=9)), 10.0)
    return connection


def rich_update(server: Any) -> bytes:
    data: bytes = server.update(
        server.page(0, {2: b"c"}, {3: b"dd"}, since=301, removed=(2, 4)),
        server.log(3, 3, server.entry(3, part=0x8000)),
        server.log(6, 8, server.entry(6), server.left(7, 2)),
        server.signal(),
        server.unknown(),
        ack=1,
        message_ack=1,
    )
    return data


def check_datagram(connection: ClientConnection, data: bytes) -> None:
    """Receive: nothing raises, and a whole drop leaves everything as it was."""
    before, num_dropped = facts(connection), sum(connection.dropped[reason] for reason in WHOLE_DROPS)
    connection.receive(data, 10.1)
    if sum(connection.dropped[reason] for reason in WHOLE_DROPS) > num_dropped:
        assert facts(connection) == before
    connection.tick(10.2)
    connection.poll(10.3)
    connection.take_events()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_mutated_update_never_raises_and_never_moves_state_on_drop(data: st.DataObject, server_class: Any) -> None:
    server = server_class()
    connection = live_connection(server)
    for _ in range(3):
        datagram = bytearray(rich_update(server))
        for _ in range(data.draw(st.integers(0, 4))):
            at = data.draw(st.sampled_from(range(len(datagram))))
            datagram[at] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, len(datagram)) | st.just(len(datagram)))
        check_datagram(connection, bytes(datagram[:cut]) + data.draw(st.just(b"") | st.binary(max_size=20)))


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(list(Kind)) | st.integers(0, 255), rest=st.binary(max_size=1250), known=st.booleans())
def test_any_bytes_never_raise_and_never_move_state_on_drop(
    kind: int, rest: bytes, known: bool, server_class: Any
) -> None:
    server = server_class()
    connection = live_connection(server)
    prefix = bytes([kind, 0]) + (server.session.to_bytes(8, "little") if known else b"")
    check_datagram(connection, prefix + rest)
    joining = ClientConnection(REQUEST, nonce=server.nonce, now=0.0)
    joining.poll(0.0)
    joining.receive(bytes([kind, 0]) + server.nonce.to_bytes(8, "little") + rest, 0.1)
    joining.tick(0.2)
