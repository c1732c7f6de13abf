"""Measuring one row: a server on one core, the load generator on another, and the figures that the load prints.

`Runner.measure` is all that the rest of the bench knows of processes. The load is `tickrelay load` in a process of its
own; `load_command` is the only place that knows its options.
"""

import contextlib
import importlib.util
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from relay.config import RelayConfig
from relay.engine import Engine
from relay.stages import select_stages
from relay.transport.libc import find_mmsg_calls
from tools.bench.flood import START_TIMEOUT_S, free_port
from tools.bench.floor import Fill, NoFloorError, compile_floor, floor_command, read_port
from tools.bench.machine import OWN_GROUP, Cores, on_core
from tools.bench.rows import JOINS_PER_S, Name, Spec, planned_s
from tools.ping import ping
from tools.process import cpu_seconds, rss_mib
from tools.serve_settings import ENVIRONMENT_PREFIX

HOST = "127.0.0.1"
STOP_TIMEOUT_S = 10.0
SPARE_S = 30.0
"""A load that takes longer than twice its plan and this is ended: every run ends by itself."""
SPARE_PLAYERS = 64
JOINERS_ROOM_S = 10
"""Who joins and leaves beside the others is counted for this long, as the relay remembers them (SPEC 12)."""
MIN_ROOM_PLAYERS = 16
"""`--max-room-players` is never below the default of `--default-room-players`."""

_ON_BATCH = (Name.COMPILED, Name.BATCH)
"""Rows on the batch transport."""

Figures = Mapping[str, Any]
"""What the load printed: its JSON object."""
Measure = Callable[[Spec], Figures]
"""Measures one row. Raises: MeasureError."""


class MeasureError(Exception):
    """A row could not be measured. The text says why, in one line or a few."""


class Runner:
    """Starts and ends the processes of one row after the other. Lifetime: one run of the bench."""

    def __init__(self, cores: Cores, folder: Path, environ: Mapping[str, str]) -> None:
        """Prepare.

        Args:
            folder: For the floor's program and the relays' secret; exists, and is somebody else's to remove.
            environ: What processes get, less the settings of a relay: only what a row says counts.
        """
        self._cores = cores
        self._folder = folder
        self._environ = {name: text for name, text in environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
        self._floor: Path | None = None
        self._fills: dict[Spec, Fill] = {}
        """By the floor's row: what a relay sent in the same shape."""

    def why_not(self, name: Name) -> str | None:
        """Tell why rows of this name cannot be measured here; None if they can."""
        if name is Name.FLOOR:
            try:
                self._floor = self._floor or compile_floor(self._folder)
            except NoFloorError as error:
                return f"no floor: {error}"
        elif name in _ON_BATCH and find_mmsg_calls() is None:
            return "the batch transport needs 64-bit Linux"
        elif name is Name.COMPILED:
            try:
                compile_stages()
            except ValueError as error:
                return str(error)
        elif name is Name.UVLOOP and importlib.util.find_spec("uvloop") is None:
            return "uvloop is not installed"
        return None

    def measure(self, spec: Spec) -> Figures:
        """Measure one row. Raises: MeasureError."""
        with self._serving(spec) as (port, pid):
            if not spec.players:
                return _measure_alone(spec, pid)
            figures = self._run_load(spec, port, pid)
        if spec.has_words and spec.name is not Name.FLOOR and (fill := fill_of(spec, figures)):
            self._fills[spec.floor()] = fill
        return figures

    @contextlib.contextmanager
    def _serving(self, spec: Spec) -> Iterator[tuple[int, int]]:
        """Run the server of a row. Yields its port and process id."""
        if spec.name is Name.FLOOR:
            if why := self.why_not(Name.FLOOR):
                raise MeasureError(why)
            assert self._floor is not None
            num_players, seconds = spec.num_rooms * spec.per_room, _time_limit_s(spec) + SPARE_S
            shape = (num_players, spec.per_room, spec.state_bytes, spec.tick_rate, seconds)
            fill = self._fills.get(spec)
            if spec.has_words and fill is None:
                raise MeasureError("the floor sends what a relay has sent, and none was measured before it")
            command = floor_command(self._floor, 0, *shape, fill)
        else:
            port = free_port()
            command = relay_command(spec, port, self._folder / "secret")
        with self._started(command) as process:
            try:
                port = read_port(process) if spec.name is Name.FLOOR else port
            except RuntimeError as error:
                raise MeasureError(str(error)) from None
            if spec.name is not Name.FLOOR and not ping([(socket.AF_INET, (HOST, port))], START_TIMEOUT_S):
                raise MeasureError(f"the relay did not answer: {' '.join(command)}")
            yield port, process.pid

    @contextlib.contextmanager
    def _started(self, command: list[str]) -> Iterator["subprocess.Popen[str]"]:
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "process_group": OWN_GROUP}
        with on_core(self._cores.relay):
            process = subprocess.Popen(command, env=self._environ, **options)
        with process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    process.kill()

    def _run_load(self, spec: Spec, port: int, pid: int) -> Figures:
        """Run the load generator against a server. Returns: its JSON object."""
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with on_core(self._cores.load):
            process = subprocess.Popen(
                load_command(spec, port, pid), env=self._environ, process_group=OWN_GROUP, **options
            )
        with process:
            try:
                shown, said = process.communicate(timeout=_time_limit_s(spec))
            except subprocess.TimeoutExpired:
                raise MeasureError(f"the load did not end within {_time_limit_s(spec):.0f} s") from None
            finally:
                process.kill()
        return parse_figures(shown, said, process.returncode)


