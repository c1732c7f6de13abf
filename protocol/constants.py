"""Numbers and names that both ends of the wire must agree on (SPEC 2 and 12).

Every constant says its unit and where the number comes from. A value that crosses the wire in WELCOME (tick rate,
page size, limits of a room) is not here: a client must take it from there.
"""

from enum import IntEnum, IntFlag

REVISION_MIN = 1
"""Lowest protocol revision this code speaks."""
REVISION_MAX = 1
"""Highest protocol revision this code speaks."""

DEFAULT_PORT = 24545
"""UDP port of a relay and of every client that is told none. In the user range, not assigned; chosen, not measured."""

MAGIC = b"TKRL"
"""First bytes after kind and shard of datagrams that may come from anybody: stray traffic fails here at once."""

MAX_DATAGRAM_BYTES = 1200
"""Largest UDP payload either side accepts: fits every path that carries IPv6 (1280) with room for tunnels."""
MAX_BODY_BYTES = 1160
"""Largest UDP payload either side builds: 1200 less a 16-byte tag for sealed traffic and 24 spare (not used yet)."""

HELLO_BYTES = 256
"""Least size of HELLO; padded with zeros, so that CHALLENGE and REFUSE are never larger than what caused them."""
PING_BYTES = 128
"""Least size of PING, for the same reason; PONG grows into it."""

NONCE_BYTES = 8
COOKIE_BYTES = 20
SECRET_BYTES = 16
RESET_TOKEN_BYTES = 16
PROOF_BYTES = 16
ROOM_KEY_BYTES = 32
IDENTITY_BYTES = 16
"""Random, made once per installation and profile: what a ban remembers of a player."""
CODE_BYTES = 16
"""Room codes are 1..16 of A-Z, 0-9 and '-', zero padded."""
NAME_BYTES = 32
"""Player names are 1..32 bytes of UTF-8 without control characters, zero padded."""
CLIENT_NAME_BYTES = 24
RELEASE_BYTES = 16
MAX_TEXT_BYTES = 200
"""Longest reason text in REFUSE and BYE: 200 + 16 of layout stays below HELLO_BYTES."""

CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""Letters of codes made up by a server: nothing that looks alike (I L O 0 1)."""
CODE_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
"""Letters permitted in a code that a player chose. Clients turn lower case into upper case before sending."""
MADE_UP_CODE_LENGTH = 6
"""31 ** 6 = 887 million codes: guessing one of 10,000 rooms takes 44,000 tries in the mean (chosen)."""

ACK_BITS = 32
"""ack_bits reports this many datagrams before `ack`."""
WINDOW = 64
"""Datagrams behind the newest that are still accepted once, and that a sender remembers (one 64-bit mask)."""
ACK_DELAY_MAX_MS = 255
"""Saturated ack_delay: this many ms or more, so the datagram gives no round-trip sample."""
ACK_WITHIN_S = 0.050
"""Anything but a bare ack is acknowledged within this time (QUIC uses 25 ms; chosen for 30 Hz ticks)."""
ACK_WITHIN_DATAGRAMS = 16
"""... or when this many wait for it, whichever comes first."""

MAX_SECTIONS = 24
"""Sections in one DATA: bounds the rounds of the server's section walk (chosen; a busy client sends four)."""
MAX_SLOTS = 512
"""Player slots of a room, twice its players, so max_players <= 256."""
MAX_PLAYERS_PER_ROOM = 256
MAX_ENTITY_IDS = 65536
"""player slots x entities_per_player: an entity id is a u16."""
MAX_ENTITIES_PER_PLAYER = 256
MAX_PAGES = 1024
MAX_STATE_BYTES = 255
"""A state's length is a u8."""
MIN_ENTITY_OVERHEAD_BYTES = 8
"""What one id may cost in a page beside its state: removal 2, id 2, age 1, a group header of its own 3."""

MAX_FRAGMENT_BYTES = 1024
"""Payload of one message or signal fragment: with every header around it, one fits one datagram in each direction."""
MAX_MESSAGE_BYTES = 1 << 20
"""Largest log message: 1,024 fragments."""
MAX_SIGNAL_FRAGMENTS = 8
MAX_SIGNAL_BYTES = MAX_SIGNAL_FRAGMENTS * MAX_FRAGMENT_BYTES
LOG_WINDOW = 256
"""Log indexes beyond a receiver's cursor that may be sent; LOG_BITS has a bit for each."""
MESSAGE_WINDOW = 32
"""Messages beyond the highest accepted that a client may send; message_bits has a bit for each."""
SPECIAL_MESSAGE_COST = 5
"""Messages that a request, or a message to be kept, counts as in the budget of messages: a relay does five times as
much for it (measured: 0.1 ms, for another 0.02)."""
PART_MORE = 0x8000
"""Bit of an entry's `part`: more fragments of this message follow. The low 15 bits number the fragment from 0."""

