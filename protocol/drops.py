"""Why something that came from the network was not taken (SPEC 11)."""

from enum import Enum, auto


class DropReason(Enum):
    """One counter per member. The first block drops a whole datagram, the second a part of an accepted one."""

    # whole datagrams, in the order in which the checks run
    TOO_SHORT = auto()
    TOO_LONG = auto()
    UNKNOWN_KIND = auto()
    COLD_BUDGET = auto()
    BAD_MAGIC = auto()
    MALFORMED = auto()
    STALE_COOKIE = auto()
    STALE_JOIN = auto()
    CROWDED = auto()
    UNKNOWN_SESSION = auto()
    OVER_RATE = auto()
    OVER_BYTE_RATE = auto()
    BAD_PATH_PROOF = auto()
    DUPLICATE = auto()
    TOO_OLD = auto()
    BAD_ACK = auto()
    BAD_SECTION = auto()
    # parts: a state, a message or a signal
    BAD_ENTITY = auto()
    NOT_OWNER = auto()
    OVER_MESSAGE_RATE = auto()
    MESSAGE_WINDOW = auto()
    HOLD_FULL = auto()
    LOG_FULL = auto()
    OVER_SIGNAL_RATE = auto()
    SIGNAL_LATE = auto()
    SIGNAL_QUEUE_FULL = auto()
