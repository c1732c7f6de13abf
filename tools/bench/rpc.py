"""How long Godot's calls take over the relay: `python -m tools.bench.rpc [--calls N] [--godot PATH]`.

Starts a relay and three headless Godots at 60 frames a second (`tools/godot/bench/rpc.gd` says what they do): a server
and two clients, all of them at the same time in a room of the relay and on an ENet server. One client calls the other
one over the relay, the other one by way of the ENet server, and the ENet server itself, in turn, and takes the time
until the answer is there. Printed for each: median and 90 % of the round trips, and the median by that of ENet.
Loopback only. A busy machine shows frames that came too late; leave it alone meanwhile.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.bench.flood import START_TIMEOUT_S
from tools.bench.run import HOST, free_port
from tools.ping import ping

PROJECT = Path(__file__).parents[1] / "godot"
MODES = ("reliable", "unreliable")
RELAY, BY_SERVER, SERVER_ITSELF = "relay", "enet, by the server", "enet, the server itself"
USEC_PER_MS = 1000.0
START_S = 30.0
CALL_S = 0.1
"""A call takes two frames at most, with what is between calls; twice that and more for a busy machine."""

Trips = dict[str, list[float]]
"""What was called -> round trips, microseconds."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.rpc", description=__doc__)
    parser.add_argument("--calls", type=int, default=500, help="calls of each kind (default 500: two to three minutes)")
    parser.add_argument("--godot", default=find_godot(), help="a Godot 4 (default: GODOT4, or what is in the PATH)")
    options = parser.parse_args()
    if options.godot is None or options.calls < 2:
        parser.error("no Godot 4: pass --godot" if options.godot is None else "--calls: permitted: 2 or more")
    try:
        trips, num_lost = measure(options.godot, options.calls)
    except (RuntimeError, TimeoutError) as error:
        print(f"bench rpc: {error}", file=sys.stderr)
        return 1
    print("\n".join(table(trips)))
    if num_lost:
        print(f"{num_lost} calls were not answered within a second")
    return 0


def find_godot() -> str | None:
    """Find a Godot 4; None if there is none."""
    return os.environ.get("GODOT4") or shutil.which("godot4") or shutil.which("godot")


def table(trips: Trips) -> list[str]:
    """Write the figures as lines."""
    lines = [f"{'':36}{'calls':>6}{'median':>11}{'90 %':>11}{'to the relay':>14}"]
    for mode in MODES:
        relay_ms = statistics.median(trips[f"{RELAY}, {mode}"]) / USEC_PER_MS
        for who in (RELAY, BY_SERVER, SERVER_ITSELF):
            usec = trips[f"{who}, {mode}"]
            median_ms = statistics.median(usec) / USEC_PER_MS
            most_ms = statistics.quantiles(usec, n=10)[-1] / USEC_PER_MS
            ratio = "" if who == RELAY else f"{relay_ms / median_ms:13.2f}x"
            lines.append(f"{who + ', ' + mode:36}{len(usec):6}{median_ms:8.1f} ms{most_ms:8.1f} ms{ratio}")
    return lines


def measure(godot: str, num_calls: int) -> tuple[Trips, int]:
    """Run it all. Returns: the round trips, and how many calls got no answer. Raises: RuntimeError, TimeoutError."""
    with tempfile.TemporaryDirectory() as folder:
        # Its own copy: the engine leaves files behind in a project.
        project = Path(folder) / "project"
        shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns(".godot"))
        relay_port, stop = free_port(), Path(folder) / "stop"
        ports = (f"--relay_port={relay_port}", f"--enet_port={free_port()}")
        serve = [sys.executable, "-m", "tools.cli", "serve", "--host", HOST, "--port", str(relay_port)]
        serve += ["--secret-file", str(Path(folder) / "secret")]
        command = [godot, "--headless", "--path", str(project), "--script", "res://bench/rpc.gd", "--", *ports]
        command.append(f"--stop={stop}")
        with _running(serve, Path(folder) / "relay.log"):
            if not ping([(socket.AF_INET, (HOST, relay_port))], START_TIMEOUT_S):
                raise RuntimeError("the relay did not answer")
            with _running([*command, "--role=server"], Path(folder) / "server.log") as server:
                _wait_for(server, Path(folder) / "server.log", "@joined")
                with _running([*command, "--role=callee"], Path(folder) / "callee.log"):
                    return _call([*command, "--role=caller", f"--calls={num_calls}"], num_calls)


def _call(command: list[str], num_calls: int) -> tuple[Trips, int]:
    seconds = START_S + num_calls * 2 * 3 * CALL_S
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"no result within {seconds:.0f} s: {error.output!r}") from None
    for line in done.stdout.splitlines():
        if line.startswith("@{"):
            report: dict[str, Any] = json.loads(line[1:])
            return report["trips_usec"], report["lost"]
    raise RuntimeError(f"no result: {done.stdout[-2000:]} {done.stderr[-2000:]}")


@contextmanager
def _running(command: list[str], log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.terminate()


def _wait_for(process: "subprocess.Popen[bytes]", log: Path, text: str) -> None:
    until = time.monotonic() + START_S
    while text not in log.read_text(encoding="utf-8", errors="replace"):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"a Godot did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
