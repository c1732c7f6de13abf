"""PING and PONG: is a relay there, which revisions does it speak, how busy is it (SPEC 4). No session needed.

Send `build_ping(nonce)` with a fresh random nonce, give what comes back to `parse_pong`; the time between is the
round trip.
"""

from dataclasses import dataclass

from protocol import codec
from protocol.constants import MAGIC, PING_BYTES, Kind
from protocol.drops import DropReason
from protocol.dtypes import PING_FIELDS


@dataclass(frozen=True, slots=True)
class Pong:
    """What a relay says about itself."""

    revision_min: int
    """Lowest protocol revision it speaks."""
    revision_max: int
    """Highest protocol revision it speaks."""
    release: str
    tick_rate: int
    """Snapshots per second."""
    load_percent: int
    """Share of each tick that it spends working."""
    players: int
    """Sessions now, in all rooms."""
    max_players: int
    rooms: int
    region: str = ""
    """Where it is, in its own words; empty if it does not say."""


def build_ping(nonce: int) -> bytes:
    """Build a PING of 128 bytes; `nonce` is any 64-bit number that nobody can guess."""
    fields = PING_FIELDS.encode(kind=Kind.PING, shard=0, magic=MAGIC, nonce=nonce)
    return fields.ljust(PING_BYTES, b"\0")


def parse_pong(data: bytes, nonce: int) -> Pong | None:
    """Read a PONG; None if it is not one or answers another nonce. Raises: nothing, whatever the bytes."""
    value = codec.decode(data)
    if isinstance(value, DropReason) or value.kind != Kind.PONG or value.nonce != nonce:
        return None
    return Pong(
        revision_min=value.revision_min,
        revision_max=value.revision_max,
        release=value.release.rstrip(b"\0").decode(errors="replace"),
        tick_rate=value.tick_rate,
        load_percent=value.load_percent,
        players=value.players,
        max_players=value.max_players,
        rooms=value.rooms,
        region=_region_of(value.later),
    )


def _region_of(later: bytes) -> str:
    """Read the text that the bytes behind the fields begin with (SPEC 4); what follows is of later revisions."""
    return later[1 : 1 + later[0]].decode(errors="replace") if later and later[0] < len(later) else ""
