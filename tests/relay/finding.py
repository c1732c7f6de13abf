"""What tests of finding rooms share: options in bytes, rooms with labels, and LIST by the book."""

from typing import Any

from protocol import codec, schemas
from protocol.constants import REVISION_MAX, Kind, ListFlag, Option, RoomFlag
from tests.relay.bench import Bench, Client

LISTED = (Option.ROOM_FLAGS, bytes([RoomFlag.LISTED]))


def texts(*values: bytes) -> bytes:
    return bytes(schemas.TEXTS.build({"texts": values}))


def properties(**values: bytes) -> bytes:
    listed = [{"key": key.encode(), "type": 4, "value": value} for key, value in values.items()]
    return bytes(schemas.PLAIN_PROPERTIES.build({"properties": listed}))


def labels(game: bytes = b"chess", version: bytes = b"1", name: bytes = b"", tags: tuple[bytes, ...] = ()) -> Any:
    return [(Option.GAME, game), (Option.GAME_VERSION, version), (Option.ROOM_NAME, name), (Option.TAGS, texts(*tags))]


def open_rooms(bench: Bench, *codes: str, players: int = 1, **named: Any) -> list[Client]:
    """Open listed rooms of chess 1 with `players` each. Returns: everybody in them, the creators first of each."""
    options = [*labels(**named), LISTED]
    return [bench.join(code=code, options=options, max_players=4) for code in codes for _ in range(players)]


def list_datagram(
    client: Client, cookie: bytes, after: int = 0, flags: int = 0, revision: int = REVISION_MAX, **wish: Any
) -> bytes:
    fields = {"kind": Kind.LIST, "shard": 0, "nonce": client.nonce, "cookie": cookie}
    fields |= {"revision": revision, "features": 0}
    options = [{"key": key, "value": value} for key, value in labels(**{"version": b""} | wish) if value]
    return codec.encode(Kind.LIST, fields=fields | {"after": after, "flags": flags}, options=options)


def ask_for(bench: Bench, after: int = 0, is_open: bool = False, **wish: Any) -> Any:
    """Ask for one page. Returns: the decoded ROOMS or REFUSE."""
    client = Client(bench)
    flags = ListFlag.OPEN_ONLY if is_open else 0
    bench.receive((list_datagram(client, client.get_cookie(), after, flags, **wish), client.address))
    bench.flush()
    return client.answer(Kind.ROOMS, Kind.REFUSE)


def codes_of(page: Any) -> list[str]:
    return [room.fields.code.rstrip(b"\0").decode() for room in page.rooms]
