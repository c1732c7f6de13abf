"""Session: the order of the checks, and what two DATA of a tick carry."""

from typing import Any

import pytest

from protocol.client import ClientConnection, Message, PlayerJoined, PlayerLeft, Signal, StateChanged
from protocol.client import session as session_module
from protocol.constants import DataSection, Kind, SignalFlag
from protocol.drops import DropReason
from protocol.proofs import path_proof


def received(connection: ClientConnection, datagram: bytes, now: float) -> list[Any]:
    connection.receive(datagram, now)
    return connection.take_events()


def test_a_tick_with_nothing_to_say_says_nothing(connection: ClientConnection) -> None:
    assert connection.tick(10.1) == []


def test_the_first_data_says_that_nothing_was_received(server: Any, connection: ClientConnection) -> None:
    connection.publish(0, b"state", 10.0)
    header = server.read(connection.tick(10.0)[0]).header
    assert (header.seq, header.flags, header.ack, header.log_cursor) == (1, 1, 0, 0)
    assert (header.session, header.reserved) == (server.session, 0)


def test_an_owed_acknowledgement_goes_with_the_next_tick(server: Any, connection: ClientConnection) -> None:
    connection.receive(server.update(server.log(1, 4)), 10.0)
    header = server.read(connection.tick(10.01)[0]).header
    assert (header.ack, header.ack_bits, header.ack_delay, header.flags, header.log_cursor) == (1, 0, 10, 0, 4)
    assert connection.tick(10.02) == []


def test_a_bare_update_is_not_acknowledged(server: Any, connection: ClientConnection) -> None:
    connection.receive(server.update(), 10.0)
    assert connection.tick(10.01) == []
    connection.receive(server.update(server.unknown()), 10.02)
    assert len(connection.tick(10.03)) == 1


def test_holes_in_the_log_go_up_as_log_bits(server: Any, connection: ClientConnection) -> None:
    connection.receive(server.update(server.log(3, 3, server.entry(3))), 10.0)
    (bits,) = server.sections(connection.tick(10.01)[0], DataSection.LOG_BITS)
    assert list(bits.words) == [0b100]


def test_all_that_is_small_goes_in_one_datagram(server: Any, connection: ClientConnection) -> None:
    connection.publish(0, b"state", 10.0)
    connection.send_message(b"hello")
    connection.send_signal(b"beep")
    datagrams = connection.tick(10.0)
    assert [section.type for section in server.read(datagrams[0]).sections] == [
        DataSection.STATE,
        DataSection.SIGNAL,
        DataSection.MESSAGE,
    ]
    assert len(datagrams) == 1


def test_a_tick_sends_two_data_at_most_and_a_large_message_goes_first_in_the_second(server: Any) -> None:
    connection = server.connect(10.0, entities_per_player=200, max_state_bytes=255, page_ids=4)
    for local_index in range(20):
        connection.publish(local_index, bytes(255), 10.0)
    for _ in range(5):
        connection.send_message(bytes(1024))
    first, second = connection.tick(10.0)
    assert [section.type for section in server.read(first).sections] == [DataSection.STATE]
    assert [section.type for section in server.read(second).sections] == [DataSection.MESSAGE]


def test_what_did_not_fit_goes_into_the_second_data_once(server: Any, connection: ClientConnection) -> None:
    connection.publish(0, bytes(32), 10.0)
    connection.send_signal(bytes(1024))
    connection.send_signal(bytes(1024))
    first, second = connection.tick(10.0)
    assert [section.type for section in server.read(first).sections] == [DataSection.STATE, DataSection.SIGNAL]
    assert [section.type for section in server.read(second).sections] == [DataSection.SIGNAL]


def test_states_that_do_not_fit_the_first_data_go_into_the_second(server: Any) -> None:
    connection = server.connect(10.0, entities_per_player=20, max_state_bytes=255, page_ids=4)
    for local_index in range(6):
        connection.publish(local_index, bytes(255), 10.0)
    datagrams = connection.tick(10.0)
    counts = [server.sections(datagram, DataSection.STATE)[0].header.count for datagram in datagrams]
    assert counts == [4, 2]
    connection.receive(server.update(ack=2, ack_bits=0), 10.1)
    (again,) = connection.tick(10.1)
    assert server.sections(again, DataSection.STATE)[0].header.count == 4


def test_a_state_goes_up_under_its_entity_id_with_its_sample_time(server: Any, connection: ClientConnection) -> None:
    connection.publish(2, b"state", 10.5)  # tick 300 at 30 Hz arrived at 10.0: server time 10.5
    (section,) = server.sections(connection.tick(10.6)[0], DataSection.STATE)
    assert section.header.sample_ms == 10500
    assert [(state.entity_id, state.state) for state in section.states] == [(2 * 8 + 1, b"state")]


