"""The add-on's connection and Python's do the same: same datagrams in, same events and same bytes out.

The simulator lets Python connections play over bad networks. All that is done with them is recorded and done again in
GDScript, with the same times and nonces: what is sent must be equal to the byte, what the game hears in every field.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.godot.engine import FULL, Godot
from tests.godot.recording import RecordedConnection, write
from tests.sim import world as world_module
from tests.sim.habits import Habits
from tests.sim.network import STANDARD, Conditions
from tests.sim.world import World

STORM = Conditions(delay_s=(0.020, 0.250), jitter_s=0.230, loss=0.25, burst=0.005, duplication=0.05, reordering=0.2)
SECONDS = 40.0 if FULL else 8.0
BUSY = Habits(message=0.2, signal=0.2, leave=0.01, crash=0.3, absence_s=(0.0, 1.0))


@pytest.mark.parametrize(
    ("name", "conditions", "damage"),
    [("standard", STANDARD, 0.0), ("storm", STORM, 0.0), ("damage", STANDARD, 0.05)],
)
def test_the_add_on_does_what_python_does(
    godot: str,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    conditions: Conditions,
    damage: float,
) -> None:
    recorded: list[RecordedConnection] = []
    monkeypatch.setattr(RecordedConnection, "recorded", recorded, raising=False)
    monkeypatch.setattr(world_module, "ClientConnection", RecordedConnection)
    world = World(f"differential {name}", conditions=conditions, num_players=5)
    world.join_all(30.0)
    world.autopilot = BUSY
    if damage:
        world.judging = False  # what is damaged and yet well-formed may mean anything
        world.set_conditions(replace(conditions, corruption=damage, truncation=damage))
    world.run(SECONDS)
    path = tmp_path / "recording.jsonl"
    write(recorded, path)

    told = Godot.start(godot, project, "replay.gd", str(path)).finish()
    assert [line for line in told if line["event"] == "difference"] == []
    (end,) = [line for line in told if line["event"] == "end"]
    assert end["connections"] == len(recorded) > 5
    assert end["steps"] == sum(len(connection.steps) for connection in recorded)
    assert min(end["events"], end["datagrams"]) > 300
