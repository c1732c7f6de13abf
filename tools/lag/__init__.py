"""`tickrelay lag`: a UDP proxy with a bad network inside. Point a client at it and feel what its players will feel."""

import argparse
import asyncio
import contextlib
import secrets
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from protocol.constants import DEFAULT_PORT
from relay.server import on_stop_signals
from tools.cli import EXIT_FAILED, OneLineParser, UsageError
from tools.lag.conditions import KEYS, PRESETS, Path, describe_path, parse_conditions
from tools.lag.proxy import MAX_CLIENTS, LagProxy
from tools.ping import parse_address
from tools.serve import choose_loop

LISTEN_PORT = DEFAULT_PORT + 1
"""Beside the relay's, so that both run on one machine."""
REPORT_S = 5.0
"""Time between lines of counts."""
SHORTEST_WAIT_S = 0.05
"""A rest of time below this is not worth another line; timers of uvloop end up to 1 ms early."""
SEED_BITS = 32


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the subcommand. Returns: the exit code."""
    options = build_parser().parse_args(argv)
    if options.conditions is not None and options.net is not None:
        raise UsageError("conditions are given twice; permitted: either as an argument or with --net")
    for name in ("seconds", "rebind_every"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise UsageError(f"{name} is {value}; permitted: above 0")
    if options.seed is not None and options.seed < 0:
        raise UsageError(f"seed is {options.seed}; permitted: 0 or more")
    path = parse_conditions(options.conditions or options.net or "none")
    seed = secrets.randbits(SEED_BITS) if options.seed is None else options.seed
    proxy = LagProxy(
        parse_address(options.to),
        path,
        listen=parse_listen(options.listen),
        seed=seed,
        rebind_every_s=options.rebind_every,
    )
    with asyncio.Runner(loop_factory=choose_loop(no_uvloop=False)) as runner:
        return runner.run(_run(proxy, path, seed, options))


def build_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = OneLineParser(
        prog="tickrelay lag",
        description="Put a bad network between clients and a relay: a UDP proxy on this machine. Ctrl-C ends it.",
        epilog=f"conditions are one way: {', '.join(f'{key}=' for key in KEYS)}\n"
        "  (ms, ms, %, datagrams in a row, %, %, kbit/s), with commas between; up. or down. before a key means one\n"
        "  direction only: latency=40,jitter=10,down.loss=2\n"
        "or, alone or before such pairs, one of:\n"
        + "\n".join(f"  {name:12}{describe_path(path)}" for name, path in PRESETS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("conditions", nargs="?", metavar="CONDITIONS", help="see below (default: none)")
    parser.add_argument("--net", metavar="CONDITIONS", help="the same")
    parser.add_argument("--to", required=True, metavar="HOST[:PORT]", help=f"the relay (default port: {DEFAULT_PORT})")
    parser.add_argument(
        "--listen",
        default=f"127.0.0.1:{LISTEN_PORT}",
        metavar="HOST:PORT",
        help="where clients are to send to; 0.0.0.0 for other machines too (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of all chance (default: another each time)")
    parser.add_argument(
        "--rebind-every",
        type=float,
        metavar="SECONDS",
        help="each client's address changes so often, as behind a forgetful router (default: never)",
    )
    parser.add_argument("--seconds", type=float, metavar="SECONDS", help="end after this time (default: at Ctrl-C)")
    return parser


def parse_listen(text: str) -> tuple[str, int]:
    """Read HOST[:PORT], where port 0 lets the system choose. Raises: UsageError."""
    if text.endswith(":0") and not text.endswith("::0"):
        return parse_address(f"{text.removesuffix(':0')}:{LISTEN_PORT}")[0], 0
    host, port = parse_address(text)
    return host, LISTEN_PORT if host == text.strip("[]") else port


async def _run(proxy: LagProxy, path: Path, seed: int, options: argparse.Namespace) -> int:
    """Forward for as long as asked, or until asked to stop. Returns: the exit code."""
    stop = asyncio.Event()
    undo = on_stop_signals(stop.set)
    try:
        try:
            await proxy.start()
        except ValueError:
            raise UsageError(f"to is {options.to!r}, which is this proxy itself; permitted: the relay's") from None
        except OSError as error:
            return _explain(error, options)
        print(start_text(proxy, path, seed, options.rebind_every), flush=True)
        await _report(proxy, options.seconds, stop)
        return 0
    finally:
        await proxy.close()
        undo()


def _explain(error: OSError, options: argparse.Namespace) -> int:
    """Say in one line what kept us from starting. Returns: the exit code."""
    if isinstance(error, socket.gaierror):
        text = f"{options.to} or {options.listen} has no address: {error.strerror}; is the name right?"
    else:
        text = f"cannot listen on {options.listen}: {error.strerror}; --listen takes another"
    print(f"tickrelay lag: {text}", file=sys.stderr)
    return EXIT_FAILED


async def _report(proxy: LagProxy, seconds: float | None, stop: asyncio.Event) -> None:
    """Print a line of counts now and then, and one at the end."""
    began = time.monotonic()
    while not stop.is_set():
        left = float("inf") if seconds is None else began + seconds - time.monotonic()
        if left < SHORTEST_WAIT_S:
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), min(REPORT_S, left))
            break
        if left > REPORT_S:
            print(counts_text(proxy, time.monotonic() - began), flush=True)
    print(counts_text(proxy, time.monotonic() - began), flush=True)


def start_text(proxy: LagProxy, path: Path, seed: int, rebind_every_s: float | None) -> str:
    """Write in one line what to do now, and what will happen."""
    host, port = proxy.address
    where = f"port {port} of this machine" if ip_address(host).is_unspecified else address_text(host, port)
    rebinding = "" if rebind_every_s is None else f"; new address every {rebind_every_s:g} s"
    return (
        f"Point up to {MAX_CLIENTS} clients at {where} instead of {address_text(*proxy.upstream)} "
        f"({describe_path(path)}{rebinding}; seed {seed}). Ctrl-C ends it."
    )


def address_text(host: str, port: int) -> str:
    """Write an address the way it is typed."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def counts_text(proxy: LagProxy, elapsed_s: float) -> str:
    """Write all counts since the start in one line."""
    counters = proxy.counters
    parts = [f"{elapsed_s:6.0f} s  clients {len(proxy.clients)}"]
    for name, fates in (("up", proxy.up), ("down", proxy.down)):
        overflowed = fates["overflowed"] + fates["queue_full"]
        parts.append(
            f"{name} {counters[f'{name}_received']} in {counters[f'{name}_sent']} out ({fates['lost']} lost, "
            f"{fates['duplicated']} duplicated, {fates['reordered']} reordered, {overflowed} overflowed)"
        )
    num_errors = counters["icmp_errors"] + counters["socket_errors"] + counters["upstream_failed"]
    parts.append(f"rebinds {counters['rebinds']}  errors {num_errors}")
    return "  ".join(parts)