def test_an_ack_settles_states_and_messages(server: Any, connection: ClientConnection) -> None:
    connection.publish(0, b"state", 10.0)
    connection.send_message(b"hello")
    connection.tick(10.0)
    connection.receive(server.update(ack=1, message_ack=1), 10.1)
    assert connection.is_idle() and connection.rtt_s == pytest.approx(0.1)


def test_ack_fields_of_a_late_datagram_are_not_used(server: Any, connection: ClientConnection) -> None:
    connection.publish(0, b"state", 10.0)
    connection.send_message(b"hello")
    connection.tick(10.0)
    late = server.update(server.log(1, 1, server.entry(1)), ack=1, message_ack=1)
    newest = server.update()
    connection.receive(newest, 10.1)
    assert [type(event) for event in received(connection, late, 10.2)] == [Message]
    assert not connection.is_idle()
    connection.receive(server.update(ack=1, message_ack=1), 10.3)
    assert connection.is_idle()


def test_a_message_is_handed_over_with_its_index(server: Any, connection: ClientConnection) -> None:
    events = received(connection, server.update(server.log(1, 2, server.entry(2, b"hi", 7, 3))), 10.0)
    assert events == [Message(sender=3, kind=7, channel=0, payload=b"hi", index=2)]


def test_entries_of_no_known_kind_are_passed_over(server: Any, connection: ClientConnection) -> None:
    update = server.update(server.log(1, 2, server.entry(1, kind=0), server.entry(2, kind=255)))
    assert received(connection, update, 10.0) == []
    assert connection.dropped == {}


def test_a_malformed_entry_is_counted_and_the_rest_is_taken(server: Any, connection: ClientConnection) -> None:
    update = server.update(server.log(1, 2, server.entry(1, b"", 128), server.entry(2)))
    assert [type(event) for event in received(connection, update, 10.0)] == [Message]
    assert connection.dropped == {DropReason.MALFORMED: 1}


def test_states_are_shown_with_the_players_announcement(server: Any, connection: ClientConnection) -> None:
    assert received(connection, server.update(server.page(0, {2: b"state"})), 10.0) == []
    events = received(connection, server.update(server.log(1, 1, server.joined(1, 2))), 10.1)
    assert [type(event) for event in events] == [PlayerJoined, StateChanged]
    events = received(connection, server.update(server.page(0, {2: b"other"}, since=301)), 10.2)
    assert [event.changed[0][:2] for event in events] == [(2, b"other")]
    events = received(connection, server.update(server.log(2, 2, server.left(2, 2))), 10.3)
    assert [type(event) for event in events] == [PlayerLeft]
    events = received(connection, server.update(server.page(0, since=303, removed=(2,))), 10.4)
    assert [event.removed for event in events] == [(2,)]


def test_a_signal_waits_for_the_entry_it_refers_to(server: Any, connection: ClientConnection) -> None:
    connection.receive(server.update(server.log(1, 1, server.joined(1, 2))), 9.9)
    connection.take_events()
    waiting = server.update(server.signal(flags=SignalFlag.AFTER_LOG, position=2))
    assert received(connection, waiting, 10.0) == []
    events = received(connection, server.update(server.log(2, 2, server.entry(2))), 10.1)
    assert [type(event) for event in events] == [Message, Signal]


def test_a_signal_and_the_range_it_needs_may_share_a_datagram(server: Any, connection: ClientConnection) -> None:
    signal = server.signal(flags=SignalFlag.AFTER_LOG, position=3)
    update = server.update(signal, server.log(1, 3, server.joined(1, 2)))
    assert [type(event) for event in received(connection, update, 10.0)] == [PlayerJoined, Signal]


def test_a_signal_that_waits_for_no_entry_is_seen_before_those_it_came_with(
    server: Any, connection: ClientConnection
) -> None:
    """It was sent before them: in Godot the last state of a node, and then its despawn."""
    connection.receive(server.update(server.log(1, 1, server.joined(1, 2))), 9.9)
    connection.take_events()
    before = server.signal(flags=SignalFlag.AFTER_LOG, position=1)
    after = server.signal(flags=SignalFlag.AFTER_LOG, position=2)
    update = server.update(server.log(2, 2, server.entry(2)), before, after)
    assert [type(event) for event in received(connection, update, 10.0)] == [Signal, Message, Signal]


def test_a_signal_that_waited_too_long_is_dropped_by_poll(server: Any, connection: ClientConnection) -> None:
    connection.receive(server.update(server.signal(flags=SignalFlag.AFTER_LOG, position=1)), 10.0)
    connection.poll(12.1)
    assert connection.dropped == {DropReason.SIGNAL_LATE: 1}


def test_signals_of_a_player_with_a_used_id_count_anew(server: Any, connection: ClientConnection) -> None:
    newest = SignalFlag.NEWEST_FIRST
    connection.receive(server.update(server.log(1, 1, server.joined(1, 2))), 10.0)
    connection.receive(server.update(server.signal(flags=newest, sequence=500)), 10.1)
    connection.receive(server.update(server.log(2, 2, server.left(2, 2))), 10.2)
    connection.take_events()
    again = server.update(server.log(3, 3, server.joined(3, 2)), server.signal(flags=newest, sequence=1))
    assert [type(event) for event in received(connection, again, 10.3)] == [PlayerJoined, Signal]


