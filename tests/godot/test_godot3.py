"""The raw client for Godot 3 joins a room, publishes, and sees what others publish."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from protocol.client import PlayerJoined, PlayerLeft, StateChanged
from tests.godot.engine import PROJECT, complaints
from tests.loopback.relays import hear, player, run, running_relay
from tools.lag.conditions import Conditions
from tools.lag.conditions import Path as LagPath
from tools.lag.proxy import LagProxy

EXAMPLE = PROJECT / "examples/godot3_raw_client"
LOSSY = Conditions(latency_ms=10, loss_percent=10, duplicate_percent=2, reorder_percent=5)


def test_it_plays_in_a_room_over_a_bad_network(godot3: str, tmp_path: Path) -> None:
    # Without this folder and a language that it knows the engine complains before the game begins.
    (tmp_path / "godot/app_userdata/tickrelay raw client for Godot 3").mkdir(parents=True)
    environment = dict(os.environ, HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path), LANG="en_US.UTF-8", LC_ALL="en_US")

    async def main() -> None:
        async with (
            running_relay() as server,
            LagProxy(("127.0.0.1", server.address[1]), LagPath(LOSSY, LOSSY), seed=3) as proxy,
            player(server, "Ada") as ada,
        ):
            ada.publish(0, b"here I am")
            project = shutil.copytree(EXAMPLE, tmp_path / "project")
            command = ["timeout", "20", godot3, "--path", str(project)]
            command += [f"--port={proxy.address[1]}", "--code=lobby", "--name=Old", "--seconds=4"]
            with (tmp_path / "log").open("w") as log:
                process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
            joined = await hear(ada, PlayerJoined, lambda event: event.name == "Old")
            states = set()
            for _ in range(20):
                changed = await hear(ada, StateChanged, lambda event: bool(event.changed))
                states |= {state for _, state, _ in changed.changed}
            assert len(states) > 15 and {len(state) for state in states} == {8}
            ada.publish(0, b"and now here")
            left = await hear(ada, PlayerLeft)
            assert left.player_id == joined.player_id
            assert await asyncio.to_thread(process.wait, 10.0) == 0
        text = (tmp_path / "log").read_text()
        assert complaints(text) == [], text
        assert f"joined LOBBY as player {joined.player_id}" in text
        own = ada.connection.player_id
        for state in (b"here I am", b"and now here"):
            assert f"state of entity {own}: {state.hex()}" in text

    run(main)
