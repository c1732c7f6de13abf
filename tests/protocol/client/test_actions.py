"""ConnectionActions: what the game does goes up as it should, and mistakes are told at once."""

from typing import Any

import pytest

from protocol import schemas
from protocol.client import (
    ByeReason,
    ClientConnection,
    Disconnected,
    OutboxFull,
    RequestKind,
    RequestRefusal,
    RequestRefused,
    StateChanged,
    Target,
)
from protocol.constants import NO_PLAYER, BanFlag, DataSection, EntryKind, MessageFlag, PropertyType, SignalFlag


def requests(server: Any, connection: ClientConnection) -> list[tuple[int, int, Any]]:
    """(message id, kind, fields of the payload) of all messages that go up with this tick."""
    sections = server.sections(connection.tick(10.0)[0], DataSection.MESSAGE)
    headers = [section.header for section in sections]
    values = [schemas.REQUEST_PAYLOADS[section.header.kind].parse(section.payload) for section in sections]
    return [(header.message_id, header.kind, value) for header, value in zip(headers, values)]


def only_request(server: Any, connection: ClientConnection) -> Any:
    ((_, _, value),) = requests(server, connection)
    return value


def states_sent(server: Any, connection: ClientConnection) -> list[tuple[int, bytes]]:
    sections = [section for data in connection.tick(10.5) for section in server.sections(data, DataSection.STATE)]
    return [(state.entity_id, state.state) for section in sections for state in section.states]


def hear(server: Any, connection: ClientConnection, *sections: Any) -> list[Any]:
    connection.receive(server.update(*sections), 10.0)
    return connection.take_events()


def test_what_a_game_does_after_the_end_is_ignored(connection: ClientConnection) -> None:
    connection.close(10.0)
    assert not connection.publish(0, b"state", 10.0)
    assert not connection.remove(0)
    connection.send_signal(b"beep")
    for returned in (
        connection.send_message(b"hello"),
        connection.set_property("map", "cave", expected="other"),
        connection.give_entity(0),
        connection.clear_kept(),
        connection.hand_over_host(2),
        connection.kick(2),
        connection.ban(2),
        connection.lock(),
    ):
        assert returned == 0
    assert connection.is_idle() and connection.take_events() == [Disconnected(ByeReason.LEFT, "Left the room.")]


@pytest.mark.parametrize("local_index", [-1, 4])
def test_only_our_own_entities_can_be_published(connection: ClientConnection, local_index: int) -> None:
    with pytest.raises(ValueError, match=r"local_index is .*; permitted: 0 to 3"):
        connection.publish(local_index, b"state", 10.0)
    with pytest.raises(ValueError, match="local_index"):
        connection.remove(local_index)


@pytest.mark.parametrize("state", [b"", bytes(33)])
def test_a_state_has_1_to_max_state_bytes(connection: ClientConnection, state: bytes) -> None:
    with pytest.raises(ValueError, match=r"state is .*; permitted: 1 to 32"):
        connection.publish(0, state, 10.0)


def test_a_removal_goes_up_as_stride_zero(server: Any, connection: ClientConnection) -> None:
    connection.publish(3, b"state", 10.0)
    connection.remove(3)
    (section,) = server.sections(connection.tick(10.0)[0], DataSection.STATE)
    assert (section.header.stride, [state.entity_id for state in section.states]) == (0, [25])


def test_the_callers_buffer_may_change_after_the_call(server: Any, connection: ClientConnection) -> None:
    buffer = bytearray(b"state")
    connection.publish(0, buffer, 10.0)
    connection.send_message(buffer)
    connection.send_signal(buffer)
    buffer[:] = b"XXXXX"
    assert b"XXXXX" not in connection.tick(10.0)[0]


def test_signals_say_what_they_follow(server: Any, connection: ClientConnection) -> None:
    connection.send_message(b"one")
    connection.send_message(b"two")
    connection.send_signal(b"a", target=Target.ALL_BUT, players=[3])
    connection.send_signal(b"b", after_log=False, newest_first=True)
    first, second = server.sections(connection.tick(10.0)[0], DataSection.SIGNAL)
    assert (first.header.flags, first.header.after_message, list(first.targets)) == (SignalFlag.AFTER_LOG, 2, [3])
    assert (second.header.flags, second.header.after_message) == (SignalFlag.NEWEST_FIRST, 0)


def test_too_much_to_send_raises_at_the_caller(connection: ClientConnection) -> None:
    for _ in range(4):
        connection.send_message(bytes(1 << 20))
    with pytest.raises(OutboxFull):
        connection.send_message(b"x")


