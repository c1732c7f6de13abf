"""The options of `tickrelay load`, and the plan that they make."""

import argparse
import dataclasses
import ipaddress
import socket
from typing import Any

from protocol.constants import DEFAULT_PORT
from tools.cli import OneLineParser, UsageError
from tools.lag.conditions import parse_mix
from tools.load.audience import Aim
from tools.load.plan import RANGES, Movement, Plan

_DEFAULTS = Plan(port=DEFAULT_PORT)
_HELP: dict[str, str] = {
    "rooms": "rooms",
    "players": "players in each room",
    "rate": "states per second of a player who moves",
    "state_bytes": "bytes of each state, 8 or more; 0 = none",
    "messages": "reliable messages per second and player",
    "signals": "signals per second and player",
    "message_bytes": "bytes of each message",
    "signal_bytes": "bytes of each signal",
    "join_rate": "joins per second",
    "per_socket": "players who share a socket, and so an address",
    "leaves": "players of the whole load who leave and come back, per second",
    "crashes": "players who fall silent without a word and come back, per second",
    "moves": "sockets that change their address, per second",
    "seed": "of everything that is left to chance here",
}
_SECONDS = {
    "duration": ("duration_s", "how long is measured"),
    "warm_up": ("warm_up_s", "how long they play before it is measured"),
    "settle": ("settle_s", "longest wait for quiet after the load"),
}


def build_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = OneLineParser(
        prog="tickrelay load",
        description="Load a relay with players who check everything that they receive. Exit code 1 if anything is "
        "missing, doubled, out of order, misdelivered or wrong.",
        allow_abbrev=False,
    )
    parser.add_argument("--host", default="127.0.0.1", help="the relay's address (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, metavar="N", help=f"UDP port (default: {DEFAULT_PORT})"
    )
    parser.add_argument(
        "--yes-i-own-this-host", action="store_true", help="permits another address than this machine's own"
    )
    for name, text in _HELP.items():
        default = getattr(_DEFAULTS, name)
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(
            option, type=type(default), default=default, metavar="N", help=f"{text} (default: {default})"
        )
    for name, (attribute, text) in _SECONDS.items():
        default = getattr(_DEFAULTS, attribute)
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(
            option, type=float, default=default, metavar="SECONDS", help=f"{text} (default: {default:g})"
        )
    parser.add_argument(
        "--aim",
        choices=[one.value for one in Aim],
        default=Aim.MIXED.value,
        help="whom players speak to (default: mixed)",
    )
    parser.add_argument(
        "--movement",
        choices=[one.value for one in Movement],
        default=Movement.ALL.value,
        help="how players move (default: all)",
    )
    parser.add_argument(
        "--net",
        action="append",
        default=[],
        metavar="CONDITIONS",
        help="network conditions as for `tickrelay lag`, with a share of the players before it if there are several: "
        '--net "30%%:mobile" --net "latency=20,loss=0.5"',
    )
    parser.add_argument(
        "--relay-pid", type=int, metavar="PID", help="process to watch (default: who has the port here)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object to stdout, all else to stderr")
    parser.add_argument("--report", metavar="FILE.html", help="write a page with charts")
    parser.add_argument(
        "--find-capacity", action="store_true", help="search the largest number of rooms that is served well"
    )
    _add_limits(parser)
    parser.add_argument("--floor", action="store_true", help=argparse.SUPPRESS)  # for tickrelay bench
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits of --find-capacity")
    limits.add_argument("--min-delivered", type=float, default=0.99, metavar="SHARE", help="(default: 0.99)")
    limits.add_argument("--max-age-ms", type=float, default=100.0, metavar="MS", help="p99 state age (default: 100)")
    limits.add_argument(
        "--max-latency-ms", type=float, default=150.0, metavar="MS", help="p99 of messages (default: 150)"
    )
    limits.add_argument("--max-relay-cpu", type=float, default=90.0, metavar="PERCENT", help="of a core (default: 90)")
    limits.add_argument(
        "--max-rooms", type=int, default=2000, metavar="N", help="where the search ends (default: 2000)"
    )


def plan_of(options: argparse.Namespace) -> Plan:
    """Make the plan. Raises: UsageError."""
    values: dict[str, Any] = {name: getattr(options, name) for name in _HELP}
    values |= {attribute: getattr(options, name) for name, (attribute, _) in _SECONDS.items()}
    values |= {"host": options.host, "port": options.port, "floor": options.floor}
    values |= {"aim": Aim(options.aim), "movement": Movement(options.movement)}
    if options.net:
        values["paths"] = tuple(parse_mix(options.net))
    for name, (low, high) in RANGES.items():
        if not low <= values[name] <= high:
            shown = next((short for short, (long, _) in _SECONDS.items() if long == name), name).replace("_", "-")
            raise UsageError(f"{shown} is {values[name]}; permitted: {low} to {high}")
    try:
        plan = Plan(**values)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return dataclasses.replace(plan, settings=_settings(options))


def _settings(options: argparse.Namespace) -> dict[str, object]:
    """List the options of a run for its report: all that say what was done."""
    left_out = {"json", "report", "yes_i_own_this_host", "relay_pid", "floor"}
    return {name: value for name, value in vars(options).items() if name not in left_out}


def find_address(host: str, port: int, owned: bool) -> tuple[int, tuple[Any, ...]]:
    """Look a relay's address up, and refuse to load a machine that is not this one unless told to.

    Returns: address family, socket address.
    Raises: UsageError.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise UsageError(f"{host} has no address: {error.strerror}; is the name right?") from None
    except ValueError:  # a letter, or a length, that no name has
        raise UsageError(f"{host!r} cannot be a name") from None
    family, _, _, _, address = found[0]
    if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback and not owned:
        raise UsageError(
            f"{host} is not this machine. Thousands of players at once are an attack on whoever did not ask for them; "
            "if the host is yours, say so with --yes-i-own-this-host"
        )
    return family, address


def check_limits(options: argparse.Namespace) -> None:
    """Check what belongs to a search. Raises: UsageError."""
    if not 0 < options.min_delivered <= 1:
        raise UsageError(f"min-delivered is {options.min_delivered}; permitted: above 0, up to 1")
    for name in ("max_age_ms", "max_latency_ms", "max_relay_cpu", "max_rooms"):
        if not getattr(options, name) > 0:
            raise UsageError(f"{name.replace('_', '-')} is {getattr(options, name)}; permitted: above 0")
    if options.find_capacity and options.report:
        raise UsageError("--report shows one load: run the one that --find-capacity has found with it")
