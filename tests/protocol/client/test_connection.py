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
    ConnectionLost,
    Disconnected,
    Joined,
    JoinMode,
    JoinRequest,
    Message,
    PlayerJoined,
    Refused,
    Resumed,
    ResumeToken,
    RoomReset,
    StateChanged,
)
from protocol.client.connection import printable, refusal_of
from protocol.client.resume import resume_nonce
from protocol.constants import ByeReason, DataSection, EntryKind, Kind, Option, Refusal, SignalFlag
from protocol.constants import Resumed as Resumption
from protocol.drops import DropReason
from protocol.schemas import RESUME_OPTION
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


class TestResume:
    """A connection whose server was silent from 10.0 on, with a timeout of 10 s and a place kept for 60 s."""

    NEW = 0x5AFE
    """Number of the session after a resume."""

    def lost(self, server: Any, **changes: Any) -> ClientConnection:
        """Lose a connection that is whole, with two entries read, at 20.0; HELLO was sent."""
        connection: ClientConnection = server.connect(10.0, **({"grace_s": 60, "log_index": 5} | changes))
        connection.receive(server.update(server.log(6, 7, server.joined(6, 2), server.ready(7))), 10.0)
        connection.take_events()
        assert [datagram[0] for datagram in connection.poll(20.0)] == [Kind.HELLO]
        assert connection.take_events() == [ConnectionLost()]
        return connection

    def nonce(self, connection: ClientConnection, count: int = 1) -> int:
        return resume_nonce(connection.resume_token().secret, count)

    def joining(self, server: Any, connection: ClientConnection) -> bytes:
        """Answer HELLO; returns the JOIN."""
        connection.receive(server.challenge(nonce=self.nonce(connection)), 20.1)
        (join,) = connection.poll(20.1)
        return join

    def welcome(self, server: Any, connection: ClientConnection, resumed: Resumption, **changes: Any) -> bytes:
        fields = {"session": self.NEW, "secret": b"t" * 16, "log_index": 7, "resumed": resumed, "grace_s": 60}
        data: bytes = server.welcome(**({"nonce": self.nonce(connection)} | fields | changes))
        return data

    def update(self, server: Any, *sections: Any, **changes: Any) -> bytes:
        data: bytes = server.update(*sections, session=self.NEW, **changes)
        return data

    def test_a_lost_connection_asks_for_its_place(self, server: Any) -> None:
        connection = self.lost(server)
        assert connection.state is ClientState.RESUMING and not connection.is_whole
        assert connection.next_poll_at() == 20.25
        value = server.read(self.joining(server, connection))
        offer = RESUME_OPTION.parse(codec.options_of(value)[Option.RESUME])
        assert (value.fields.mode, offer.session, offer.log_index) == (JoinMode.RESUME, server.session, 7)

    def test_without_a_place_that_is_kept_it_is_over(self, server: Any) -> None:
        request = JoinRequest(mode=JoinMode.JOIN, code="ROOM-1", name="ann", reconnect=False)
        for connection in (server.connect(10.0, grace_s=0), server.connect(10.0, request=request, grace_s=60)):
            connection.poll(20.0)
            assert connection.take_events() == [Disconnected(ByeReason.TIMEOUT, "The connection was lost.")]

    def test_the_room_goes_on_where_it_was(self, server: Any) -> None:
        connection = self.lost(server)
        connection.publish(0, b"state", 20.0)
        assert connection.send_message(b"hello") == 1
        assert connection.tick(20.05) == [], "no DATA while it is lost"
        self.joining(server, connection)
        connection.receive(self.welcome(server, connection, Resumption.CONTINUED), 20.2)
        assert connection.state is ClientState.JOINED and connection.take_events() == []
        assert connection.session == self.NEW and connection.resume_token().secret == b"t" * 16
        (data,) = connection.tick(20.3)
        header = server.read(data).header
        assert (header.session, header.seq, header.flags, header.log_cursor) == (self.NEW, 1, 1, 7)
        assert len(server.sections(data, DataSection.MESSAGE)) == 1
        assert not server.sections(data, DataSection.STATE), "it may be another's now"
        server.seq = 0
        connection.receive(self.update(server, server.log(8, 9, server.entry(8), server.ready(9, b"\x01"))), 20.4)
        connection.receive(self.update(server, server.page(0, {2: b"bob"})), 20.4)
        (data,) = connection.tick(20.5)
        assert len(server.sections(data, DataSection.STATE)) == 1
        message, state, resumed = connection.take_events()
        assert isinstance(message, Message) and isinstance(state, StateChanged)
        assert resumed == Resumed(1, is_afresh=False) and connection.is_whole
        assert dict(connection.members) == {2: "bob"}

    def test_what_was_acknowledged_of_messages_is_not_sent_again(self, server: Any) -> None:
        connection = server.connect(10.0, grace_s=60)
        for _ in range(3):
            connection.send_message(b"x")
        connection.tick(10.0)
        connection.receive(server.update(server.log(1, 1)), 10.0)
        connection.poll(20.0)
        self.joining(server, connection)
        connection.receive(self.welcome(server, connection, Resumption.CONTINUED, message_id=2, log_index=1), 20.2)
        (section,) = server.sections(connection.tick(20.3)[0], DataSection.MESSAGE)
        assert section.header.message_id == 3

    def test_afresh_everything_is_told_anew_and_what_we_publish_goes_on(self, server: Any) -> None:
        connection = self.lost(server)
        connection.publish(0, b"mine", 20.0)
        connection.send_message(b"lost")
        self.joining(server, connection)
        connection.receive(self.welcome(server, connection, Resumption.AFRESH, log_index=50), 20.2)
        assert connection.take_events() == [RoomReset()]
        assert (dict(connection.members), dict(connection.table)) == ({}, {})
        assert connection.tick(20.3) == []
        assert connection.send_message(b"next") == 1
        server.seq = 0
        both = server.joined(51, 1), server.joined(52, 2), server.ready(53, b"\x01")
        connection.receive(self.update(server, server.log(51, 53, *both)), 20.4)
        connection.receive(self.update(server, server.page(0, {1: b"mine", 2: b"bob.", 9: b"ours"})), 20.4)
        data = connection.tick(20.5)[0]
        assert len(server.sections(data, DataSection.STATE)) == len(server.sections(data, DataSection.MESSAGE)) == 1
        events = connection.take_events()
        assert [type(event) for event in events] == [PlayerJoined, PlayerJoined, StateChanged, Resumed]
        assert [change[0] for change in events[2].changed] == [2, 9]  # type: ignore[union-attr]
        assert events[3] == Resumed(1, is_afresh=True)

    def test_what_was_anothers_while_we_were_away_is_not_sent_again(self, server: Any) -> None:
        connection = self.lost(server)
        connection.publish(0, b"old", 20.0)
        connection.publish(1, b"ours", 20.0)
        self.joining(server, connection)
        connection.receive(self.welcome(server, connection, Resumption.CONTINUED), 20.2)
        server.seq = 0
        there_and_back = [server.written(n, EntryKind.ENTITY_OWNER, entity_id=1, owner=10 - n) for n in (8, 9)]
        connection.receive(self.update(server, server.log(8, 10, *there_and_back, server.ready(10))), 20.3)
        (section,) = server.sections(connection.tick(20.4)[0], DataSection.STATE)
        assert [entity.entity_id for entity in section.states] == [9]
        assert connection.is_ours(1) and connection.publish(0, b"new", 20.5)

    def test_afresh_what_was_handed_over_is_as_the_server_has_it(self, server: Any) -> None:
        """Also what fell back to us: we cannot know what others did with it."""
        connection = self.lost(server)
        connection.publish(0, b"old", 20.0)
        connection.publish(1, b"ours", 20.0)
        self.joining(server, connection)
        connection.receive(self.welcome(server, connection, Resumption.AFRESH, log_index=50), 20.2)
        server.seq = 0
        owners = server.written(
            52, EntryKind.OWNERS, owners=[{"entity_id": 1, "owner": 1}, {"entity_id": 3, "owner": 1}]
        )
        entries = server.joined(51, 1), owners, server.ready(53)
        connection.receive(self.update(server, server.page(0, {1: b"new", 3: b"his"})), 20.3)
        connection.take_events()
        connection.receive(self.update(server, server.log(51, 53, *entries)), 20.3)
        [shown] = [event for event in connection.take_events() if isinstance(event, StateChanged)]
        assert [(entity_id, state) for entity_id, state, _ in shown.changed] == [(1, b"new"), (3, b"his")]
        (section,) = server.sections(connection.tick(20.4)[0], DataSection.STATE)
        assert [entity.entity_id for entity in section.states] == [9]

    def test_afresh_in_a_room_of_another_shape_nothing_is_published(self, server: Any) -> None:
        connection = self.lost(server)
        connection.publish(0, b"mine", 20.0)
        self.joining(server, connection)
        connection.receive(self.welcome(server, connection, Resumption.AFRESH, page_ids=8), 20.2)
        assert connection.is_idle()

    def test_who_was_lost_before_joined_still_hears_it(self, server: Any) -> None:
        for resumed in (Resumption.CONTINUED, Resumption.AFRESH):
            server.seq = 0
            connection = server.connect(10.0, grace_s=60, log_index=5)
            connection.poll(20.0)
            self.joining(server, connection)
            connection.receive(self.welcome(server, connection, resumed, log_index=5), 20.2)
            connection.take_events()
            connection.receive(self.update(server, server.log(6, 6, server.ready(6))), 20.3)
            assert connection.take_events() == [Joined(1, "ROOM-1")]

    def test_a_welcome_of_a_new_player_is_none_for_who_comes_back(self, server: Any) -> None:
        connection = self.lost(server)
        self.joining(server, connection)
        connection.receive(self.welcome(server, connection, Resumption.NO), 20.2)
        assert connection.dropped == {DropReason.MALFORMED: 1}
        assert connection.state is ClientState.RESUMING and connection.take_events() == []

    @pytest.mark.parametrize("changes", [{"player_id": 2}, {"page_ids": 8}, {"log_index": 8}, {"message_id": 1}])
    def test_after_a_welcome_that_does_not_continue_what_we_have_we_offer_nothing_to_go_on_from(
        self, server: Any, changes: dict[str, Any]
    ) -> None:
        """It was dropped each time that it came, until the place was lost."""
        connection = self.lost(server)
        self.joining(server, connection)
        connection.receive(self.welcome(server, connection, Resumption.CONTINUED, **changes), 20.2)
        assert connection.dropped == {DropReason.MALFORMED: 1}
        assert connection.state is ClientState.RESUMING and connection.take_events() == []
        (hello,) = connection.poll(20.2)
        nonce = self.nonce(connection, 2)
        assert server.read(hello).nonce == nonce
        connection.receive(server.challenge(nonce=nonce), 20.3)
        (join,) = connection.poll(20.3)
        assert RESUME_OPTION.parse(codec.options_of(server.read(join))[Option.RESUME]).log_index == 0
        connection.receive(self.welcome(server, connection, Resumption.CONTINUED, nonce=nonce), 20.4)
        assert connection.state is ClientState.RESUMING, "to nothing it cannot go on, and asks no third time"
        assert connection.poll(79.9) != [] and connection.poll(80.0) == []
        assert connection.take_events() == [Disconnected(ByeReason.TIMEOUT, "The connection was lost.")]

    def test_a_second_loss_has_a_nonce_of_its_own(self, server: Any) -> None:
        connection = self.lost(server)
        first = self.nonce(connection)
        self.joining(server, connection)
        connection.receive(self.welcome(server, connection, Resumption.CONTINUED), 20.2)
        (hello,) = connection.poll(30.2)
        assert connection.take_events() == [ConnectionLost()]
        assert server.read(hello).nonce == self.nonce(connection, 2) != first

    def test_an_update_before_a_join_was_sent_means_that_the_session_lives(self, server: Any) -> None:
        connection = self.lost(server)
        connection.receive(server.update(session=1), 20.1)
        assert connection.state is ClientState.RESUMING
        connection.receive(server.update(), 20.1)
        assert connection.state is ClientState.JOINED and connection.is_whole
        assert connection.take_events() == [Resumed(1, is_afresh=False)]
        connection.receive(server.challenge(nonce=self.nonce(connection)), 20.2)
        connection.receive(self.welcome(server, connection, Resumption.CONTINUED), 20.2)
        assert connection.dropped == {DropReason.UNKNOWN_SESSION: 1, DropReason.STALE_JOIN: 2}

    def test_after_a_join_was_sent_the_old_session_is_not_heard_any_more(self, server: Any) -> None:
        """Its BYE may be what our own JOIN caused, and so may its RESET, for DATA that came late."""
        connection = self.lost(server)
        self.joining(server, connection)
        for datagram in (
            server.update(),
            server.bye(reason=ByeReason.REPLACED),
            server.reset(),
            server.path_challenge(),
        ):
            connection.receive(datagram, 20.15)
        assert connection.dropped == {DropReason.UNKNOWN_SESSION: 4}
        assert connection.state is ClientState.RESUMING and connection.take_events() == []

    @pytest.mark.parametrize("reason", [ByeReason.SHUTDOWN, ByeReason.KICKED])
    def test_a_bye_for_another_reason_ends_it(self, server: Any, reason: ByeReason) -> None:
        connection = self.lost(server)
        self.joining(server, connection)
        connection.receive(server.bye(reason=reason), 20.15)
        assert connection.take_events() == [Disconnected(reason, "Bye.")]

    def test_before_a_join_was_sent_bye_and_reset_count(self, server: Any) -> None:
        for datagram, reason in ((server.bye(reason=6), ByeReason.REPLACED), (server.reset(), ByeReason.RESET)):
            server.seq = 0
            connection = self.lost(server)
            connection.receive(datagram, 20.1)
            (event,) = connection.take_events()
            assert isinstance(event, Disconnected) and event.reason is reason

    @pytest.mark.parametrize(
        ("refusal", "reason"),
        [
            (Refusal.CANNOT_RESUME, ByeReason.TIMEOUT),
            (Refusal.BANNED, ByeReason.BANNED),
            (Refusal.SHUTTING_DOWN, ByeReason.SHUTDOWN),
            (99, ByeReason.TIMEOUT),
        ],
    )
    def test_a_refusal_ends_it_with_the_servers_words(self, server: Any, refusal: int, reason: ByeReason) -> None:
        connection = self.lost(server)
        connection.receive(server.refuse(reason=refusal), 20.1)
        assert connection.dropped == {DropReason.STALE_JOIN: 1}
        connection.receive(server.refuse(nonce=self.nonce(connection), reason=refusal, text=b"No."), 20.1)
        assert connection.take_events() == [Disconnected(reason, "No.")]
        assert connection.state is ClientState.CLOSED and connection.next_poll_at() == math.inf

    @pytest.mark.parametrize("refusal", [Refusal.SERVER_FULL, Refusal.TOO_MANY_SESSIONS])
    def test_a_refusal_for_now_is_no_end(self, server: Any, refusal: Refusal) -> None:
        """The server kept the place, and the client gave it up."""
        connection = self.lost(server)
        join = self.joining(server, connection)
        connection.receive(server.refuse(nonce=self.nonce(connection), reason=refusal), 20.2)
        assert connection.state is ClientState.RESUMING and connection.take_events() == []
        assert connection.poll(20.3) == [] and connection.poll(20.4) == [join], "no sooner than without an answer"
        connection.receive(self.welcome(server, connection, Resumption.CONTINUED), 20.5)
        assert connection.state is ClientState.JOINED

    def test_a_bye_that_asks_for_a_resume_begins_one(self, server: Any) -> None:
        connection = server.connect(10.0, grace_s=60, log_index=5)
        connection.receive(server.bye(reason=ByeReason.LOG_GONE), 11.0)
        assert connection.state is ClientState.RESUMING and connection.take_events() == [ConnectionLost()]
        connection.receive(server.bye(reason=ByeReason.LOG_GONE), 11.0)
        assert connection.dropped == {DropReason.UNKNOWN_SESSION: 1} and connection.take_events() == []
        (hello,) = connection.poll(11.0)
        assert server.read(hello).nonce == self.nonce(connection)
        assert connection.poll(70.9) != [] and connection.poll(71.0) == []
        assert connection.take_events() == [Disconnected(ByeReason.TIMEOUT, "The connection was lost.")]

    def test_a_bye_that_asks_for_a_resume_ends_who_may_not_come_back(self, server: Any) -> None:
        request = JoinRequest(mode=JoinMode.JOIN, code="ROOM-1", name="ann", reconnect=False)
        for connection in (server.connect(10.0, grace_s=0), server.connect(10.0, request=request, grace_s=60)):
            connection.receive(server.bye(reason=ByeReason.LOG_GONE, text=b""), 11.0)
            (event,) = connection.take_events()
            assert event.reason is ByeReason.LOG_GONE and "too long" in event.text

    def test_when_the_place_is_kept_no_longer_it_is_over(self, server: Any) -> None:
        connection = self.lost(server)
        assert connection.poll(79.9) != []
        assert connection.poll(80.0) == []
        assert connection.take_events() == [Disconnected(ByeReason.TIMEOUT, "The connection was lost.")]
        assert connection.next_poll_at() == math.inf

    def test_who_closes_meanwhile_says_bye_for_the_old_session_and_for_a_new_one(self, server: Any) -> None:
        connection = self.lost(server)
        self.joining(server, connection)
        connection.close(20.2)
        assert connection.take_events() == [Disconnected(ByeReason.LEFT, "Left the room.")]
        sent = [server.read(data).session for at in (20.2, 20.23, 20.26) for data in connection.poll(at)]
        assert sent == [server.session] * 3
        assert connection.next_poll_at() == pytest.approx(21.2)
        connection.receive(self.welcome(server, connection, Resumption.CONTINUED), 20.5)
        sent = [server.read(data).session for at in (20.5, 20.53, 20.56) for data in connection.poll(at)]
        assert sent == [self.NEW] * 3 and connection.next_poll_at() == math.inf

    def test_a_process_that_was_started_anew_is_told_everything(self, server: Any) -> None:
        token = ResumeToken.from_bytes(server.connect(10.0, grace_s=60).resume_token().to_bytes())
        request = JoinRequest(mode=JoinMode.RESUME, resume=token)
        connection = ClientConnection(request, nonce=9, now=20.0)
        connection.poll(20.0)
        connection.receive(server.challenge(nonce=9), 20.1)
        offer = RESUME_OPTION.parse(codec.options_of(server.read(connection.poll(20.1)[0]))[Option.RESUME])
        assert (offer.session, offer.log_index) == (server.session, 0)
        connection.receive(server.welcome(nonce=9, session=self.NEW, resumed=Resumption.AFRESH, message_id=40), 20.2)
        assert connection.send_message(b"hello") == 41
        both = server.joined(1, 1), server.ready(2, b"\x01")
        server.seq = 0
        connection.receive(self.update(server, server.log(1, 2, *both), message_ack=40), 20.3)
        connection.receive(self.update(server, server.page(0, {1: b"mine"}), message_ack=40), 20.3)
        joined, state, resumed = connection.take_events()
        assert joined == PlayerJoined(1, "bob") and resumed == Resumed(1, is_afresh=True)
        assert isinstance(state, StateChanged) and state.changed[0][:2] == (1, b"mine"), "ours too: we may take it over"
        connection.publish(0, b"taken over", 20.4)
        connection.receive(self.update(server, server.page(0, {1: b"taken over"}), message_ack=40), 20.5)
        assert connection.take_events() == []

    def test_a_process_that_is_refused_its_place_is_refused(self, server: Any) -> None:
        request = JoinRequest(mode=JoinMode.RESUME, resume=ResumeToken(1, b"s" * 16, "ROOM-1"))
        connection = ClientConnection(request, nonce=9, now=20.0)
        connection.receive(server.refuse(nonce=9, reason=Refusal.CANNOT_RESUME), 20.1)
        assert connection.take_events() == [Refused(Refusal.CANNOT_RESUME, "This room is full.")]


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
        connection.away,
        dict(connection.room_properties),
        [connection.owner_of(entity_id) for entity_id in range(32)],
        connection.is_locked,
        connection.is_listed,
        connection.is_whole,
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