def test_a_message_to_keep_says_so_and_has_an_id(server: Any, connection: ClientConnection) -> None:
    assert connection.send_message(b"one") == 1
    assert connection.send_message(b"two", keep=True) == 2
    assert connection.send_message(b"three", keep=True, outlives_sender=True) == 3
    sections = server.sections(connection.tick(10.0)[0], DataSection.MESSAGE)
    assert [section.header.flags for section in sections] == [
        0,
        MessageFlag.KEEP,
        MessageFlag.KEEP | MessageFlag.OUTLIVES_SENDER,
    ]


def test_only_a_short_message_for_all_can_be_kept(connection: ClientConnection) -> None:
    with pytest.raises(ValueError, match="1021 bytes for ALL; permitted: 0 to 1020 bytes for ALL"):
        connection.send_message(bytes(1021), keep=True)
    with pytest.raises(ValueError, match="1 bytes for ONE; permitted"):
        connection.send_message(b"x", target=Target.ONE, players=[2], keep=True)
    with pytest.raises(ValueError, match="outlives_sender is True; permitted: with keep only"):
        connection.send_message(b"x", outlives_sender=True)
    assert connection.is_idle()


def test_kinds_of_requests_are_not_for_messages(connection: ClientConnection) -> None:
    assert connection.send_message(b"x", kind=111) == 1
    with pytest.raises(ValueError, match="kind is 112; permitted: 1 to 111"):
        connection.send_message(b"x", kind=112)


class TestProperties:
    def test_a_property_of_the_room_is_set_whatever_it_is(self, server: Any, connection: ClientConnection) -> None:
        assert connection.set_property("map", "cave") == 1
        value = only_request(server, connection)
        assert (value.owner, value.is_conditional, value.version) == (NO_PLAYER, 0, 0)
        assert (value.key, value.type, value.value) == (b"map", PropertyType.TEXT, b"cave")

    def test_a_property_of_a_player_is_removed(self, server: Any, connection: ClientConnection) -> None:
        connection.set_property("team", None, owner=1)
        value = only_request(server, connection)
        assert (value.owner, value.key, value.type, value.value) == (1, b"team", PropertyType.NONE, b"")

    def change(self, server: Any, connection: ClientConnection, value: bytes) -> None:
        fields = {"player_id": 2, "owner": NO_PLAYER, "key": b"turn", "type": PropertyType.INT, "value": value}
        hear(server, connection, server.log(1, 7, server.written(7, EntryKind.PROPERTY_CHANGED, **fields)))

    def test_with_what_is_expected_it_names_the_version_that_has_it(
        self, server: Any, connection: ClientConnection
    ) -> None:
        self.change(server, connection, (5).to_bytes(8, "little"))
        assert connection.set_property("turn", 6, expected=5) == 1
        value = only_request(server, connection)
        assert (value.is_conditional, value.version) == (1, 7)

    def test_none_expects_that_there_is_no_such_property(self, server: Any, connection: ClientConnection) -> None:
        assert connection.set_property("turn", 6, expected=None) == 1
        value = only_request(server, connection)
        assert (value.is_conditional, value.version) == (1, 0)

    @pytest.mark.parametrize("expected", [4, 5.0, None, "5", True])
    def test_what_is_not_as_expected_here_is_refused_here(
        self, server: Any, connection: ClientConnection, expected: Any
    ) -> None:
        self.change(server, connection, (5).to_bytes(8, "little"))
        assert connection.set_property("turn", 6, expected=expected) == 0
        (event,) = connection.take_events()
        assert isinstance(event, RequestRefused)
        assert (event.request_id, event.kind, event.reason) == (0, RequestKind.SET_PROPERTY, RequestRefusal.CHANGED)
        assert connection.is_idle()

    def test_mistakes_are_told(self, connection: ClientConnection) -> None:
        with pytest.raises(ValueError, match="owner is 8; permitted: 0 to 7"):
            connection.set_property("map", 1, owner=8)
        with pytest.raises(ValueError, match="key is ''; permitted"):
            connection.set_property("", 1)
        with pytest.raises(TypeError, match="list"):
            connection.set_property("map", [])  # type: ignore[arg-type]
        assert connection.is_idle()


