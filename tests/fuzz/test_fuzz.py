"""Spoiled datagrams in live sessions: nothing raises, nothing is amplified, others go on, every drop is counted."""

from random import Random

import pytest

from protocol import codec, schemas
from protocol.client import Listing, ListRequest, RoomList
from protocol.client.names import is_code
from protocol.constants import Kind
from protocol.drops import DropReason
from tests.fuzz.arena import Arena
from tests.fuzz.mutations import MUTATIONS
from tests.fuzz.steering import WAYS
from tests.sim.scale import scaled
from tools.generate.vector_datagrams import datagram_cases

NUM_DATAGRAMS = scaled(12_000, 1_000_000)
PER_STEP = 64
CHALLENGE = {"shard": 0, "nonce": 7, "revision": 1, "features": 0, "fingerprint": 0, "cookie": bytes(20)}
PAGES = [
    schemas.ROOMS.build({**value, "fields": {**value["fields"], "nonce": 7, "after": 0}})
    for _, kind, value in datagram_cases()
    if kind is Kind.ROOMS
]
"""Answers to a LIST with nonce 7."""
MET_BY_CHANCE = {
    DropReason.TOO_SHORT,
    DropReason.TOO_LONG,
    DropReason.UNKNOWN_KIND,
    DropReason.BAD_MAGIC,
    DropReason.MALFORMED,
    DropReason.STALE_COOKIE,
    DropReason.UNKNOWN_SESSION,
    DropReason.DUPLICATE,
    DropReason.TOO_OLD,
    DropReason.BAD_ACK,
    DropReason.BAD_SECTION,
    DropReason.BAD_ENTITY,
    DropReason.NOT_OWNER,
    DropReason.MESSAGE_WINDOW,
    DropReason.SIGNAL_LATE,
}
"""What spoiled datagrams must reach by themselves, or they do not get deep enough."""


def test_spoiled_datagrams_in_live_sessions_raise_nothing_and_disturb_nobody_else() -> None:
    arena = Arena(1)
    for _ in range(60):
        arena.step(0)
    while arena.num_sent < NUM_DATAGRAMS:
        arena.step(PER_STEP)
    arena.check_that_bystanders_go_on()
    dropped = arena.desk.engine.stats.dropped
    print({reason.name: dropped[reason] for reason in DropReason})
    assert not [reason.name for reason in MET_BY_CHANCE if not dropped[reason]]
    assert arena.desk.engine.stats.counters["lists"] > 20


def test_spoiled_datagrams_raise_nothing_in_a_client() -> None:
    arena = Arena(2)
    arena.spoiled_downstream = 1.0
    for _ in range(scaled(600, 20_000)):
        arena.step(4)
    arena.check_that_bystanders_go_on()


def test_spoiled_pages_raise_nothing_in_a_list() -> None:
    rng, spoiled = Random("pages"), 0
    for _ in range(scaled(1_500, 100_000)):
        listing = Listing(ListRequest(game="fuzz"), 7, 0.0)
        listing.poll(0.0)
        listing.receive(challenge := codec.encode(Kind.CHALLENGE, **CHALLENGE), 0.0)
        page = rng.choice(MUTATIONS)(rng, [*PAGES, challenge])
        spoiled += listing.receive(page, 0.1) is not None
        if isinstance(listing.result, RoomList):
            assert all(is_code(room.code) for room in listing.result.rooms)
    assert spoiled > 200


def test_random_bytes_raise_nothing_and_are_answered_by_fewer_bytes_if_at_all() -> None:
    """Something that looks like a JOIN is answered by a CHALLENGE, and DATA of no session by a RESET."""
    arena = Arena(3)
    rng, desk = arena.rng, arena.desk
    for _ in range(scaled(100, 2_000)):
        for address in arena.strangers:
            payload = rng.randbytes(rng.randrange(1300))
            desk.offer([(payload, address)])
            assert sum(map(len, desk.take(address))) <= len(payload)
        desk.tick()


@pytest.mark.parametrize("reason", DropReason, ids=lambda reason: reason.name.lower())
def test_every_reason_to_drop_is_reached_and_counted(reason: DropReason) -> None:
    assert reason in WAYS, f"no way to {reason.name} is known: write one in steering.py"
    desk = WAYS[reason]()
    assert desk.dropped(reason) > 0, f"{reason.name} was not reached; dropped were {dict(desk.engine.stats.dropped)}"
