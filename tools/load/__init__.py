"""`tickrelay load`: thousands of players who check what they receive."""

from collections.abc import Mapping, Sequence


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the subcommand. Returns: the exit code."""
    from tools.load.command import run_command

    return run_command(argv)
