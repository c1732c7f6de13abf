"""Payloads of the messages that ask the server for something (SPEC 9, Requests), checked before they are queued."""

from collections.abc import Sequence

from protocol import codec
from protocol.constants import MAX_SHOWN, MAX_TEXT_BYTES, NO_PLAYER, BanFlag, RequestKind
from protocol.properties import Value, encode_value, is_key
from protocol.schemas import REQUEST_PAYLOADS

MAX_LOG_INDEX = (1 << 32) - 1


def encode_set_property(owner: int, key: str, value: Value, version: int | None) -> bytes:
    """Build SET_PROPERTY.

    Args:
        owner: Player id, or NO_PLAYER for the room.
        key: 1 to 32 bytes of UTF-8 without control characters.
        value: None removes the property.
        version: Only if the property has this version; None: whatever it is.
    Raises: ValueError, TypeError as `encode_value`.
    """
    kind, data = encode_value(value)
    fields = {
        "owner": owner,
        "is_conditional": version is not None,
        "version": version or 0,
        "key": encode_key(key),
        "type": kind,
        "value": data,
    }
    return _build(RequestKind.SET_PROPERTY, fields)


def encode_key(key: str) -> bytes:
    """Check and encode the key of a property. Raises: ValueError."""
    encoded = key.encode(errors="surrogatepass")  # which is no UTF-8, so `is_key` refuses it
    if not is_key(encoded):
        raise ValueError(f"key is {key!r}; permitted: 1 to 32 bytes of UTF-8 without control characters")
    return encoded


def encode_give_entity(entity_id: int, owner: int) -> bytes:
    """Build GIVE_ENTITY; owner NO_PLAYER: whoever is host."""
    return _build(RequestKind.GIVE_ENTITY, {"entity_id": entity_id, "owner": owner})


def encode_clear_kept(index: int | None) -> bytes:
    """Build CLEAR_KEPT; None: all that we may clear. Raises: ValueError."""
    if index is not None and not 1 <= index <= MAX_LOG_INDEX:
        raise ValueError(f"index is {index}; permitted: 1 to {MAX_LOG_INDEX}, or None")
    return _build(RequestKind.CLEAR_KEPT, {"log_index": index or 0})


def encode_hand_over_host(player_id: int) -> bytes:
    """Build HAND_OVER_HOST."""
    return _build(RequestKind.HAND_OVER_HOST, {"player_id": player_id})


def encode_kick(player_id: int, text: str) -> bytes:
    """Build KICK; the text is cut at 200 bytes."""
    return _build(RequestKind.KICK, {"player_id": player_id, "text": codec.text_bytes(text, MAX_TEXT_BYTES)})


def encode_ban(player_id: int, text: str, address: bool) -> bytes:
    """Build BAN; `address`: ban its network address too."""
    flags = BanFlag.ADDRESS if address else BanFlag(0)
    fields = {"player_id": player_id, "flags": flags, "text": codec.text_bytes(text, MAX_TEXT_BYTES)}
    return _build(RequestKind.BAN, fields)


def encode_lock(is_locked: bool) -> bytes:
    """Build LOCK."""
    return _build(RequestKind.LOCK, {"is_locked": is_locked})


def encode_show(is_listed: bool, keys: Sequence[str]) -> bytes:
    """Build SHOW. Raises: ValueError."""
    if isinstance(keys, str) or len(keys) > MAX_SHOWN:
        raise ValueError(f"keys is {keys!r}; permitted: at most {MAX_SHOWN} keys of properties")
    return _build(RequestKind.SHOW, {"is_listed": is_listed, "keys": [encode_key(key) for key in keys]})


def require_player(field: str, player_id: int, player_slots: int) -> int:
    """Return a player id that the room can have. Raises: ValueError for another."""
    if not 0 <= player_id < player_slots:
        raise ValueError(f"{field} is {player_id}; permitted: 0 to {player_slots - 1}")
    return player_id


def owner_number(field: str, player_id: int | None, player_slots: int) -> int:
    """Return the number of an owner on the wire: NO_PLAYER for None. Raises: ValueError."""
    return NO_PLAYER if player_id is None else require_player(field, player_id, player_slots)


def _build(kind: RequestKind, fields: dict[str, object]) -> bytes:
    payload: bytes = REQUEST_PAYLOADS[kind].build(fields)
    return payload
