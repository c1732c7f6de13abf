"""What RelayMultiplayerPeer makes of packets, without a network: `scripts/mesh.gd` has the checks."""

from pathlib import Path

from tests.godot.engine import Godot


def test_random_packets_reach_whom_they_are_for(godot: str, project: Path) -> None:
    (result,) = Godot.start(godot, project, "mesh.gd", seconds=30.0).finish(30.0)
    assert result["failures"] == []
