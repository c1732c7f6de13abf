"""Running the command as a user would."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment without settings of ours, and a home of its own, in which the stages would be compiled anew."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TICKRELAY_")}
    kept.pop("STATE_DIRECTORY", None)
    return kept | {"HOME": str(home), "USERPROFILE": str(home), "TICKRELAY_STAGES": "columns"} | more


def tickrelay(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tools.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(home, **more),
    )


class Relay:
    """A `tickrelay serve` in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def _wait_for(self, words: str) -> str:
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if words in line:
                    return line
            if self.process.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(f"no line with {words!r} in {self.lines}")

    @property
    def port(self) -> int:
        """The port that it says it listens on."""
        address = self._wait_for(" listening on UDP ").partition(" listening on UDP ")[2].replace(",", " ").split()[0]
        return int(address.rpartition(":")[2])

    def end(self, number: int) -> int:
        """Send a signal and wait. Returns: the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(10)
        self._reader.join(5)
        return code


@contextmanager
def serving(home: Path, *arguments: str, **more: str) -> Iterator[Relay]:
    """Run `tickrelay serve` on a free port until the block ends."""
    command = [sys.executable, "-u", "-m", "tools.cli", "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(home, **more)) as process:
        try:
            yield Relay(process)
        finally:
            process.kill()