def test_requests_go_up_in_order_with_messages(server: Any, connection: ClientConnection) -> None:
    asked = [
        connection.give_entity(9, 2),
        connection.give_entity(9),
        connection.clear_kept(70000),
        connection.clear_kept(),
        connection.hand_over_host(3),
        connection.kick(3, "Bye"),
        connection.ban(3),
        connection.ban(3, "No", address=True),
        connection.lock(),
        connection.lock(False),
        connection.show(True, ["map", "laps"]),
        connection.show(False),
    ]
    sent = requests(server, connection)
    assert [message_id for message_id, _, _ in sent] == asked == list(range(1, 13))
    values = [value for _, _, value in sent]
    assert [(value.entity_id, value.owner) for value in values[:2]] == [(9, 2), (9, NO_PLAYER)]
    assert [value.log_index for value in values[2:4]] == [70000, 0]
    assert values[4].player_id == 3
    assert (values[5].player_id, values[5].text) == (3, b"Bye")
    assert (values[6].player_id, values[6].flags, values[6].text) == (3, 0, b"")  # a household is not one player
    assert (values[7].flags, values[7].text) == (BanFlag.ADDRESS, b"No")
    assert [value.is_locked for value in values[8:10]] == [1, 0]
    assert [(value.is_listed, list(value["keys"])) for value in values[10:]] == [(1, [b"map", b"laps"]), (0, [])]
    assert [kind for _, kind, _ in sent] == [113, 113, 114, 114, 115, 116, 117, 117, 118, 118, 119, 119]


def test_requests_about_what_cannot_be_are_told(connection: ClientConnection) -> None:
    for call in (
        lambda: connection.give_entity(32),
        lambda: connection.give_entity(-1, 2),
        lambda: connection.give_entity(0, 8),
        lambda: connection.hand_over_host(8),
        lambda: connection.kick(-1),
        lambda: connection.ban(8),
        lambda: connection.clear_kept(0),
        lambda: connection.show(True, ["x"] * 9),
        lambda: connection.show(True, "map"),
        lambda: connection.show(True, [""]),
    ):
        with pytest.raises(ValueError, match="permitted"):
            call()
    assert connection.is_idle()


class TestEntities:
    """We are player 1 of 8: entity 1 has our number, 2 that of player 2."""

    def hand_over(self, server: Any, index: int, entity_id: int, owner: int) -> Any:
        entry = server.written(index, EntryKind.ENTITY_OWNER, entity_id=entity_id, owner=owner)
        return server.log(index, index, entry)

    def test_entities_of_others_cannot_be_published(self, server: Any, connection: ClientConnection) -> None:
        assert not connection.publish_entity(2, b"mine?", 10.0)
        assert not connection.remove_entity(2)
        assert connection.is_idle()
        for entity_id in (-1, 32):
            with pytest.raises(ValueError, match=f"entity_id is {entity_id}; permitted: 0 to 31"):
                connection.publish_entity(entity_id, b"x", 10.0)

    def test_an_entity_that_was_given_to_us_is_ours_until_it_is_given_on(
        self, server: Any, connection: ClientConnection
    ) -> None:
        hear(server, connection, self.hand_over(server, 1, 2, 1))
        assert (connection.owner_of(2), connection.is_ours(2)) == (1, True)
        assert connection.publish_entity(2, b"mine", 10.0)
        assert states_sent(server, connection) == [(2, b"mine")]
        hear(server, connection, server.log(2, 2, server.ready(2)), self.hand_over(server, 3, 2, 5))
        assert not connection.publish_entity(2, b"late", 10.1)
        assert connection.is_idle()

    def test_an_entity_that_we_gave_away_is_shown_as_its_new_owner_has_it(
        self, server: Any, connection: ClientConnection
    ) -> None:
        entries = server.joined(1, 1), server.joined(2, 2), server.ready(3)
        hear(server, connection, server.log(1, 3, *entries))
        connection.publish(0, b"mine", 10.0)
        assert hear(server, connection, server.page(0, {1: b"mine"})) == []
        events = hear(server, connection, self.hand_over(server, 4, 1, 2))
        assert isinstance(events[-1], StateChanged) and events[-1].changed[0][:2] == (1, b"mine")
        assert not connection.publish(0, b"late", 10.1) and connection.is_idle()
        events = hear(server, connection, server.page(0, {1: b"theirs"}, since=302))
        assert [event.changed[0][:2] for event in events] == [(1, b"theirs")]

    def test_an_entity_that_came_to_us_can_be_removed(self, server: Any, connection: ClientConnection) -> None:
        hear(server, connection, server.page(0, {2: b"theirs"}), self.hand_over(server, 1, 2, 1))
        assert connection.remove_entity(2)
        assert states_sent(server, connection) == [(2, b"")]

    def test_the_hosts_entities_are_ours_while_we_are_host(self, server: Any, connection: ClientConnection) -> None:
        host = EntryKind.HOST_CHANGED
        hear(server, connection, server.log(1, 1, server.ready(1)), self.hand_over(server, 2, 2, NO_PLAYER))
        assert not connection.publish_entity(2, b"mine?", 10.0)
        hear(server, connection, server.log(3, 3, server.written(3, host, player_id=1)))
        assert connection.publish_entity(2, b"mine", 10.0)
        hear(server, connection, server.log(4, 4, server.written(4, host, player_id=3)))
        assert not connection.is_ours(2) and connection.is_idle()
