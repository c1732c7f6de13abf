"""Players of two games and versions look for rooms: nobody finds or enters what is not theirs, whatever the network."""

import pytest

from protocol.client import Refusal, Refused
from tests.sim.finding_faults import FAULTS
from tests.sim.network import STANDARD, Conditions
from tests.sim.openings import FindingBroken
from tests.sim.scale import scaled
from tests.sim.seekers import Crowd

STORMY = Conditions(delay_s=(0.020, 0.250), jitter_s=0.230, loss=0.25, burst=0.005, duplication=0.05, reordering=0.2)
NUM_SEEDS = 10


def play(seed: object, seconds: float, conditions: Conditions = STANDARD) -> Crowd:
    crowd = Crowd(seed, conditions=conditions)
    crowd.run(seconds)
    crowd.settle()
    return crowd


@pytest.mark.parametrize("seed", range(scaled(4, 200)))
def test_games_versions_and_hidden_rooms_are_kept_apart(seed: int) -> None:
    crowd = play(seed, 30.0)
    openings = crowd.openings
    assert openings.num_seats > 50 and len(openings.by_serial) > 20
    assert openings.num_pages > 50 and openings.num_rooms_shown > 50 and openings.num_quick > 5
    assert sum(seeker.num_returns for seeker in crowd.seekers) > 5
    refused = {end.reason for seeker in crowd.seekers for end in seeker.endings if isinstance(end, Refused)}
    assert {Refusal.OTHER_VERSION, Refusal.NO_SUCH_ROOM, Refusal.ROOM_EXISTS} <= refused


@pytest.mark.parametrize("seed", range(scaled(1, 40)))
def test_they_are_in_a_storm_too(seed: int) -> None:
    assert play(f"storm {seed}", 20.0, STORMY).openings.num_seats > 20


def test_a_seed_is_a_run() -> None:
    def story(seed: int) -> tuple[object, ...]:
        openings = play(seed, 10.0).openings
        return openings.num_pages, openings.num_rooms_shown, openings.num_seats, sorted(openings.by_serial)

    assert story(5) == story(5) != story(6)


@pytest.mark.parametrize("name", FAULTS)
def test_every_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[name](monkeypatch)
    with pytest.raises(FindingBroken):
        for seed in range(NUM_SEEDS):
            play(f"fault {seed}", 15.0)
