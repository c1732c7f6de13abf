"""Records what is done with Python connections in the simulator, and what they answer, for GDScript to do the same."""

import json
import struct
from pathlib import Path
from typing import Any

from protocol.client import (
    ByeReason,
    ClientConnection,
    ConnectionLost,
    Disconnected,
    EntityOwnerChanged,
    Event,
    HostChanged,
    Joined,
    JoinRequest,
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
    Target,
)
from protocol.constants import MessageFlag, RequestKind, SignalFlag
from protocol.properties import Value, encode_value

NO_ANSWER = 256
"""The add-on's reason for an attempt that nobody answered; here that is TIMEOUT."""
NOBODY = -1


class RecordedConnection(ClientConnection):
    """A connection that writes down every call from outside, in order, with the answer."""

    recorded: "list[RecordedConnection]"
    """All that were made since the recording began; set by who records."""

    def __init__(self, request: JoinRequest, *, nonce: int, now: float) -> None:
        super().__init__(request, nonce=nonce, now=now)
        self.start = {"request": described_request(request), "nonce": nonce.to_bytes(8, "little").hex()}
        self.start["now"] = bits(now)
        self.steps: list[list[Any]] = []
        self._depth = 0
        self._was_joined = False
        self.recorded.append(self)

    def receive(self, data: bytes, now: float) -> None:
        super().receive(data, now)
        self.steps.append(["receive", bits(now), data.hex()])

    def tick(self, now: float) -> list[bytes]:
        self._depth += 1  # it calls poll, which must not be written down as well
        datagrams = super().tick(now)
        self._depth -= 1
        self.steps.append(["tick", bits(now), [data.hex() for data in datagrams]])
        return datagrams

    def poll(self, now: float) -> list[bytes]:
        datagrams = super().poll(now)
        if not self._depth:
            self.steps.append(["poll", bits(now), [data.hex() for data in datagrams]])
        return datagrams

    def take_events(self) -> list[Event]:
        events = super().take_events()
        if events:
            self.steps.append(["events", [line for event in events for line in self._described(event)]])
        return events

    def publish_entity(self, entity_id: int, state: bytes, now: float) -> bool:
        is_ours = super().publish_entity(entity_id, state, now)
        self.steps.append(["publish", bits(now), entity_id, state.hex(), is_ours])
        return is_ours

    def remove_entity(self, entity_id: int) -> bool:
        is_ours = super().remove_entity(entity_id)
        self.steps.append(["remove", entity_id, is_ours])
        return is_ours

    def send_message(self, payload: bytes, **options: Any) -> int:
        flags = MessageFlag.KEEP if options.get("keep") else MessageFlag(0)
        flags |= MessageFlag.OUTLIVES_SENDER if options.get("outlives_sender") else MessageFlag(0)
        message_id = super().send_message(payload, **options)
        self.steps.append(["message", payload.hex(), *_common(options), int(flags)])
        return message_id

    def _ask(self, kind: RequestKind, payload: bytes) -> int:
        request_id = super()._ask(kind, payload)
        self.steps.append(["request", int(kind), payload.hex(), request_id])
        return request_id

    def send_signal(self, payload: bytes, **options: Any) -> None:
        super().send_signal(payload, **options)
        flags = SignalFlag.NEWEST_FIRST if options.get("newest_first", False) else 0
        flags |= SignalFlag.AFTER_LOG if options.get("after_log", True) else 0
        self.steps.append(["signal", payload.hex(), *_common(options), int(flags)])

    def close(self, now: float) -> None:
        super().close(now)
        self.steps.append(["close", bits(now)])

    def line(self) -> str:
        """Write it all as one line of JSON."""
        dropped = {reason.name: count for reason, count in self.dropped.items() if count}
        end = {"next_poll_at": bits(self.next_poll_at()), "dropped": dropped}
        return json.dumps({**self.start, "steps": self.steps, "end": end})

    def _described(self, event: Event) -> list[list[Any]]:
        """Events as the add-on tells them: a state change is removals, then states one by one."""
        match event:
            case StateChanged(_, changed, removed):
                states = [["state", entity_id, state.hex(), round(at * 1000)] for entity_id, state, at in changed]
                return ([["removed", list(removed)]] if removed else []) + states
            case Disconnected(ByeReason.TIMEOUT, _) if not self._was_joined:
                return [["refused", NO_ANSWER]]
            case Joined():
                self._was_joined = True
                return [["joined"]]
            case Refused(reason, text):
                return [["refused", int(reason), text]]
            case Disconnected(reason, text):
                return [["disconnected", int(reason), text]]
            case PlayerJoined(player_id, name):
                return [["player_joined", player_id, name]]
            case PlayerLeft(player_id, reason):
                return [["player_left", player_id, int(reason)]]
            case HostChanged(player_id):
                return [["host_changed", NOBODY if player_id in (None, 65_535) else player_id]]
            case Message(sender, kind, channel, payload, index, kept, flags):
                return [["message", sender, kind, channel, payload.hex(), index, kept, int(flags)]]
            case ConnectionLost():
                return [["connection_lost"]]
            case RoomReset():
                return [["room_reset"]]
            case Resumed(_, is_afresh):
                return [["resumed", is_afresh]]
            case PlayerAway(player_id):
                return [["player_away", player_id]]
            case PlayerBack(player_id, is_afresh):
                return [["player_back", player_id, is_afresh]]
            case PropertyChanged(owner, key, value, by):
                return [["property_changed", owner, key, typed(value), by]]
            case EntityOwnerChanged(entity_id, owner):
                return [["entity_owner_changed", entity_id, owner]]
            case RoomLocked(is_locked):
                return [["room_locked", is_locked]]
            case RoomShown(is_listed):
                return [["room_shown", is_listed]]
            case KeptCleared(indexes, by):
                return [["kept_cleared", list(indexes), by]]
            case RequestRefused(request_id, kind, reason, text):
                return [["request_refused", request_id, int(kind), int(reason), text]]
            case Signal(sender, kind, channel, payload, sequence):
                return [["signal", sender, kind, channel, payload.hex(), sequence]]
        raise TypeError(event)


