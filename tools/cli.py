"""The `tickrelay` command. The only reader of argv, environment and standard streams; a subcommand's module is
imported when it is called, so `serve` needs nothing but what a relay needs.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NoReturn

EXIT_FAILED = 1
"""It was tried and did not work."""
EXIT_USAGE = 2
"""It was not tried: an unknown or invalid value."""
EXIT_INTERRUPTED = 130
"""Ended by Ctrl-C where that is not the regular way to end: 128 + SIGINT, as shells have it."""

COMMANDS = {
    "serve": "run a relay",
    "ping": "see that a relay is there, how far away and how busy",
    "load": "load a relay with thousands of players who check what they receive",
    "demo": "watch a relay with a few rooms of bots, in this process",
    "lag": "put a bad network between a game and a relay, to feel what players will feel",
    "dump": "see every packet: of a capture, an interface, or through a proxy",
    "bench": "measure what a relay costs here, beside the cheapest one possible",
}
"""Each is a module of `tools` with `main(argv, environ)`, which returns the exit code."""


class UsageError(Exception):
    """A value that the user must change. The text is the one line that is shown."""


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without repeating the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with EXIT_USAGE."""
        self.exit(EXIT_USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the command. Returns: the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in COMMANDS:
        return _answer_without_command(arguments)
    command = arguments[0]
    try:
        return int(import_module(f"tools.{command}").main(arguments[1:], environ))
    except UsageError as error:
        print(f"tickrelay {command}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _answer_without_command(arguments: list[str]) -> int:
    """Handle --version, --help, nothing at all and unknown commands."""
    parser = OneLineParser(
        prog="tickrelay",
        description="A self-hosted UDP relay for real-time game state.",
        epilog="commands:\n" + "\n".join(f"  {name:8}{text}" for name, text in COMMANDS.items())
        + "\n\nEach tells its options with --help.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of those below")
    options = parser.parse_args(arguments)
    if options.version:
        from relay.config import RelayConfig

        print(f"tickrelay {RelayConfig().release}")
        return 0
    if options.command is not None:
        parser.error(f"unknown command {options.command!r}; permitted: {', '.join(COMMANDS)}")
    parser.print_help(sys.stderr)
    return EXIT_USAGE


if __name__ == "__main__":
    # By its name: what subcommands import must be the same module, or its exceptions would not be ours.
    sys.exit(import_module("tools.cli").main())
