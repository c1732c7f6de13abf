"""hypothesis plays: it chooses what happens when, and shrinks what breaks an invariant to the fewest steps.

The examples are the same in every run (`derandomize`), so a failure is a failure for everybody.
"""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from protocol.constants import Target
from tests.sim.network import Conditions
from tests.sim.players import RoomShape
from tests.sim.scale import scaled
from tests.sim.world import World

NUM_PLAYERS = 4
players = st.integers(0, NUM_PLAYERS - 1)
weather = st.builds(
    Conditions,
    delay_s=st.sampled_from([(0.0, 0.0), (0.01, 0.05), (0.02, 0.25), (0.2, 0.2), (0.0, 0.6)]),
    jitter_s=st.sampled_from([0.0, 0.03, 0.2]),
    loss=st.sampled_from([0.0, 0.1, 0.3]),
    burst=st.sampled_from([0.0, 0.02]),
    duplication=st.sampled_from([0.0, 0.05, 0.5]),
    reordering=st.sampled_from([0.0, 0.2, 1.0]),
)


class Game(RuleBasedStateMachine):
    """A small room in which anything may happen at any time."""

    @initialize(
        seed=st.integers(0, 2**16),
        conditions=weather,
        max_players=st.integers(2, NUM_PLAYERS),
        gather_s=st.sampled_from([0.0, 0.004, 0.033]),
    )
    def open(self, seed: int, conditions: Conditions, max_players: int, gather_s: float) -> None:
        self.world = World(f"rules {seed}", conditions=conditions, num_players=NUM_PLAYERS, gather_s=gather_s)
        self.world.room = RoomShape(max_players=max_players, entities_per_player=3, max_state_bytes=20)

    @rule(number=players)
    def join(self, number: int) -> None:
        """A player joins; one that is in the room drops its session without a word, so a ghost lives for a while."""
        self.world.join(number)

    @rule(number=players)
    def leave(self, number: int) -> None:
        self.world.leave(number)

    @rule(number=players)
    def crash(self, number: int) -> None:
        self.world.crash(number)

    @rule(number=players)
    def move(self, number: int) -> None:
        self.world.move(number)

    @rule(number=players, seconds=st.sampled_from([0.1, 1.0, 2.0]))
    def freeze(self, number: int, seconds: float) -> None:
        self.world.freeze(number, seconds)

    @rule(number=players, local_index=st.integers(0, 2), size=st.integers(6, 20))
    def publish(self, number: int, local_index: int, size: int) -> None:
        self.world.publish(number, local_index, size)

    @rule(number=players, local_index=st.integers(0, 2))
    def remove(self, number: int, local_index: int) -> None:
        self.world.remove(number, local_index)

    @rule(number=players, other=players, whom=st.sampled_from(Target), size=st.sampled_from([5, 100, 1024, 1025, 5000]))
    def send_message(self, number: int, other: int, whom: Target, size: int) -> None:
        self.world.send_message(number, size, whom, self._ids(whom, other))

    @rule(number=players, other=players, whom=st.sampled_from(Target), flags=st.integers(0, 2))
    def send_signal(self, number: int, other: int, whom: Target, flags: int) -> None:
        self.world.send_signal(
            number, 40, whom, self._ids(whom, other), channel=flags, newest_first=flags == 1, after_log=flags == 2
        )

    def _ids(self, target: Target, other: int) -> tuple[int, ...]:
        life = self.world.players[other].life
        player_id = 0 if life is None or life.player_id < 0 else life.player_id
        return {Target.ALL: (), Target.LIST: (player_id, 0)}.get(target, (player_id,))

    @rule(conditions=weather)
    def change_the_weather(self, conditions: Conditions) -> None:
        self.world.set_conditions(conditions)

    @precondition(lambda self: hasattr(self, "world"))
    @rule(seconds=st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle(within_s=30.0)


class TestGame(Game.TestCase):  # type: ignore[misc]
    """The machine, run by pytest."""

    settings: Any = settings(
        max_examples=scaled(12, 1000),
        stateful_step_count=scaled(40, 80),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
