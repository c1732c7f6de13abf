"""What a flood costs the other rooms: `python -m tools.bench.flood [--players N] [--seconds S]`.

Starts a relay on one core and a crowd on another, in rooms of 8. Three rounds, in turn: nobody misbehaves; one joined
player sends 50,000 DATA a second; 50,000 HELLO a second come from 64 addresses. Everybody of the crowd publishes once
per tick that it saw. Printed for each round: the share of snapshots that arrived (1 = one per player and publication),
the ticks that are missing in the round's time (about 0), and the relay's CPU. Loopback only, Linux only.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from protocol.client import ClientConnection
from protocol.constants import Kind
from relay.transport import libc
from tools.bench.crowd import Crowd, connect, datagrams_to_send, join_players, request_of, send_all

TICK_RATE = 30
PER_ROOM = 8
FLOOD_PER_S = 50_000
NUM_ADDRESSES = 64
WARM_UP_S = 8.0
"""While thousands join nobody reads, so the relay slows their snapshots down; this long until all are at full rate."""
STEPS_PER_TICK = 4
"""The flood comes in so many bursts per tick."""


@dataclass
class Round:
    """Figures of one round."""

    name: str
    share: float
    ticks_missed: float
    cpu_percent: float
    flooded_per_s: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.flood", description=__doc__)
    parser.add_argument("--players", type=int, default=1000, help="size of the crowd (default 1000)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each round (default 8)")
    parser.add_argument("--warm-up", type=float, default=WARM_UP_S, help=f"seconds before it (default {WARM_UP_S:.0f})")
    options = parser.parse_args()
    address = ("127.0.0.1", free_port())
    relay = start_relay(address, options.players + PER_ROOM)
    try:
        time.sleep(1.5)
        sock = connect(address)
        crowd = Crowd(sock, join_players(sock, options.players, PER_ROOM))
        attacker_sock = connect(address)
        attacker = join_players(attacker_sock, 1, 1, "ALONE")[0]
        floods = [
            ("calm", lambda: 0),
            ("one player", data_flood(attacker_sock, attacker)),
            ("HELLO", hello_flood(address)),
        ]
        play(crowd, relay, "warm-up", options.warm_up, floods[0][1])
        for name, flood in floods:
            print_round(play(crowd, relay, name, options.seconds, flood))
    finally:
        relay.terminate()
        relay.wait()
    return 0


def free_port() -> int:
    """Ask the system for a UDP port that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
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


def data_flood(sock: socket.socket, player: Any) -> Callable[[], int]:
    """Build a flood of bare DATA of one session, each with the next sequence number."""
    calls = libc.find_mmsg_calls()
    assert calls is not None
    per_step = FLOOD_PER_S // (TICK_RATE * STEPS_PER_TICK)
    template = bytearray(26)
    template[0], template[1] = Kind.DATA, player.shard
    template[4:12] = player.session.to_bytes(8, "little")
    template[19] = 1
    template[20:24] = player.log_index.to_bytes(4, "little")
    rows = np.tile(np.frombuffer(bytes(template), np.uint8), (per_step, 1))
    headers, keep = datagrams_to_send(rows)
    seq = 0

    def flood() -> int:
        nonlocal seq
        numbers = (np.arange(per_step) + seq + 1).astype("<u2")
        rows[:, 2:4] = numbers.view(np.uint8).reshape(-1, 2)
        seq += per_step
        assert len(keep) == per_step
        return send_all(calls, sock, headers)

    return flood


def hello_flood(address: tuple[str, int]) -> Callable[[], int]:
    """Build a flood of HELLO from many addresses, each with a nonce of its own."""
    calls = libc.find_mmsg_calls()
    assert calls is not None
    per_socket = FLOOD_PER_S // (TICK_RATE * STEPS_PER_TICK * NUM_ADDRESSES) + 1
    sockets = [connect(address) for _ in range(NUM_ADDRESSES)]
    hello = ClientConnection(request_of(0, PER_ROOM, "FLOOD"), nonce=1, now=0.0).poll(0.0)[0]
    rows = np.tile(np.frombuffer(hello, np.uint8), (per_socket, 1))
    headers, keep = datagrams_to_send(rows)
    rng = np.random.default_rng(1)

    def flood() -> int:
        sent = 0
        for sock in sockets:
            rows[:, 6:14] = rng.integers(0, 256, (per_socket, 8), np.uint8)
            sent += send_all(calls, sock, headers)
        assert len(keep) == per_socket
        return sent

    return flood


def play(crowd: Crowd, relay: subprocess.Popen[bytes], name: str, seconds: float, flood: Callable[[], int]) -> Round:
    """Let the crowd play for a while, with a flood beside it."""
    rng = np.random.default_rng(0)
    began, cpu_before = time.monotonic(), cpu_seconds(relay.pid)
    crowd.receive()
    first_tick, snapshots_before = crowd.newest_tick, crowd.snapshots
    published_at = -1
    flooded = steps = rounds = 0
    while (now := time.monotonic()) - began < seconds:
        if crowd.newest_tick != published_at:
            published_at = crowd.newest_tick
            crowd.publish(rng)
            rounds += 1
        flooded += flood()
        steps += 1
        time.sleep(max(0.0, began + steps / (TICK_RATE * STEPS_PER_TICK) - now))
        crowd.receive()
    elapsed = time.monotonic() - began
    time.sleep(2 / TICK_RATE)
    crowd.receive()
    share = (crowd.snapshots - snapshots_before) / (rounds * len(crowd))
    cpu = (cpu_seconds(relay.pid) - cpu_before) / elapsed
    return Round(name, share, elapsed * TICK_RATE - (crowd.newest_tick - first_tick), cpu * 100, flooded / elapsed)


def cpu_seconds(pid: int) -> float:
    """Read the CPU time of a process, all threads, user and system."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def print_round(figures: Round) -> None:
    """Print one line."""
    print(
        f"{figures.name:>12}: flood {figures.flooded_per_s:8.0f}/s   snapshots received {figures.share:.4f}   "
        f"ticks missed {figures.ticks_missed:.1f}   relay CPU {figures.cpu_percent:.0f} %",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
