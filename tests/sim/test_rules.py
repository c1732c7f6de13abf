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
from tests.sim.world import LASTING_CONFIG, World

NUM_PLAYERS = 4
TIMEOUT_S, PLACE_S = LASTING_CONFIG.timeout_s, LASTING_CONFIG.timeout_s + LASTING_CONFIG.grace_s
absences = st.sampled_from([TIMEOUT_S / 4, TIMEOUT_S - 0.3, TIMEOUT_S + 0.3, TIMEOUT_S + 1.0, PLACE_S + 2.0])
"""Seconds: hardly noticed, nearly away, away and back (twice), longer than a place is kept."""
waits = st.sampled_from([0.0, 0.3, TIMEOUT_S + 0.5, TIMEOUT_S + 3.0])
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
        num_machines=st.integers(2, NUM_PLAYERS),
    )
    def open(self, seed: int, conditions: Conditions, max_players: int, gather_s: float, num_machines: int) -> None:
        room = RoomShape(
            max_players=max_players, entities_per_player=3, max_state_bytes=20, num_identities=num_machines
        )
        self.world = World(
            f"rules {seed}",
            conditions=conditions,
            num_players=NUM_PLAYERS,
            gather_s=gather_s,
            config=LASTING_CONFIG,
            room=room,
        )
        for number in range(NUM_PLAYERS):
            self.world.join(number)
        self.world.run(1.0)

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

    # --- lost and back: time goes on in the same step, or nearly all would be over in no time

    @rule(number=players, seconds=absences, later=waits)
    def lose_connection(self, number: int, seconds: float, later: float) -> None:
        self.world.lose_connection(number, seconds)
        self.world.run(later)

    @rule(number=players, seconds=absences, later=waits)
    def restart(self, number: int, seconds: float, later: float) -> None:
        """A player's process ends, and a new one comes back by what it has saved; one that had not joined joins."""
        self.world.crash_and_resume(number, seconds)
        self.world.run(later)

    @rule(is_silent=st.booleans(), seconds=absences, later=waits)
    def lose_the_host(self, is_silent: bool, seconds: float, later: float) -> None:
        host = self.world.host()
        if host is not None and is_silent:
            self.world.lose_connection(host, seconds)
        elif host is not None:
            self.world.leave(host)
        self.world.run(later)

    # --- what the host may, and what the room keeps

    @rule(number=players, other=players, deed=st.sampled_from(["kick", "ban", "hand_over_host"]), is_host=st.booleans())
    def use_the_hosts_rights(self, number: int, other: int, deed: str, is_host: bool) -> None:
        """The host does, or somebody else tries."""
        who = self.world.host() if is_host else number
        if who not in (None, other):
            getattr(self.world, deed)(who, other)

    @rule(is_locked=st.booleans())
    def lock(self, is_locked: bool) -> None:
        host = self.world.host()
        if host is not None:
            self.world.lock(host, is_locked)

    @rule(number=players, outlives_sender=st.booleans())
    def keep(self, number: int, outlives_sender: bool) -> None:
        self.world.send_message(number, 50, keep=True, outlives_sender=outlives_sender)

    @rule(number=players, which=st.integers(0, 3))
    def clear_kept(self, number: int, which: int) -> None:
        life = self.world.players[number].playing
        kept = sorted(life.kept) if life is not None else []
        if kept:
            self.world.clear_kept(number, kept[which % len(kept)])

    @rule(conditions=weather)
    def change_the_weather(self, conditions: Conditions) -> None:
        self.world.set_conditions(conditions)

    @precondition(lambda self: hasattr(self, "world"))
    @rule(seconds=st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle(within_s=30.0 + 2 * PLACE_S)


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
