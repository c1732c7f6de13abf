"""The loopback tests a second time, with what Windows does not have taken away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests/loopback/as_on_windows.py"
CHECK = """
import importlib, sys
sys.path.insert(0, {root!r})
import tests.loopback.as_on_windows as windows
windows.take_away()
from relay.transport.selection import select_transport
from tools.serve import choose_loop
assert select_transport("auto") == "asyncio"
assert choose_loop(no_uvloop=False) is None
for name in windows.MISSING_MODULES:
    try:
        importlib.import_module(name)
    except ImportError:
        continue
    raise AssertionError(name)
"""


def test_what_is_taken_away_is_gone() -> None:
    subprocess.run([sys.executable, "-c", CHECK.format(root=str(ROOT))], check=True, cwd=ROOT)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", ["tests/loopback/test_relay.py", "tests/relay/test_client.py", "tests/relay/test_server.py"]
)
def test_everything_works_without_it(path: str) -> None:
    # options for the run around it, such as a least coverage, are not for this one
    environ = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    command = [sys.executable, str(SCRIPT), path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "batch" not in done.stdout and "uvloop" not in done.stdout
