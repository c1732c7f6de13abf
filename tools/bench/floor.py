"""The floor as a process: `floor.c`, compiled when it is needed with whatever C compiler is there.

It is not built with the package: who only runs a relay needs no compiler, and a binary made elsewhere would not be
this machine's floor.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from protocol.dtypes import UPDATE_HEADER

SOURCE = Path(__file__).with_name("floor.c")
COMPILERS = ("cc", "gcc", "clang")
COMPILE_TIMEOUT_S = 60.0


class NoFloorError(Exception):
    """There is no floor on this machine. The text says why."""


def compile_floor(folder: Path) -> Path:
    """Compile the floor into a folder.

    Returns: the program.
    Raises: NoFloorError.
    """
    if sys.platform != "linux":
        raise NoFloorError("recvmmsg and sendmmsg are Linux's")
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise NoFloorError(f"no C compiler ({', '.join(COMPILERS)})")
    program = folder / "floor"
    command = [compiler, "-std=c11", "-O2", "-Wall", "-Wextra", "-o", str(program), str(SOURCE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoFloorError(f"the C compiler does not run: {error}") from None
    if done.returncode != 0 or done.stderr:
        # A warning too: the figure would come from a program that is not quite what it says.
        raise NoFloorError(f"the C compiler refuses floor.c: {(done.stderr or done.stdout).strip()}")
    return program


@dataclass(frozen=True)
class Fill:
    """What a relay sent of messages and signals, for the floor to send as much."""

    datagrams_per_tick: float
    """To each player."""
    datagram_bytes: float
    """UDP payload of each."""


def floor_command(
    program: Path,
    port: int,
    players: int,
    per_room: int,
    state_bytes: int,
    tick_rate: int,
    seconds: float,
    fill: Fill | None = None,
) -> list[str]:
    """Write the floor's command line. It ends by itself after `seconds`, if nobody ends it before."""
    numbers = [port, players, per_room, state_bytes, tick_rate, max(1, round(seconds))]
    if fill is not None:
        numbers += [round(fill.datagram_bytes) - UPDATE_HEADER.size, round(fill.datagrams_per_tick * 1000)]
    return [str(program), *map(str, numbers)]


def read_port(process: "subprocess.Popen[str]") -> int:
    """Wait for the floor to say that it is bound, and read the port from that.

    Raises: RuntimeError if it ended instead.
    """
    assert process.stdout is not None
    words = process.stdout.readline().split()
    if len(words) != 2 or words[0] != "ready":
        raise RuntimeError(f"the floor did not start (exit code {process.wait(5)})")
    return int(words[1])
