"""`tickrelay ping HOST[:PORT]`: see that a relay is there, how far away and how busy."""

import argparse
import contextlib
import secrets
import select
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protocol.client.ping import Pong, build_ping, parse_pong
from protocol.constants import DEFAULT_PORT, MAX_DATAGRAM_BYTES
from tools.cli import EXIT_FAILED, OneLineParser, UsageError

TIMEOUT_S = 3.0
"""After this long without an answer the user is told what to check."""
RETRY_S = 0.5
"""A PING is sent again after this time: one lost datagram is not an answer."""
MAX_PORT = 65_535


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the subcommand. Returns: the exit code."""
    parser = OneLineParser(
        prog="tickrelay ping",
        description="See that a relay is there: round trip, version, ticks per second and load.",
    )
    parser.add_argument(
        "address",
        metavar="HOST[:PORT]",
        help=f"name or address; IPv6 with a port as [::1]:{DEFAULT_PORT} (default port: {DEFAULT_PORT})",
    )
    options: argparse.Namespace = parser.parse_args(argv)
    host, port = parse_address(options.address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        print(f"tickrelay ping: {host} has no address: {error.strerror}; is the name right?", file=sys.stderr)
        return EXIT_FAILED
    answer = ping([(family, address) for family, _, _, _, address in found])
    if answer is None:
        print(no_answer_text(host, port), file=sys.stderr)
        return EXIT_FAILED
    print(answer_text(answer))
    return 0


def parse_address(text: str) -> tuple[str, int]:
    """Split HOST[:PORT], [IPV6]:PORT or a bare IPv6 address. Raises: UsageError."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UsageError(f"address is {text!r}; permitted: HOST, HOST:PORT or [IPV6]:PORT")
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= MAX_PORT)):
        raise UsageError(f"address is {text!r}; permitted: HOST, HOST:PORT or [IPV6]:PORT, port 1 to {MAX_PORT}")
    return host, int(port) if port else DEFAULT_PORT


@dataclass(frozen=True)
class Answer:
    """What came back, from where, after how long."""

    pong: Pong
    host: str
    port: int
    round_trip_s: float


def ping(addresses: Sequence[tuple[int, Any]], timeout_s: float = TIMEOUT_S) -> Answer | None:
    """Ask all addresses of a host, for it may answer on one family only. Returns: the first answer, or None."""
    sockets = [(socket.socket(family, socket.SOCK_DGRAM), address) for family, address in addresses]
    try:
        for sock, _ in sockets:
            sock.setblocking(False)
        return _ask(sockets, time.monotonic() + timeout_s)
    finally:
        for sock, _ in sockets:
            sock.close()


def _ask(sockets: list[tuple[socket.socket, Any]], deadline: float) -> Answer | None:
    # A nonce of its own for each PING, so that a late answer is not taken for a fast one.
    sent_at: dict[int, float] = {}
    next_send = 0.0
    while (now := time.monotonic()) < deadline:
        if now >= next_send:
            nonce = secrets.randbits(64)
            sent_at[nonce] = now
            next_send = now + RETRY_S
            for sock, address in sockets:
                _send(sock, build_ping(nonce), address)
        readable, _, _ = select.select([sock for sock, _ in sockets], [], [], min(next_send, deadline) - now)
        for sock in readable:
            if answer := _read(sock, sent_at):
                return answer
    return None


def _send(sock: socket.socket, data: bytes, address: Any) -> None:
    with contextlib.suppress(OSError):  # no route in this family; another may have one, if not the timeout says so
        sock.sendto(data, address)


def _read(sock: socket.socket, sent_at: Mapping[int, float]) -> Answer | None:
    try:
        data, address = sock.recvfrom(MAX_DATAGRAM_BYTES + 1)
    except OSError:
        return None  # Windows tells of an ICMP answer so; the relay may be about to start
    arrived = time.monotonic()
    for nonce, sent in sent_at.items():
        if pong := parse_pong(data, nonce):
            return Answer(pong, address[0], address[1], arrived - sent)
    return None


def answer_text(answer: Answer) -> str:
    """Write an answer in one line."""
    pong = answer.pong
    where = f"[{answer.host}]:{answer.port}" if ":" in answer.host else f"{answer.host}:{answer.port}"
    region = f" in {pong.region}" if pong.region else ""
    return (
        f"{where}{region}: round trip {answer.round_trip_s * 1000:.1f} ms, tickrelay {pong.release} "
        f"(protocol {pong.revision_min} to {pong.revision_max}), {pong.tick_rate} ticks/s, load {pong.load_percent} %, "
        f"{pong.players} of {pong.max_players} players in {pong.rooms} rooms"
    )


def no_answer_text(host: str, port: int) -> str:
    """Write what to check after silence."""
    return (
        f"tickrelay ping: no answer from {host}, UDP port {port}, within {TIMEOUT_S:.0f} s. Check:\n"
        f"  - is the relay running there?  (its first log line names address and port)\n"
        f"  - is UDP port {port} open in the firewall, and forwarded by the router?  (UDP, not TCP)\n"
        f"  - is the address right?  (from outside it is the public one; the port stands after a colon)"
    )