GAME_BYTES = 32
"""A game's id is 1..32 bytes of UTF-8 without control characters; of one that says none it is empty."""
GAME_VERSION_BYTES = 16
"""Likewise a game's version: whoever cannot play together must not have the same."""
ROOM_NAME_BYTES = 48
"""Likewise a room's name, which is shown in lists. It may be empty."""
MAX_TAGS = 8
TAG_BYTES = 16
"""Tags of a room, likewise 1..16 bytes each: what lists and quick matches can ask for (chosen)."""
REGION_BYTES = 16
MAX_SHOWN = 8
"""Properties of a room that lists show."""
MAX_SHOWN_BYTES = 256
"""Their keys and values together: two rooms of the largest records fit a page at least (chosen)."""

MAX_KEY_BYTES = 32
"""Property keys are 1..32 bytes of UTF-8 without control characters."""
MAX_VALUE_BYTES = 200
"""Longest value of a property: with key and header around it, a few fit one entry (chosen)."""
MAX_ROOM_PROPERTIES = 64
MAX_PLAYER_PROPERTIES = 16
MAX_ROOM_PROPERTY_BYTES = 4096
MAX_PLAYER_PROPERTY_BYTES = 1024
"""Keys and values of one owner together. A joiner is told them all: 64 players are 68 kB then (chosen)."""
MAX_KEPT_MESSAGES = 128
MAX_KEPT_BYTES = 64 * 1024
"""Payload of the messages that a room keeps for those who join later, for the same reason (chosen)."""
MAX_KEPT_MESSAGE_BYTES = MAX_FRAGMENT_BYTES - 4
"""One of them: its copy for who joins later is one fragment too, and begins with a log index (u32)."""
MAX_HANDED_OVER = 256
"""Entities of a room that are not their number's: a joiner is told them all, in 2 kB then (chosen)."""
PLAYERS_SHARE = 4
"""A player who is not host has a quarter at most of the messages that a room keeps, of their bytes, and of the entities
that are handed over."""
OTHERS_SHARE = 2
"""And nothing more is taken from it while half of all there may be is in use: the other half is the host's (chosen)."""
MAX_BANS = 256
"""Players that a room remembers as banned; the oldest is forgotten for one more (chosen)."""

AGE_STEP_MS = 2
"""Unit of a state's age: 255 steps are 510 ms, twice the longest interpolation delay games use (chosen)."""
AGE_MAX = 255
SAMPLE_CLAMP_MS = 1000
"""A sample time further in the past than this, or in the future, is moved to the nearest permitted time."""

NO_PLAYER = 0xFFFF
"""Sender of entries that the server wrote, and "nobody" where a player id stands."""


class Kind(IntEnum):
    """First byte of every datagram. The top bit is kept for sealed traffic and is never set yet."""

    HELLO = 1
    CHALLENGE = 2
    JOIN = 3
    WELCOME = 4
    REFUSE = 5
    REDIRECT = 6
    PING = 7
    PONG = 8
    BYE = 9
    RESET = 10
    PATH_CHALLENGE = 11
    PATH_RESPONSE = 12
    LIST = 13
    ROOMS = 14
    DATA = 16
    UPDATE = 17


class DataSection(IntEnum):
    """Types of the sections of DATA (client to server)."""

    STATE = 1
    LOG_BITS = 2
    MESSAGE = 3
    SIGNAL = 4


class UpdateSection(IntEnum):
    """Types of the sections of UPDATE (server to client)."""

    PAGE = 1
    LOG_RANGE = 2
    SIGNAL = 3


class AckFlag(IntFlag):
    """Bits of `flags` in DATA and UPDATE."""

    NOTHING_RECEIVED = 1


class JoinMode(IntEnum):
    """What JOIN asks for. QUICK: the fullest suitable room of those that are listed, or else a new one."""

    CREATE = 1
    JOIN = 2
    JOIN_OR_CREATE = 3
    RESUME = 4
    QUICK = 5


class Option(IntEnum):
    """Keys of JOIN's options. Unknown keys are skipped by their length."""

    MAX_PLAYERS = 1
    ENTITIES_PER_PLAYER = 2
    MAX_STATE_BYTES = 3
    ROOM_KEY = 4
    PROOF = 5
    IDENTITY = 6
    RESUME = 7
    ROOM_FLAGS = 8
    GAME = 9
    GAME_VERSION = 10
    ROOM_NAME = 11
    TAGS = 12
    SHOWN = 13
    PROPERTIES = 14


