"""What joining may end with, for people: see `relay.client`, which has both names, too."""

from protocol.client import Refusal


class JoinRefused(Exception):
    """The relay answered, and did not let us in."""

    def __init__(self, reason: Refusal | int, text: str) -> None:
        name = reason.name.lower().replace("_", " ") if isinstance(reason, Refusal) else f"reason {reason}"
        super().__init__(f"{name}: {text}" if text else name)
        self.reason = reason
        """Why; a bare int is a reason of a later revision."""
        self.text = text
        """The relay's words for a human."""


class ConnectTimeout(Exception):
    """Nothing answered in time, not all of the room came, or the relay went away while we joined. The text says what
    to check.
    """
