"""The add-on's connection and Python's do the same: same datagrams in, same events and same bytes out.

The simulator lets Python connections play over bad networks. All that is done with them is recorded and done again in
GDScript, with the same times and nonces: what is sent must be equal to the byte, what the game hears in every field.
"""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from protocol.client import ClientState
from relay.config import RelayConfig
from tests.godot.engine import FULL, Godot
from tests.godot.recording import RecordedConnection, write
from tests.sim import deeds
from tests.sim.habits import Habits
from tests.sim.network import STANDARD, Conditions
from tests.sim.world import World

STORM = Conditions(delay_s=(0.020, 0.250), jitter_s=0.230, loss=0.25, burst=0.005, duplication=0.05, reordering=0.2)
SECONDS = 40.0 if FULL else 8.0
CUT = Conditions(loss=1.0)
LASTING = RelayConfig(timeout_s=4.0, keepalive_s=0.25, grace_s=60)
OUTAGE_S = 8.0
"""Longer than the relay's timeout, shorter than its grace."""
BUSY = Habits(message=0.2, signal=0.2, leave=0.01, crash=0.3, absence_s=(0.0, 1.0))
AT_HOME = Habits(publish=0.1, leave=0.0005)


@pytest.mark.parametrize(
    ("name", "conditions", "damage", "asks"),
    [
        ("standard", STANDARD, 0.0, False),
        ("storm", STORM, 0.0, False),
        ("damage", STANDARD, 0.05, False),
        ("asking", STANDARD, 0.0, True),
        ("asking in a storm", STORM, 0.0, True),
    ],
)
def test_the_add_on_does_what_python_does(
    godot: str,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    conditions: Conditions,
    damage: float,
    asks: bool,
) -> None:
    recorded: list[RecordedConnection] = []
    monkeypatch.setattr(RecordedConnection, "recorded", recorded, raising=False)
    monkeypatch.setattr(deeds, "ClientConnection", RecordedConnection)
    config = LASTING if asks else None
    world = World(f"differential {name}", conditions=conditions, config=config, num_players=5)
    world.join_all(30.0)
    world.autopilot = AT_HOME if asks else BUSY
    world.judging = False  # that is for the simulator's own tests
    if damage:
        world.set_conditions(replace(conditions, corruption=damage, truncation=damage))
    if asks:
        ask_and_come_back(world, recorded, conditions)
    world.run(SECONDS)
    path = tmp_path / "recording.jsonl"
    write(recorded, path)

    told = Godot.start(godot, project, "replay.gd", str(path)).finish()
    assert [line for line in told if line["event"] == "difference"] == []
    (end,) = [line for line in told if line["event"] == "end"]
    assert end["connections"] == len(recorded) > 5
    assert end["steps"] == sum(len(connection.steps) for connection in recorded)
    assert min(end["events"], end["datagrams"]) > 300


def ask_and_come_back(world: World, recorded: list[RecordedConnection], conditions: Conditions) -> None:
    """Let players use all that a room keeps, while connections are lost and come back."""
    rng = random.Random(1)
    for turn in range(4):
        world.set_conditions(CUT, [turn])
        for _ in range(round(OUTAGE_S / 0.25)):
            for connection in recorded:
                if connection.state in (ClientState.JOINED, ClientState.RESUMING):
                    do_something(rng, connection, world.now)
            world.run(0.25)
        world.set_conditions(conditions, [turn])
        world.run(4.0)
    told = [line for connection in recorded for step in connection.steps if step[0] == "events" for line in step[1]]
    assert {"connection_lost", "resumed", "player_away", "player_back", "request_refused"} <= {line[0] for line in told}


def do_something(rng: random.Random, connection: RecordedConnection, now: float) -> None:
    """Ask one thing of the server, or publish or remove any entity."""
    entity_id = rng.randrange(connection.player_slots * connection.entities_per_player)
    player = rng.randrange(connection.player_slots)
    key, value = rng.choice("abc"), rng.choice([None, True, -5, 0.25, "text", b"bytes"])
    match rng.randrange(11):
        case 0:
            connection.set_property(key, value)
        case 1:
            connection.set_property(key, value, owner=connection.player_id)
        case 2:
            connection.set_property(key, value, expected=connection.room_properties.get(key))
        case 3 | 4:
            connection.give_entity(entity_id, rng.choice([None, player]))
        case 5:
            connection.publish_entity(entity_id, rng.randbytes(4), now)
        case 6:
            connection.remove_entity(entity_id)
        case 7:
            connection.send_message(rng.randbytes(9), keep=True, outlives_sender=rng.random() < 0.5)
        case 8:
            connection.clear_kept()
        case 9:
            connection.hand_over_host(player)
        case 10:
            connection.show(rng.random() < 0.5, rng.choice([[], ["a", "b"]]))
