"""ConnectionView: what may be read, and when."""

from typing import Any

import pytest

from protocol.client import ClientConnection, ClientState, JoinMode, JoinRequest, NotJoined
from protocol.client.view import ConnectionView

AT_ANY_TIME = {"state", "is_whole", "counters", "fingerprint_differs"}
PROPERTIES = [name for name, value in vars(ConnectionView).items() if isinstance(value, property)]


def make() -> ClientConnection:
    return ClientConnection(JoinRequest(mode=JoinMode.CREATE, name="ann"), nonce=7, now=0.0)


@pytest.mark.parametrize("name", sorted(set(PROPERTIES) - AT_ANY_TIME))
def test_what_welcome_tells_cannot_be_read_before_it(name: str) -> None:
    with pytest.raises(NotJoined, match="GREETING"):
        getattr(make(), name)


def test_methods_that_need_a_session_say_so_too() -> None:
    connection = make()
    for call in (
        connection.is_idle,
        lambda: connection.server_time(0.0),
        lambda: connection.publish(0, b"x", 0.0),
        lambda: connection.remove(0),
        lambda: connection.send_message(b"x"),
        lambda: connection.send_signal(b"x"),
    ):
        with pytest.raises(NotJoined):
            call()


def test_state_and_counters_may_be_read_at_any_time() -> None:
    connection = make()
    connection.poll(0.0)
    connection.receive(b"??", 0.1)
    assert connection.state is ClientState.GREETING
    assert connection.counters == {"datagrams_out": 1, "bytes_out": 256, "datagrams_in": 1, "bytes_in": 2}


def test_the_rooms_numbers_are_those_of_welcome(server: Any, connection: ClientConnection) -> None:
    for name in (
        "player_id",
        "player_slots",
        "max_players",
        "entities_per_player",
        "max_state_bytes",
        "page_ids",
        "tick_rate",
    ):
        assert getattr(connection, name) == server.welcome_fields[name]
    assert (connection.session, connection.code) == (server.session, "ROOM-1")


def test_members_host_and_table_are_live_views_that_nobody_can_write(server: Any, connection: ClientConnection) -> None:
    members, table = connection.members, connection.table
    assert (dict(members), dict(table), connection.host) == ({}, {}, None)
    connection.receive(
        server.update(server.log(1, 2, server.joined(1, 2), server.entry(2, b"\x02\x00", 130, 0xFFFF))), 10.0
    )
    connection.receive(server.update(server.page(0, {1: b"own", 2: b"bob"})), 10.0)
    assert (dict(members), dict(table), connection.host) == ({2: "bob"}, {1: b"own", 2: b"bob"}, 2)
    with pytest.raises(TypeError):
        members[3] = "eve"  # type: ignore[index]


def test_measurements_start_unknown(connection: ClientConnection) -> None:
    assert (connection.rtt_s, connection.loss_down, connection.loss_up) == (None, 0.0, 0.0)
    assert connection.is_idle() and connection.unacked_messages == 0


@pytest.mark.parametrize("act", ["publish", "message", "signal"])
def test_a_connection_is_idle_when_the_server_has_everything(
    server: Any, connection: ClientConnection, act: str
) -> None:
    if act == "publish":
        connection.publish(0, b"x", 10.0)
    elif act == "message":
        connection.send_message(b"x")
    else:
        connection.send_signal(b"x")
    assert not connection.is_idle()
    connection.tick(10.0)
    connection.receive(server.update(ack=1, message_ack=int(act == "message")), 10.1)
    assert connection.is_idle()


def test_everything_may_be_read_after_the_end(connection: ClientConnection) -> None:
    connection.close(10.0)
    for name in PROPERTIES:
        getattr(connection, name)
    assert connection.counters["messages_resent"] == 0