class Refusal(IntEnum):
    """Reasons of REFUSE."""

    VERSION = 1
    NO_SUCH_ROOM = 2
    ROOM_EXISTS = 3
    ROOM_FULL = 4
    SERVER_FULL = 5
    WRONG_PASSWORD = 6
    BAD_CODE = 7
    BAD_NAME = 8
    BAD_OPTIONS = 9
    TOO_MANY_SESSIONS = 10
    UNSUPPORTED = 11
    SHUTTING_DOWN = 12
    CANNOT_RESUME = 13
    BANNED = 14
    ROOM_LOCKED = 15
    OTHER_VERSION = 16
    TOO_MANY_TRIES = 17


class ByeReason(IntEnum):
    """Reasons of BYE, of a player_left entry, and of a client's `disconnected` event."""

    LEFT = 1
    SHUTDOWN = 2
    TIMEOUT = 3
    TOO_SLOW = 4
    KICKED = 5
    REPLACED = 6
    RESET = 7
    ROOM_CLOSED = 8
    PROTOCOL = 9
    BANNED = 10
    LOG_GONE = 11
    """Not the end: the place is kept, but what the client has not read of the log is not. It comes back by a resume."""


class Target(IntEnum):
    """Who of the room a message or signal is for."""

    ALL = 0
    ALL_BUT = 1
    ONE = 2
    LIST = 3


class EntryKind(IntEnum):
    """Kinds of log entries. 1..111 are the game's, 112..127 requests (never entries), 128..255 the server's only."""

    MESSAGE = 1
    PLAYER_JOINED = 128
    PLAYER_LEFT = 129
    HOST_CHANGED = 130
    ROSTER = 131
    PLAYER_AWAY = 132
    PLAYER_BACK = 133
    PROPERTY_CHANGED = 134
    PROPERTIES = 135
    ENTITY_OWNER = 136
    OWNERS = 137
    ROOM_LOCKED = 138
    REQUEST_REFUSED = 139
    ROOM_READY = 140
    KEPT_CLEARED = 141
    ROOM_SHOWN = 142


MAX_PLAYER_KIND = 127
"""Highest kind of a message or signal that a player may send; 0 is not a kind."""


class RequestKind(IntEnum):
    """Kinds of messages that ask the server for something; they are not passed on (SPEC 9)."""

    SET_PROPERTY = 112
    GIVE_ENTITY = 113
    CLEAR_KEPT = 114
    HAND_OVER_HOST = 115
    KICK = 116
    BAN = 117
    LOCK = 118
    SHOW = 119


FIRST_REQUEST_KIND = 112
"""Kinds from here to MAX_PLAYER_KIND are requests; those that no RequestKind has are refused as UNKNOWN."""


class RequestRefusal(IntEnum):
    """Why the server did not do what a message of a RequestKind asked for."""

    UNKNOWN = 1
    MALFORMED = 2
    NOT_HOST = 3
    NOT_OWNER = 4
    NO_SUCH_PLAYER = 5
    CHANGED = 6
    TOO_MANY = 7
    NOT_KEPT = 8


class MessageFlag(IntFlag):
    """Bits of a message's `flags`, up and down."""

    KEEP = 1
    OUTLIVES_SENDER = 2
    KEPT = 4


class RoomFlag(IntFlag):
    """Bits of the room option ROOM_FLAGS."""

    ANYONE_SETS = 1
    LISTED = 2


class ListFlag(IntFlag):
    """Bits of LIST's `flags`."""

    OPEN_ONLY = 1


class ListedFlag(IntFlag):
    """Bits of a listed room's `flags`."""

    LOCKED = 1
    PASSWORD = 2


class BanFlag(IntFlag):
    """Bits of a BAN request's `flags`."""

    ADDRESS = 1


class PropertyType(IntEnum):
    """Types of a property's value."""

    NONE = 0
    BOOL = 1
    INT = 2
    FLOAT = 3
    TEXT = 4
    BYTES = 5


class Resumed(IntEnum):
    """What WELCOME says of a resume."""

    NO = 0
    CONTINUED = 1
    AFRESH = 2


class SignalFlag(IntFlag):
    """Bits of a signal's `flags`."""

    NEWEST_FIRST = 1
    AFTER_LOG = 2


class StateEncoding(IntEnum):
    """Encodings of a group of states in a page. 1 (masks of changed words) is reserved."""

    WHOLE = 0
