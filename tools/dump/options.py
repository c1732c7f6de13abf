"""The options of `tickrelay dump`, and which of them go together."""

import argparse
import os
from collections.abc import Sequence

from protocol.constants import DEFAULT_PORT
from tools.cli import OneLineParser, UsageError
from tools.dump.captures import STANDARD_INPUT
from tools.dump.filters import NAMES
from tools.dump.sessions import NOT_DERIVED

_EPILOG = """\
sources (one of them):
  FILE ...              pcap or pcapng, also gzipped; - reads a pipe:  ssh server tcpdump -w - udp | tickrelay dump -
                        several files are read as one, in the order of their first packets, not of their names
  --live INTERFACE      what this machine sends and receives; needs the right to (root, or CAP_NET_RAW)
  --proxy HOST:PORT --to HOST[:PORT]
                        listens, and passes on both ways; needs no right: point the game at it
  --replay FILE ... --to HOST[:PORT]
                        plays a captured player's uploads into a fresh room; without the file of a rotated capture
                        that has the handshake, name and room are not known: --session chooses

what "dropped" means: a relay's own drops are not in a capture. They are derived: what a receiver would drop that got
exactly the captured datagrams. Derived are malformed and foreign kinds, bad sections, duplicates, too old ones, and
those of a session whose end was captured. What cannot be known from a capture:
  {not_derived}.

--where takes comparisons with and, or, not, in and parentheses over:
{names}
as in --where "kind == UPDATE and bytes > 900 and player in ('Ada', 'Bob')".
In --json bytes are hex, and numbers of 64 bits texts such as "0x0123456789abcdef".
"""


