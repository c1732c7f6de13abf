"""What a flood costs the other rooms: `python -m tools.bench.flood [--players N] [--seconds S]`.

Starts a relay on one core and, on another, the players of `tickrelay load`: rooms of 8, everybody moves all the time.
Three rounds, in turn: nobody misbehaves; one more player, alone in a room, sends 50,000 DATA a second; 50,000 HELLO a
second come from 64 addresses. Printed for each: delivered share (1 = everybody was shown in every tick what changed in
it), ticks that the relay left out, state age, and the relay's CPU. Loopback only, Linux only.
"""

import argparse
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.client import ClientConnection, ClientState, JoinMode, JoinRequest
from protocol.constants import Kind
from relay.transport import libc
from relay.transport.sockets import set_buffers
from tools.load.plan import Plan
from tools.load.relay_process import RelayProcess
from tools.load.run import Phase, Run
from tools.load.summary import figures_of
from tools.load.wire import Wire
from tools.ping import ping

HOST = "127.0.0.1"
PER_ROOM = 8
FLOOD_PER_S = 50_000
NUM_ADDRESSES = 64
MAX_BURST = FLOOD_PER_S // 20
"""A burst goes out in each pass of the load, about 250 a second, with what is due by then; one that comes late makes up
for at most so many, which is 50 ms."""
START_TIMEOUT_S = 60.0
"""The relay must answer by then; the first of a version compiles before."""
JOIN_S = 10.0
"""The player who floods must be in by then."""

