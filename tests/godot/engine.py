"""Godot processes for tests: where the engine is, a project to run scripts in, and what its log may hold."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "tools/godot"
SCRIPTS = Path(__file__).parent / "scripts"
CACHED = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "godot4-deb/godot4"
"""Where `.ci/install-godot4.sh` puts the engine."""
NOT_THE_REPOS = shutil.ignore_patterns(".godot", "*.uid", "*.import")
"""What the engine leaves in a project."""
FULL = os.environ.get("TICKRELAY_FULL") == "1"

ALLOWED: list[tuple[str, str]] = []
"""(pattern of a line with ERROR that a log may have, why it is harmless)."""
_ERROR = re.compile(r"(SCRIPT )?ERROR\b")


def is_required(name: str) -> bool:
    """Tell whether CI demands this tool: then a skip is a failure."""
    return name in os.environ.get("TICKRELAY_REQUIRE", "").replace(",", " ").split()


def skip_or_fail(name: str, text: str) -> None:
    """Skip with one line that says how to get the tool, or fail where it is required."""
    if is_required(name):
        pytest.fail(text)
    pytest.skip(text)


def find_godot4() -> str:
    """Return the command of a Godot 4, or skip the test."""
    candidates = [os.environ.get("GODOT4"), str(CACHED), shutil.which("godot4"), shutil.which("godot")]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    skip_or_fail("godot", "no Godot 4: run `bash .ci/install-godot4.sh`, or set GODOT4=/path/to/godot")
    raise AssertionError


def find_godot3() -> str:
    """Return the command of a Godot 3 server, or skip the test."""
    found = os.environ.get("GODOT3") or shutil.which("godot3-server")
    if not found:
        skip_or_fail("godot3", "no Godot 3: install Debian's `godot3-server`, or set GODOT3=/path/to/godot3-server")
    return str(found)


def make_project(folder: Path) -> Path:
    """Copy the add-on's project and the tests' scripts: a run leaves files behind that are not the repo's."""
    project = folder / "project"
    shutil.copytree(PROJECT, project, ignore=NOT_THE_REPOS)
    shutil.copytree(SCRIPTS, project / "tests")
    return project


def complaints(log: str) -> list[str]:
    """List the lines of a log that name an error and are not allowed, each with the line after it (its place)."""
    lines = [*log.splitlines(), ""]
    return [
        f"{line} {lines[i + 1].strip()}"
        for i, line in enumerate(lines)
        if _ERROR.search(line) and not any(re.search(pattern, line) for pattern, _ in ALLOWED)
    ]


@dataclass
class Godot:
    """One headless Godot that runs a script and prints a JSON object per line after "@"."""

    process: subprocess.Popen[str]
    log_path: Path
    _seen: int = field(default=0)

    @classmethod
    def start(
        cls, godot: str, project: Path, script: str, *arguments: str, seconds: float = 60.0, data: Path | None = None
    ) -> Self:
        """Start a script of `tests/godot/scripts`; after `seconds` it is killed. `data`: where its user:// is."""
        number = time.monotonic_ns()
        log_path = project / f"{Path(script).stem}-{os.getpid()}-{number}.log"
        command = ["timeout", str(seconds), godot, "--headless", "--path", str(project), "--script"]
        command += [f"res://tests/{script}", "--", *arguments]
        environment = {**os.environ, "XDG_DATA_HOME": str(data or project / "data")}
        with log_path.open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, env=environment)
        return cls(process, log_path)

    @property
    def log(self) -> str:
        """All that the engine and the script have printed."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield what the script has told so far."""
        for line in self.log.splitlines():
            if line.startswith("@{") and line.endswith("}"):
                yield json.loads(line[1:])

    def told(self, event: str) -> list[dict[str, Any]]:
        """List what the script has told under a name."""
        return [line for line in self.lines() if line["event"] == event]

    def finish(self, seconds: float = 60.0) -> list[dict[str, Any]]:
        """Wait for the end; fail on any error in the log. Returns: all that was told."""
        try:
            code = self.process.wait(seconds)
        finally:
            self.stop()
        assert complaints(self.log) == [], self.log[-4000:]
        assert code == 0, self.log[-4000:]
        return list(self.lines())

    def kill(self) -> None:
        """End it as a crash does: it can neither say goodbye nor write anything."""
        guard = self.process.pid  # the engine is the only child of `timeout`
        os.kill(int(Path(f"/proc/{guard}/task/{guard}/children").read_text()), signal.SIGKILL)
        self.process.wait(10.0)

    def stop(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(5.0)
