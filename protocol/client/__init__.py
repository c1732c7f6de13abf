"""The client's side of a connection, sans-IO. The Python client, the load generator and the tests share it."""

from protocol.client.actions import ANYTHING, Anything
from protocol.client.connection import ClientConnection
from protocol.client.events import (
    ConnectionLost,
    Disconnected,
    EntityOwnerChanged,
    Event,
    HostChanged,
    Joined,
    KeptCleared,
    Message,
    PlayerAway,
    PlayerBack,
    PlayerJoined,
    PlayerLeft,
    PropertyChanged,
    Refused,
    RequestRefused,
    Resumed,
    RoomLocked,
    RoomReset,
    RoomShown,
    Signal,
    StateChanged,
)
from protocol.client.handshake import ClientState
from protocol.client.listing import ListedRoom, Listing, ListRequest, RoomList
from protocol.client.outbox import OutboxFull
from protocol.client.ping import Pong, build_ping, parse_pong
from protocol.client.request import JoinRequest
from protocol.client.resume import ResumeToken
from protocol.client.view import NotJoined
from protocol.constants import ByeReason, JoinMode, MessageFlag, Refusal, RequestKind, RequestRefusal, Target
from protocol.properties import Value

__all__ = [
    "ANYTHING",
    "Anything",
    "ByeReason",
    "ClientConnection",
    "ClientState",
    "ConnectionLost",
    "Disconnected",
    "EntityOwnerChanged",
    "Event",
    "HostChanged",
    "JoinMode",
    "JoinRequest",
    "Joined",
    "KeptCleared",
    "ListRequest",
    "ListedRoom",
    "Listing",
    "Message",
    "MessageFlag",
    "NotJoined",
    "OutboxFull",
    "PlayerAway",
    "PlayerBack",
    "PlayerJoined",
    "PlayerLeft",
    "Pong",
    "PropertyChanged",
    "Refusal",
    "Refused",
    "RequestKind",
    "RequestRefusal",
    "RequestRefused",
    "ResumeToken",
    "Resumed",
    "RoomList",
    "RoomLocked",
    "RoomReset",
    "RoomShown",
    "Signal",
    "StateChanged",
    "Target",
    "Value",
    "build_ping",
    "parse_pong",
]
