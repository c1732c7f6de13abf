"""What a player who looks for others says, what is wrong with it, and what it gets: the values of matchmaking."""

from dataclasses import dataclass
from enum import Enum, auto

MAX_PLAYERS = 256
"""Players of a match at most: what a room holds (SPEC 4)."""
MAX_NAME_BYTES = 64
"""Bytes of a game, of tags and of a party's name at most (chosen: a hash, or a word and a version)."""
MAX_REGION_BYTES = 16
"""Bytes of a region's name at most (chosen: "southamerica" and "ap-southeast-2" fit)."""
MAX_REGIONS = 8
"""Regions that one ticket names at most (chosen). Who can play in more may name none: any."""
MAX_SKILL = 1 << 30
"""Skills lie between minus this and this: four bytes on the wire, and a sum of 256 of them in eight."""


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """One player who looks for others."""

    key: int
    """Names the ticket; no two that wait have the same."""
    game: bytes
    """Which game and version: tickets of different games never meet."""
    tags: bytes = b""
    """The mode, the map and whatever else must be equal, as the game writes it: different ones never meet."""
    min_players: int
    """Players of the smallest match that is worth playing, 1 to `max_players`. Only equal ones meet."""
    max_players: int
    """Players of a full room, up to 256. Only equal ones meet."""
    skill: int = 0
    """How good the player is: 100 apart should be a fair game, as with Elo. 0 for all, if the game does not use it."""
    regions: tuple[bytes, ...] = ()
    """Where it can play, the preferred first. Empty: anywhere."""
    party: bytes = b""
    """What friends who want to stay together have in common, made up by one of them so that nobody guesses it. Empty:
    alone."""
    party_size: int = 1
    """How many friends they are. None of them is matched before all are there."""


class TicketRefusal(Enum):
    """Why a ticket is not taken."""

    KEY_TAKEN = auto()
    """Another ticket waits under this key. Withdraw it first, or use a fresh key."""
    FULL = auto()
    """As many tickets wait as may."""
    BAD_SIZES = auto()
    """Not 1 <= min_players <= max_players <= 256."""
    BAD_NAME = auto()
    """A game, tags, party or region too long, a game or region empty, or a region named twice."""
    BAD_SKILL = auto()
    """Beyond `MAX_SKILL`."""
    BAD_PARTY_SIZE = auto()
    """Not 1 for who is alone, or not 1 to max_players for a party."""
    TOO_MANY_REGIONS = auto()
    """More than `MAX_REGIONS`, or more than a queue can hold of all its tickets together."""
    PARTY_DIFFERS = auto()
    """The party's first ticket says other tags, sizes or another party size."""
    PARTY_FULL = auto()
    """All of the party are there already."""
    PARTY_HAS_NO_REGION = auto()
    """No region would be left in which all of the party can play."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Players who were brought together: they get a room with a seat for each."""

    keys: tuple[int, ...]
    """Their tickets, which wait no more. Parties side by side, the one that gathered the others first."""
    game: bytes
    tags: bytes
    max_players: int
    """Players of a full room."""
    region: bytes
    """Of those that suit all, the one that most prefer; b"" if nobody named any."""
    lowest_skill: int
    highest_skill: int


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What to show a player who waits: "searching ... 12 players"."""

    waited_s: float
    """Seconds since its ticket was put."""
    num_players: int
    """Players who wait in its queue, itself included, in all regions."""
    party_missing: int
    """Friends of its party who are not there yet."""


def what_is_wrong(ticket: Ticket) -> TicketRefusal | None:
    """Tell what is wrong with a ticket by itself, whoever else waits. Its values are as the player said them."""
    if not 1 <= ticket.min_players <= ticket.max_players <= MAX_PLAYERS:
        return TicketRefusal.BAD_SIZES
    if not ticket.game or max(len(ticket.game), len(ticket.tags), len(ticket.party)) > MAX_NAME_BYTES:
        return TicketRefusal.BAD_NAME
    if abs(ticket.skill) > MAX_SKILL:
        return TicketRefusal.BAD_SKILL
    if not 1 <= ticket.party_size <= (ticket.max_players if ticket.party else 1):
        return TicketRefusal.BAD_PARTY_SIZE
    if len(ticket.regions) > MAX_REGIONS:
        return TicketRefusal.TOO_MANY_REGIONS
    if not all(1 <= len(region) <= MAX_REGION_BYTES for region in ticket.regions):
        return TicketRefusal.BAD_NAME
    if len(set(ticket.regions)) < len(ticket.regions):
        return TicketRefusal.BAD_NAME
    return None


def common_regions(tickets: list[Ticket]) -> tuple[bytes, ...] | None:
    """Find where all can play, in the order of the first who names any.

    Returns: their names; empty if nobody named any; None if no region suits all.
    """
    named = [ticket.regions for ticket in tickets if ticket.regions]
    if not named:
        return ()
    common = tuple(region for region in named[0] if all(region in others for others in named[1:]))
    return common or None


def preferred_region(tickets: list[Ticket], common: tuple[bytes, ...]) -> bytes:
    """Choose among regions that suit all the one that most prefer to the others; the name decides between equals."""
    votes = dict.fromkeys(common, 0)
    for ticket in tickets:
        favourite = next((region for region in ticket.regions if region in votes), None)
        if favourite is not None:
            votes[favourite] += 1
    return min(common, key=lambda region: (-votes[region], region), default=b"")
