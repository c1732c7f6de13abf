"""The client's side of a connection, sans-IO. The Python client, the load generator and the tests share it."""

from protocol.client.connection import ClientConnection
from protocol.client.events import (
    Disconnected,
    Event,
    HostChanged,
    Joined,
    Message,
    PlayerJoined,
    PlayerLeft,
    Refused,
    Signal,
    StateChanged,
)
from protocol.client.handshake import ClientState
from protocol.client.outbox import OutboxFull
from protocol.client.ping import Pong, build_ping, parse_pong
from protocol.client.request import JoinRequest
from protocol.client.view import NotJoined
from protocol.constants import ByeReason, JoinMode, Refusal, Target

__all__ = [
    "ByeReason",
    "ClientConnection",
    "ClientState",
    "Disconnected",
    "Event",
    "HostChanged",
    "JoinMode",
    "JoinRequest",
    "Joined",
    "Message",
    "NotJoined",
    "OutboxFull",
    "PlayerJoined",
    "PlayerLeft",
    "Pong",
    "Refusal",
    "Refused",
    "Signal",
    "StateChanged",
    "Target",
    "build_ping",
    "parse_pong",
]