def bits(seconds: float) -> str:
    """A time to its last bit: decimal digits might not be read as the same number."""
    return struct.pack("<d", seconds).hex()


def typed(value: Value) -> str:
    """A property's value as its bytes on the wire, type first: JSON has no int and no bytes."""
    kind, data = encode_value(value)
    return bytes([kind, *data]).hex()


def described_request(request: JoinRequest) -> dict[str, Any]:
    """The fields of the add-on's request."""
    return {
        "mode": int(request.mode),
        "player_name": request.name,
        "code": request.code,
        "password": request.password,
        "max_players": request.max_players or 0,
        "entities_per_player": request.entities_per_player or 0,
        "max_state_bytes": request.max_state_bytes or 0,
        "anyone_sets": request.anyone_sets,
        "game": request.game,
        "game_version": request.game_version,
        "room_name": request.room_name,
        "listed": request.listed,
        "tags": list(request.tags),
        "shown": list(request.shown),
        "properties": dict(request.properties),
        "identity": request.identity.hex(),
        "session": request.resume.session.to_bytes(8, "little").hex() if request.resume else "",
        "secret": request.resume.secret.hex() if request.resume else "",
        "reconnect": request.reconnect,
        "deadline_s": request.deadline_s,
        "client_name": request.client_name,
        "client_release": request.client_release,
    }


def _common(options: dict[str, Any]) -> list[Any]:
    target = int(options.get("target", Target.ALL))
    return [options.get("kind", 1), options.get("channel", 0), target, list(options.get("players", ()))]


def write(connections: list[RecordedConnection], path: Path) -> None:
    """Write the recording of all connections, one a line."""
    path.write_text("\n".join(connection.line() for connection in connections) + "\n", encoding="utf-8")