Flood = Callable[[int], int]
"""Sends so many datagrams, at most MAX_BURST. Returns how many the kernel took."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.flood", description=__doc__)
    parser.add_argument("--players", type=int, default=1000, help="players beside the flood (default 1000)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each round (default 8)")
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds before each round (default 3)")
    options = parser.parse_args()
    address = (HOST, free_port())
    relay = start_relay(address, options.players + PER_ROOM)
    try:
        if not ping([(socket.AF_INET, address)], START_TIMEOUT_S):
            raise RuntimeError("the relay did not answer")
        attacker = connect(address)
        floods = {
            "calm": lambda _due: 0,
            "one player": data_flood(attacker, join(attacker)),
            "HELLO": hello_flood(address),
        }
        for number, (name, flood) in enumerate(floods.items()):
            plan = Plan(
                port=address[1], rooms=max(1, options.players // PER_ROOM), players=PER_ROOM, messages=0, signals=0,
                duration_s=options.seconds, warm_up_s=options.warm_up, join_rate=1000, code=f"FLOOD{number}",
            )  # fmt: skip
            print(play(plan, address, relay.pid, name, flood), flush=True)
    finally:
        relay.terminate()
        relay.wait()
    return 0


def play(plan: Plan, address: tuple[str, int], pid: int, name: str, flood: Flood) -> str:
    """Let the players play, with a flood beside them while it is measured. Returns: the round's line."""
    wire = Wire(address, socket.AF_INET, -(-plan.num_players // plan.per_socket))
    run = Run(plan, wire, RelayProcess(pid))
    flooded = 0
    last_burst = 0.0
    try:
        while run.phase is not Phase.OVER:
            began = time.monotonic()
            run.step()
            if run.phase is Phase.LOAD:
                now = time.monotonic()
                flooded += flood(min(MAX_BURST, int((now - last_burst) * FLOOD_PER_S)))
                last_burst = now
            time.sleep(run.rest_s(began))
        figures = figures_of(run, is_over=True)
    finally:
        wire.close()
    seconds, relay = figures.get("seconds") or plan.duration_s, figures.get("relay") or {}
    return (
        f"{name:>12}: flood {flooded / seconds:8.0f}/s   delivered {figures.get('delivered_share') or 0:.4f}   "
        f"ticks left out {figures.get('tick_overruns', 0)}   "
        f"state age p99 {figures.get('state_age_ms', {}).get('p99') or 0:.1f} ms   "
        f"relay CPU {relay.get('cpu_percent') or 0:.0f} %   {'; '.join(figures['failures']) or 'passed'}"
    )


# --- the relay


def free_port() -> int:
    """Ask the system for a UDP port that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def start_relay(address: tuple[str, int], max_players: int) -> subprocess.Popen[bytes]:
    """Start a relay on the first core, and keep this process to the others."""
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "tools.cli", "serve", "--host", address[0], "--port", str(address[1])]
    command += ["--max-players", str(max_players), "--max-rooms", str(max_players), "--log-level", "error"]
    relay = subprocess.Popen(command)
    if len(cores) > 1:
        os.sched_setaffinity(relay.pid, cores[:1])
        os.sched_setaffinity(0, cores[1:])
    return relay


# --- the floods


def connect(address: tuple[str, int]) -> socket.socket:
    """Open a non-blocking socket to a relay, with large buffers where the system permits."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    set_buffers(sock)
    sock.connect(address)
    sock.setblocking(False)
    return sock


def request_of(name: str) -> JoinRequest:
    """Build the request of a player who plays alone."""
    return JoinRequest(mode=JoinMode.JOIN_OR_CREATE, code="ALONE", name=name, max_players=1, deadline_s=JOIN_S)


def join(sock: socket.socket) -> Any:
    """Join a room alone. Returns: the fields of WELCOME. Raises: RuntimeError."""
    attempt = ClientConnection(request_of("flood"), nonce=secrets.randbits(64), now=time.monotonic())
    while attempt.state is not ClientState.CLOSED:
        for datagram in attempt.poll(time.monotonic()):
            sock.send(datagram)
        time.sleep(0.001)
        try:
            data = sock.recv(2048)
        except (BlockingIOError, ConnectionRefusedError):
            continue
        attempt.receive(data, time.monotonic())
        if data[0] == Kind.WELCOME:
            return dtypes.WELCOME_FIELDS.decode(data)
    raise RuntimeError(f"the player who floods could not join: {attempt.take_events()}")


def data_flood(sock: socket.socket, welcome: Any) -> Flood:
    """Build a flood of bare DATA of one session, each with the next sequence number."""
    header = np.zeros(MAX_BURST, dtypes.DATA_HEADER_DTYPE)
    header["kind"], header["shard"], header["session"] = Kind.DATA, welcome.shard, welcome.session
    header["flags"], header["log_cursor"] = 1, welcome.log_index
    burst = _Burst(header.view(np.uint8).reshape(len(header), -1))
    seq = 0

    def flood(due: int) -> int:
        nonlocal seq
        header["seq"][:due] = (np.arange(due) + seq + 1) & 0xFFFF
        seq += due
        return burst.send(sock, due)

    return flood


def hello_flood(address: tuple[str, int]) -> Flood:
    """Build a flood of HELLO from many addresses, each with a nonce of its own."""
    per_socket = -(-MAX_BURST // NUM_ADDRESSES)
    sockets = [connect(address) for _ in range(NUM_ADDRESSES)]
    hello = ClientConnection(request_of("hello"), nonce=1, now=0.0).poll(0.0)[0]
    rows = np.tile(np.frombuffer(hello, np.uint8), (per_socket, 1))
    burst = _Burst(rows)
    rng = np.random.default_rng(1)

    def flood(due: int) -> int:
        sent = 0
        for number, sock in enumerate(sockets):
            rows[:, 6:14] = rng.integers(0, 256, (per_socket, 8), np.uint8)
            sent += burst.send(sock, (due + number) // NUM_ADDRESSES)
        return sent

    return flood


class _Burst:
    """Datagrams that are sent again and again: the rows of an array, which may change in between."""

    def __init__(self, rows: npt.NDArray[np.uint8]) -> None:
        calls = libc.find_mmsg_calls()
        if calls is None:
            raise RuntimeError("a flood needs 64-bit Linux")
        self._calls, self._rows = calls, rows
        self._iovec = np.empty((len(rows), 2), np.uint64)
        self._iovec[:, 0], self._iovec[:, 1] = libc.row_pointers(rows), rows.shape[1]
        self._headers = libc.new_headers(len(rows))
        self._headers["iovec"], self._headers["num_iovecs"] = libc.row_pointers(self._iovec), 1

    def send(self, sock: socket.socket, count: int) -> int:
        """Send the first `count`. Returns how many the kernel took; what it refuses is lost."""
        taken = 0
        while taken < count:
            headers = self._headers[taken : min(count, taken + libc.MAX_CALL)]
            done = self._calls.send(sock.fileno(), headers.ctypes.data, len(headers))
            if done <= 0:
                break
            taken += done
        return taken


if __name__ == "__main__":
    sys.exit(main())
