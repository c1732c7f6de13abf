"""The measuring commands run and print their figures. What the figures are is not a test's business."""

import os
import subprocess
import sys

import pytest

from relay.transport.libc import find_mmsg_calls


@pytest.mark.slow
@pytest.mark.skipif(find_mmsg_calls() is None, reason="a crowd needs 64-bit Linux")
def test_a_crowd_plays_beside_each_flood_and_is_served() -> None:
    command = [sys.executable, "-m", "tools.bench.flood", "--players", "16", "--seconds", "0.5", "--warm-up", "0.5"]
    environ = os.environ | {"TICKRELAY_STAGES": "columns"}  # what is compiled first is not this test's business
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["calm", "one player", "HELLO"]
    assert all(float(line.split("delivered ")[1].split()[0]) > 0 for line in lines)
    assert all(line.endswith("passed") for line in lines)