def relay_command(spec: Spec, port: int, secret: Path) -> list[str]:
    """Write the command line of the relay of a row."""
    num_players = spec.num_rooms * spec.per_room + SPARE_PLAYERS + spec.joins_per_s * JOINERS_ROOM_S
    options: dict[str, object] = {
        "host": HOST,
        "port": port,
        "tick-rate": spec.tick_rate,
        "max-players": num_players,
        "max-rooms": num_players,
        "max-room-players": max(MIN_ROOM_PLAYERS, spec.per_room),
        "max-sessions-per-host": 100_000,
        "transport": "batch" if spec.name in _ON_BATCH else "asyncio",
        "stages": "compiled" if spec.name is Name.COMPILED else "columns",
        "secret-file": secret,
        "log-level": "error",
    }
    command = [sys.executable, "-m", "tools.cli", "serve", *_as_options(options)]
    return [*command, "--no-uvloop"] if spec.name is Name.ASYNCIO else command


def compile_stages() -> None:
    """Compile the relay's loops, if this version's have not been, so that no row waits for it. Raises: ValueError."""
    Engine(RelayConfig(), bytes(32), random.Random(1), select_stages("compiled"))


def load_command(spec: Spec, port: int, pid: int) -> list[str]:
    """Write the command line of the load of a row."""
    is_floor = spec.name is Name.FLOOR
    options: dict[str, object] = {
        "host": HOST,
        "port": port,
        "rooms": spec.num_rooms,
        "players": spec.per_room,
        # how often clients look for something to send, if not for states
        "rate": spec.state_rate or spec.tick_rate,
        "state-bytes": spec.state_bytes if spec.state_rate else 0,
        "messages": 0 if is_floor else spec.messages,
        "signals": spec.signals + (spec.messages if is_floor else 0),  # the floor acknowledges no message
        "aim": spec.aim,
        "join-rate": JOINS_PER_S,
        "duration": spec.duration_s,
        "warm-up": spec.warm_up_s,
        "relay-pid": pid,
    }
    if spec.payload_bytes is not None:
        options |= {"message-bytes": spec.payload_bytes, "signal-bytes": spec.payload_bytes}
    if spec.joins_per_s:
        options["leaves"] = spec.joins_per_s
    if spec.weather:
        options["net"] = spec.weather
    command = [sys.executable, "-m", "tools.cli", "load", *_as_options(options), "--json"]
    return [*command, "--floor"] if is_floor else command


def fill_of(spec: Spec, figures: Figures) -> Fill | None:
    """Read how much a relay sent to each player; None if nothing, or the load does not say."""
    num_players = spec.num_rooms * spec.per_room
    datagrams, num_bytes = (figures.get(name, {}).get("down") for name in ("datagrams_per_s", "bytes_per_s"))
    if not datagrams or not num_bytes:
        return None
    return Fill(datagrams / num_players / spec.tick_rate, num_bytes / datagrams)


def _as_options(options: Mapping[str, object]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def parse_figures(shown: str, said: str, code: int) -> Figures:
    """Read what the load printed. It fails a run by its exit code and says why in the object, which is figures too.

    Args:
        shown: Its standard output.
        said: Its standard error.
        code: Its exit code.
    Raises: MeasureError.
    """
    try:
        figures = json.loads(shown)
    except ValueError:
        figures = None
    if not isinstance(figures, dict):
        last_lines = " / ".join(said.strip().splitlines()[-3:])
        raise MeasureError(f"the load gave no figures (exit code {code}): {last_lines or 'it said nothing'}")
    return figures


def _measure_alone(spec: Spec, pid: int) -> Figures:
    """Measure a server to which nobody talks: the same figures, as far as there are any without players."""
    time.sleep(spec.warm_up_s)
    began, cpu_before = time.monotonic(), cpu_seconds(pid)
    time.sleep(spec.duration_s)
    cpu_percent = (cpu_seconds(pid) - cpu_before) / (time.monotonic() - began) * 100
    return {"players": {"connected": 0}, "relay": {"cpu_percent": cpu_percent, "rss_mib": rss_mib(pid)}}


def _time_limit_s(spec: Spec) -> float:
    """Tell after how long a load is ended."""
    return 2 * planned_s(spec) + SPARE_S
