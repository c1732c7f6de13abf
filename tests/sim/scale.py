"""How long the proofs run: short by default, long with TICKRELAY_FULL=1."""

import os

FULL = os.environ.get("TICKRELAY_FULL") == "1"


def scaled(short: int, full: int) -> int:
    """Choose between the two lengths of a proof."""
    return full if FULL else short