def of_the_room(server: Any) -> list[Any]:
    """One entry of each kind that tells what rooms keep, from index 9 on."""
    fields = {"player_id": 2, "owner": 0xFFFF, "key": b"map", "type": 4, "value": b"cave"}
    return [
        server.written(9, EntryKind.PROPERTY_CHANGED, **fields),
        server.written(10, EntryKind.PROPERTIES, properties=[fields | {"version": 3}]),
        server.written(11, EntryKind.OWNERS, owners=[{"entity_id": 9, "owner": 2}]),
        server.written(12, EntryKind.PLAYER_BACK, player_id=2, is_afresh=1),
        server.written(13, EntryKind.REQUEST_REFUSED, message_id=1, request=112, reason=6),
        server.ready(14, b"\x03"),
    ]


def rich_update(server: Any) -> bytes:
    data: bytes = server.update(
        server.page(0, {2: b"c"}, {3: b"dd"}, since=301, removed=(2, 4)),
        server.log(3, 3, server.entry(3, part=0x8000)),
        server.log(6, 8, server.entry(6), server.left(7, 2)),
        server.log(9, 14, *of_the_room(server)),
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
    resuming = server.connect(10.0, grace_s=60)
    resuming.poll(20.0)
    own = server.session if known else resume_nonce(b"s" * 16, 1)
    resuming.receive(bytes([kind, 0]) + own.to_bytes(8, "little") + rest, 20.1)
    resuming.tick(20.2)
    joining = ClientConnection(REQUEST, nonce=server.nonce, now=0.0)
    joining.poll(0.0)
    joining.receive(bytes([kind, 0]) + server.nonce.to_bytes(8, "little") + rest, 0.1)
    joining.tick(0.2)
