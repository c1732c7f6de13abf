"""The command that measures Godot's calls runs and prints figures. What the figures are is not a test's business."""

import os
import subprocess
import sys

import pytest

from tests.godot.engine import find_godot4
from tools.bench.rpc import BY_SERVER, MODES, RELAY, SERVER_ITSELF, table


def test_the_table_has_medians_and_their_ratios() -> None:
    usec = {RELAY: [20_000.0, 20_000.0, 90_000.0], BY_SERVER: [40_000.0] * 3, SERVER_ITSELF: [16_000.0] * 3}
    lines = table({f"{who}, {mode}": trips for who, trips in usec.items() for mode in MODES})
    assert len(lines) == 1 + len(MODES) * len(usec)
    assert lines[1].split()[2:5] == ["3", "20.0", "ms"]
    assert [line.split()[-1] for line in lines[2:4]] == ["0.50x", "1.25x"]


@pytest.mark.slow
def test_godots_call_each_other_and_the_figures_are_printed() -> None:
    command = [sys.executable, "-m", "tools.bench.rpc", "--calls", "5", "--godot", find_godot4()]
    environ = os.environ | {"TICKRELAY_STAGES": "columns"}  # what is compiled first is not this test's business
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines()[1:7]:
        assert any(line.startswith(who) for who in (RELAY, BY_SERVER, SERVER_ITSELF))