def build_parser() -> OneLineParser:
    """Build the parser."""
    names = "\n".join(f"  {name:14} {text}" for name, (text, _) in NAMES.items())
    parser = OneLineParser(
        prog="tickrelay dump",
        description="See every packet between players and a relay: decoded, filtered, counted, drawn, or played again.",
        epilog=_EPILOG.format(not_derived=NOT_DERIVED, names=names),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_sources(parser)
    _add_views(parser)
    _add_filters(parser)
    return parser


def _add_sources(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sources")
    group.add_argument("files", nargs="*", metavar="FILE", help="captures, read as one in the order of their times")
    group.add_argument("--live", metavar="INTERFACE", help='capture on an interface; "any" for all')
    group.add_argument("--proxy", metavar="HOST:PORT", help="listen here and pass on to the relay that --to names")
    group.add_argument(
        "--replay",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="play a captured player's uploads to the relay that --to names",
    )
    group.add_argument("--to", metavar="HOST[:PORT]", help=f"the relay of --proxy or --replay (port: {DEFAULT_PORT})")
    group.add_argument("--speed", type=float, metavar="X", help="of a replay: 2 is twice as fast (default: 1)")
    group.add_argument("--code", metavar="CODE", help="room of a replay (default: made up by the relay)")
    group.add_argument(
        "--port",
        type=int,
        action="append",
        default=[],
        metavar="N",
        help=f"UDP port of the relay; may be given again (default: {DEFAULT_PORT}, and what looks like our traffic)",
    )
    group.add_argument("--seconds", type=float, metavar="SECONDS", help="end --live or --proxy after this time")


def _add_views(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is shown (default: a line per datagram)")
    group.add_argument("-v", "--verbose", action="store_true", help="every field below each line")
    group.add_argument("--hex", action="store_true", help="every field with its bytes below each line")
    group.add_argument(
        "--json", action="store_true", help="an object per datagram, one a line; with --stats one object"
    )
    group.add_argument("--stats", action="store_true", help="sums by kind, section and player; loss, round trips")
    group.add_argument("--follow", metavar="SESSION", help="the story of one connection: a session's id, or a player")
    group.add_argument("--plot", metavar="OUT", help="round trip, loss, baseline age, bytes over time: .png or .html")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("filters (all that are given must hold)")
    group.add_argument("--room", metavar="CODE", help="of this room")
    group.add_argument("--player", metavar="NAME", help="of the player of this name or number")
    group.add_argument("--session", metavar="ID", help="of this session; the first digits suffice")
    group.add_argument("--kind", metavar="KINDS", help="such as DATA,UPDATE")
    group.add_argument("--direction", choices=("up", "down"), help="to the relay, or from it")
    group.add_argument("--after", type=float, metavar="SECONDS", help="from this time since the first datagram on")
    group.add_argument("--before", type=float, metavar="SECONDS", help="up to this time since the first datagram")
    group.add_argument("--min-bytes", type=int, metavar="N", help="of at least this UDP payload")
    group.add_argument("--max-bytes", type=int, metavar="N", help="of at most this UDP payload")
    group.add_argument("--dropped", action="store_true", help="only what a receiver would drop, and why")
    group.add_argument("--where", metavar="EXPRESSION", help="see below")


def parse_options(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line. Raises: UsageError naming what does not go together, and what is permitted."""
    options: argparse.Namespace = build_parser().parse_args(argv)
    sources = [name for name in ("files", "live", "proxy", "replay") if getattr(options, name)]
    if len(sources) != 1:
        given = "none is" if not sources else f"{' and '.join(sources)} are"
        raise UsageError(f"{given} given; permitted: one of FILE ..., --live, --proxy or --replay")
    needs_to = sources[0] in ("proxy", "replay")
    if needs_to != (options.to is not None):
        raise UsageError(f"--{sources[0]} needs --to" if needs_to else "--to is for --proxy and --replay only")
    if (options.files + options.replay).count(STANDARD_INPUT) > 1:
        raise UsageError("standard input is given twice; permitted: one -")
    _check_views(options)
    _check_values(options, sources[0])
    if sources[0] == "replay":
        options.speed = 1.0 if options.speed is None else options.speed
        options.code = options.code or ""
    return options


def check_writable(option: str, path: str) -> None:
    """See that a file can be written, before hours of reading. Raises: UsageError if it cannot."""
    is_new = not os.path.lexists(path)
    try:
        with open(path, "ab"):  # the only question to the system that it answers for all kinds of reasons
            pass
    except OSError as error:
        raise UsageError(f"{option} is {path!r}: {error.strerror}; permitted: a file that can be written") from None
    if is_new:
        os.unlink(path)


def _check_views(options: argparse.Namespace) -> None:
    """Check what is shown. Raises: UsageError for what would have no effect."""
    views = [name for name in ("stats", "follow", "plot") if getattr(options, name)]
    forms = [name for name in ("verbose", "hex", "json") if getattr(options, name)]
    if options.replay and views + forms:
        raise UsageError(f"--{(views + forms)[0]} has no effect on --replay, which shows nothing")
    if len(views) > 1:
        raise UsageError(f"{' and '.join(views)} are given; permitted: one of --stats, --follow and --plot")
    if options.json and (options.follow or options.plot):
        raise UsageError("json goes with --stats or with a line per datagram")
    if len(forms) > 1:
        raise UsageError("permitted: one of --verbose, --hex and --json")
    if views and (options.verbose or options.hex):
        raise UsageError(f"--{forms[0]} has no effect on --{views[0]}; permitted: with a line per datagram")


def _check_values(options: argparse.Namespace, source: str) -> None:
    """Check single values, and whether the source has a use for them. Raises: UsageError."""
    for name in ("speed", "code"):
        if getattr(options, name) is not None and source != "replay":
            raise UsageError(f"--{name} is for --replay only")
    if options.speed is not None and not 0 < options.speed <= 1000:
        raise UsageError(f"speed is {options.speed}; permitted: above 0, at most 1000")
    if options.seconds is not None and not options.seconds > 0:
        raise UsageError(f"seconds is {options.seconds}; permitted: above 0")
    if options.seconds is not None and source not in ("live", "proxy"):
        raise UsageError("--seconds is for --live and --proxy only")
    for port in options.port:
        if not 1 <= port <= 65_535:
            raise UsageError(f"port is {port}; permitted: 1 to 65,535")