class TestChecks:
    """Every check of SPEC 11 (client, 3) drops the datagram whole, counts why, and changes nothing."""

    def dropped_as(self, server: Any, connection: ClientConnection, datagram: bytes) -> DropReason:
        connection.dropped.clear()
        connection.receive(datagram, 10.0)
        ((reason, count),) = connection.dropped.items()
        assert count == 1
        assert connection.take_events() == []
        assert server.read(connection.poll(11.0)[0]).header.ack == 0  # the keepalive acknowledges nothing
        return reason

    def test_too_short(self, server: Any, connection: ClientConnection) -> None:
        assert self.dropped_as(server, connection, server.update()[:31]) is DropReason.TOO_SHORT

    def test_another_session(self, server: Any, connection: ClientConnection) -> None:
        assert self.dropped_as(server, connection, server.update(session=1)) is DropReason.UNKNOWN_SESSION

    def test_number_zero(self, server: Any, connection: ClientConnection) -> None:
        assert self.dropped_as(server, connection, server.update(seq=0)) is DropReason.TOO_OLD

    def test_an_ack_of_what_was_never_sent(self, server: Any, connection: ClientConnection) -> None:
        assert self.dropped_as(server, connection, server.update(ack=1)) is DropReason.BAD_ACK

    def test_a_message_ack_of_what_was_never_sent(self, server: Any, connection: ClientConnection) -> None:
        assert self.dropped_as(server, connection, server.update(message_ack=1)) is DropReason.BAD_ACK

    def test_a_bad_section(self, server: Any, connection: ClientConnection) -> None:
        good = server.log(1, 1, server.entry(1))
        assert self.dropped_as(server, connection, server.update(good)[:-1]) is DropReason.BAD_SECTION

    def test_a_page_built_on_a_tick_that_we_lack(self, server: Any, connection: ClientConnection) -> None:
        update = server.update(server.log(1, 1, server.entry(1)), server.page(0, {2: b"x"}, since=300))
        assert self.dropped_as(server, connection, update) is DropReason.BAD_SECTION


def test_a_duplicate_and_one_that_is_too_old_are_told_apart(server: Any, connection: ClientConnection) -> None:
    first, second = server.update(server.unknown()), server.update()
    connection.receive(second, 10.0)
    connection.receive(second, 10.1)
    assert connection.dropped == {DropReason.DUPLICATE: 1}
    server.seq = 64
    connection.receive(server.update(), 10.2)
    connection.receive(first, 10.3)
    assert connection.dropped == {DropReason.DUPLICATE: 1, DropReason.TOO_OLD: 1}


def test_numbers_go_on_beyond_sixteen_bits(server: Any, connection: ClientConnection) -> None:
    for seq in (30000, 60000, 65536 + 3):
        server.seq = seq - 1
        connection.receive(server.update(server.unknown()), 10.0)
    assert connection.dropped == {}
    assert server.read(connection.tick(10.0)[0]).header.ack == 3


def test_while_too_many_events_wait_updates_stay_with_the_server(
    server: Any, connection: ClientConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "MAX_EVENTS", 2)
    connection.receive(server.update(server.log(1, 2, server.entry(1), server.entry(2))), 10.0)
    for _ in range(2):
        connection.receive(server.update(server.log(3, 3, server.entry(3))), 10.1)
    assert connection.dropped == {DropReason.HOLD_FULL: 2}
    assert len(connection.take_events()) == 2
    assert len(received(connection, server.update(server.log(3, 3, server.entry(3))), 10.2)) == 1


def test_a_path_challenge_is_answered_with_a_proof(server: Any, connection: ClientConnection) -> None:
    connection.receive(server.path_challenge(), 10.0)
    assert connection.next_poll_at() <= 10.0
    (datagram,) = connection.poll(10.0)
    value = server.read(datagram)
    assert (value.kind, value.session, value.challenge) == (Kind.PATH_RESPONSE, server.session, 77)
    assert value.proof == path_proof(b"s" * 16, 77, server.session)
    assert connection.poll(10.0) == []


def test_the_server_tick_and_time_are_known(server: Any, connection: ClientConnection) -> None:
    assert connection.server_tick == 300
    assert connection.server_time(10.5) == pytest.approx(10.5)
    connection.receive(server.update(tick=330), 10.5)
    assert connection.server_tick == 330
    assert connection.server_time(10.5) == pytest.approx(11.0)
    connection.receive(server.update(tick=320), 10.6)
    assert connection.server_tick == 330


def test_a_keepalive_of_a_millisecond_does_not_make_a_flood(server: Any) -> None:
    connection = server.connect(10.0, keepalive_ms=1)
    sent = [datagram for step in range(100) for datagram in connection.poll(10.0 + step / 100)]
    assert 15 <= len(sent) <= 20
