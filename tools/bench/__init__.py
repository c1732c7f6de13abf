"""`tickrelay bench`, and other measuring commands: `python -m tools.bench.flood`. Figures come from here, never from a
test. What is measured and how: README.md in this folder.
"""

from collections.abc import Mapping, Sequence


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the subcommand. Returns: the exit code."""
    from tools.bench.command import main as run  # late: other commands of this package need none of it

    return run(argv, environ)
