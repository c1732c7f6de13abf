"""Spoiled datagrams in live sessions: nothing raises, nothing is amplified, others go on, every drop is counted."""

import pytest

from protocol.drops import DropReason
from tests.fuzz.arena import Arena
from tests.fuzz.steering import WAYS
from tests.sim.scale import scaled

NUM_DATAGRAMS = scaled(12_000, 1_000_000)
PER_STEP = 64
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


def test_spoiled_datagrams_raise_nothing_in_a_client() -> None:
    arena = Arena(2)
    arena.spoiled_downstream = 1.0
    for _ in range(scaled(600, 20_000)):
        arena.step(4)
    arena.check_that_bystanders_go_on()


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
