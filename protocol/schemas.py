"""Every datagram as a construct Struct: the one description of the layout (SPEC 3 to 9).

The numpy record types and struct formats of `dtypes.py`, the layout tables in SPEC.md, the test vectors and the schema
fingerprint are made from these objects; nothing types a layout twice. They are pure data: parsing one has no side
effect, every count is bounded by the byte that holds it, and every datagram ends with `Terminated` or with padding
that its revision must ignore.
"""

from construct import (
    Array,
    Bytes,
    Construct,
    GreedyBytes,
    GreedyRange,
    Int8ul,
    Int16ul,
    Int32ul,
    Int64ul,
    Padded,
    Prefixed,
    Struct,
    Switch,
    Terminated,
    this,
)

from protocol.constants import (
    CLIENT_NAME_BYTES,
    CODE_BYTES,
    COOKIE_BYTES,
    HELLO_BYTES,
    NAME_BYTES,
    PING_BYTES,
    PROOF_BYTES,
    RELEASE_BYTES,
    RESET_TOKEN_BYTES,
    SECRET_BYTES,
    DataSection,
    EntryKind,
    Kind,
    Option,
    RequestKind,
    UpdateSection,
)

# --- Handshake and other cold datagrams. The first five layouts never change, whatever the revision.

HELLO_FIELDS = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "magic" / Bytes(4),
    "nonce" / Int64ul,
    "revision_min" / Int16ul,
    "revision_max" / Int16ul,
    "features" / Int32ul,
    "fingerprint" / Int32ul,
    "client_name" / Bytes(CLIENT_NAME_BYTES),
    "client_release" / Bytes(RELEASE_BYTES),
)
HELLO = Padded(HELLO_BYTES, HELLO_FIELDS)

CHALLENGE = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "nonce" / Int64ul,
    "revision" / Int16ul,
    "features" / Int32ul,
    "fingerprint" / Int32ul,
    "cookie" / Bytes(COOKIE_BYTES),
    Terminated,
)

REFUSE = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "nonce" / Int64ul,
    "reason" / Int8ul,
    "revision_min" / Int16ul,
    "revision_max" / Int16ul,
    "text" / Prefixed(Int8ul, GreedyBytes),
    Terminated,
)

PING_FIELDS = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "magic" / Bytes(4),
    "nonce" / Int64ul,
)
PING = Padded(PING_BYTES, PING_FIELDS)

PONG = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "nonce" / Int64ul,
    "revision_min" / Int16ul,
    "revision_max" / Int16ul,
    "release" / Bytes(RELEASE_BYTES),
    "tick_rate" / Int16ul,
    "load_percent" / Int8ul,
    "players" / Int32ul,
    "max_players" / Int32ul,
    "rooms" / Int32ul,
    "later" / GreedyBytes,
)

OPTION = Struct("key" / Int8ul, "value" / Prefixed(Int8ul, GreedyBytes))

JOIN_FIELDS = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "nonce" / Int64ul,
    "cookie" / Bytes(COOKIE_BYTES),
    "revision" / Int16ul,
    "features" / Int32ul,
    "mode" / Int8ul,
    "code" / Bytes(CODE_BYTES),
    "name" / Bytes(NAME_BYTES),
)
JOIN = Struct(
    "fields" / JOIN_FIELDS,
    "options" / GreedyRange(OPTION),
    Terminated,
)

TEXT = Prefixed(Int8ul, GreedyBytes)
"""Bytes behind their length."""

PLAIN_PROPERTY = Struct("key" / TEXT, "type" / Int8ul, "value" / TEXT)
PLAIN_PROPERTIES = Struct("properties" / GreedyRange(PLAIN_PROPERTY), Terminated)
"""Value of the option PROPERTIES."""

TEXTS = Struct("texts" / GreedyRange(TEXT), Terminated)
"""Value of the options TAGS and SHOWN."""

LABEL = Struct("text" / GreedyBytes)
"""Value of the options GAME, GAME_VERSION and ROOM_NAME."""

RESUME_OPTION = Struct(
    "session" / Int64ul,
    "log_index" / Int32ul,
    "proof" / Bytes(PROOF_BYTES),
    Terminated,
)
"""Value of JOIN's option RESUME."""

OPTION_LAYOUTS: dict[Kind, dict[Option, Struct]] = {
    Kind.JOIN: {
        Option.RESUME: RESUME_OPTION,
        Option.GAME: LABEL,
        Option.GAME_VERSION: LABEL,
        Option.ROOM_NAME: LABEL,
        Option.TAGS: TEXTS,
        Option.SHOWN: TEXTS,
        Option.PROPERTIES: PLAIN_PROPERTIES,
    },
    Kind.LIST: {
        Option.GAME: LABEL,
        Option.GAME_VERSION: LABEL,
        Option.TAGS: TEXTS,
        Option.PROPERTIES: PLAIN_PROPERTIES,
    },
}
"""Values of options that are neither a number nor a key. LIST ignores the others."""

WELCOME_FIELDS = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "nonce" / Int64ul,
    "session" / Int64ul,
    "secret" / Bytes(SECRET_BYTES),
    "reset_token" / Bytes(RESET_TOKEN_BYTES),
    "code" / Bytes(CODE_BYTES),
    "player_id" / Int16ul,
    "player_slots" / Int16ul,
    "max_players" / Int16ul,
    "entities_per_player" / Int16ul,
    "max_state_bytes" / Int8ul,
    "page_ids" / Int8ul,
    "tick_rate" / Int16ul,
    "tick" / Int32ul,
    "log_index" / Int32ul,
    "message_id" / Int16ul,
    "message_credit" / Int16ul,
    "keepalive_ms" / Int16ul,
    "timeout_ms" / Int16ul,
    "datagrams_per_s" / Int16ul,
    "messages_per_s" / Int16ul,
    "signals_per_s" / Int16ul,
    "bytes_per_s" / Int32ul,
    "grace_s" / Int16ul,
    "resumed" / Int8ul,
    "room_flags" / Int8ul,
)
WELCOME = Struct("fields" / WELCOME_FIELDS, "options" / GreedyRange(OPTION), Terminated)

LIST_FIELDS = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "nonce" / Int64ul,
    "cookie" / Bytes(COOKIE_BYTES),
    "revision" / Int16ul,
    "features" / Int32ul,
    "after" / Int32ul,
    "flags" / Int8ul,
)
LIST = Struct("fields" / LIST_FIELDS, "options" / GreedyRange(OPTION), Terminated)

LISTED_ROOM_FIELDS = Struct(
    "code" / Bytes(CODE_BYTES),
    "players" / Int16ul,
    "max_players" / Int16ul,
    "flags" / Int8ul,
)
LISTED_ROOM_BODY = Struct(
    "name" / TEXT,
    "version" / TEXT,
    "tags" / Prefixed(Int8ul, TEXTS),
    "properties" / Prefixed(Int16ul, PLAIN_PROPERTIES),
)
LISTED_ROOM = Struct("fields" / LISTED_ROOM_FIELDS, "body" / LISTED_ROOM_BODY)
ROOMS_FIELDS = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "nonce" / Int64ul,
    "after" / Int32ul,
    "next" / Int32ul,
    "num_listed" / Int32ul,
)
ROOMS = Struct("fields" / ROOMS_FIELDS, "region" / TEXT, "rooms" / GreedyRange(LISTED_ROOM), Terminated)

REDIRECT = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "nonce" / Int64ul,
    "host" / Bytes(16),
    "port" / Int16ul,
    "new_shard" / Int8ul,
    Terminated,
)

BYE = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "session" / Int64ul,
    "reason" / Int8ul,
    "text" / Prefixed(Int8ul, GreedyBytes),
    Terminated,
)

RESET = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "session" / Int64ul,
    "reset_token" / Bytes(RESET_TOKEN_BYTES),
    Terminated,
)

PATH_CHALLENGE = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "session" / Int64ul,
    "challenge" / Int64ul,
    Terminated,
)

PATH_RESPONSE = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "session" / Int64ul,
    "challenge" / Int64ul,
    "proof" / Bytes(PROOF_BYTES),
    Terminated,
)

# --- Sections

SECTION_HEADER = Struct("type" / Int8ul, "length" / Int16ul)
"""Before every section: its type and the bytes that follow. An unknown type is skipped by its length."""

STATE_HEADER = Struct("sample_ms" / Int16ul, "count" / Int8ul, "stride" / Int8ul)
STATE_SECTION = Struct(
    "header" / STATE_HEADER,
    "states" / Array(this.header.count, Struct("entity_id" / Int16ul, "state" / Bytes(this._.header.stride))),
    Terminated,
)

LOG_BITS_SECTION = Struct("words" / GreedyRange(Int32ul), Terminated)

MESSAGE_HEADER = Struct(
    "message_id" / Int16ul,
    "kind" / Int8ul,
    "flags" / Int8ul,
    "channel" / Int8ul,
    "target" / Int8ul,
    "target_count" / Int8ul,
    "more" / Int8ul,
)
MESSAGE_SECTION = Struct(
    "header" / MESSAGE_HEADER,
    "targets" / Array(this.header.target_count, Int16ul),
    "payload" / GreedyBytes,
)

SIGNAL_UP_HEADER = Struct(
    "kind" / Int8ul,
    "flags" / Int8ul,
    "channel" / Int8ul,
    "fragment" / Int8ul,
    "target" / Int8ul,
    "target_count" / Int8ul,
    "sequence" / Int16ul,
    "after_message" / Int16ul,
)
SIGNAL_UP_SECTION = Struct(
    "header" / SIGNAL_UP_HEADER,
    "targets" / Array(this.header.target_count, Int16ul),
    "payload" / GreedyBytes,
)

SIGNAL_DOWN_HEADER = Struct(
    "kind" / Int8ul,
    "flags" / Int8ul,
    "channel" / Int8ul,
    "fragment" / Int8ul,
    "sender" / Int16ul,
    "sequence" / Int16ul,
    "position" / Int16ul,
)
SIGNAL_DOWN_SECTION = Struct("header" / SIGNAL_DOWN_HEADER, "payload" / GreedyBytes)

PAGE_HEADER = Struct(
    "page" / Int16ul,
    "layer" / Int8ul,
    "since" / Int32ul,
    "log_index" / Int32ul,
    "removed_count" / Int8ul,
    "group_count" / Int8ul,
)
GROUP_HEADER = Struct("encoding" / Int8ul, "count" / Int8ul, "stride" / Int8ul)
PAGE_GROUP = Struct(
    "header" / GROUP_HEADER,
    "ids" / Array(this.header.count, Int16ul),
    "ages" / Array(this.header.count, Int8ul),
    "states" / Array(this.header.count, Bytes(this.header.stride)),
)
PAGE_SECTION = Struct(
    "header" / PAGE_HEADER,
    "removed" / Array(this.header.removed_count, Int16ul),
    "groups" / Array(this.header.group_count, PAGE_GROUP),
    Terminated,
)

RANGE_HEADER = Struct("first" / Int32ul, "last" / Int32ul, "after" / Int32ul)
ENTRY_HEADER = Struct(
    "index" / Int16ul,
    "kind" / Int8ul,
    "flags" / Int8ul,
    "sender" / Int16ul,
    "channel" / Int8ul,
    "part" / Int16ul,
    "length" / Int16ul,
)
ENTRY = Struct("header" / ENTRY_HEADER, "payload" / Bytes(this.header.length))
RANGE_SECTION = Struct("header" / RANGE_HEADER, "entries" / GreedyRange(ENTRY), Terminated)

# --- The two datagrams that a session exchanges

DATA_HEADER = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "seq" / Int16ul,
    "session" / Int64ul,
    "ack" / Int16ul,
    "ack_bits" / Int32ul,
    "ack_delay" / Int8ul,
    "flags" / Int8ul,
    "log_cursor" / Int32ul,
    "reserved" / Int16ul,
)
"""`reserved` is sent 0 and ignored. With it a bare DATA (26 bytes) is as large as the RESET it may cause."""

UPDATE_HEADER = Struct(
    "kind" / Int8ul,
    "shard" / Int8ul,
    "seq" / Int16ul,
    "session" / Int64ul,
    "ack" / Int16ul,
    "ack_bits" / Int32ul,
    "ack_delay" / Int8ul,
    "flags" / Int8ul,
    "tick" / Int32ul,
    "message_ack" / Int16ul,
    "message_bits" / Int32ul,
    "message_credit" / Int16ul,
)

DATA_SECTION_BODIES: dict[int, Construct] = {
    DataSection.STATE: STATE_SECTION,
    DataSection.LOG_BITS: LOG_BITS_SECTION,
    DataSection.MESSAGE: MESSAGE_SECTION,
    DataSection.SIGNAL: SIGNAL_UP_SECTION,
}
UPDATE_SECTION_BODIES: dict[int, Construct] = {
    UpdateSection.PAGE: PAGE_SECTION,
    UpdateSection.LOG_RANGE: RANGE_SECTION,
    UpdateSection.SIGNAL: SIGNAL_DOWN_SECTION,
}


def _sections(bodies: dict[int, Construct]) -> Construct:
    """All sections up to the end of the datagram; a body of unknown type stays bytes."""
    cases = {int(kind): body for kind, body in bodies.items()}
    body = Prefixed(Int16ul, Switch(this.type, cases, default=GreedyBytes))
    return GreedyRange(Struct("type" / Int8ul, "body" / body))


DATA = Struct("header" / DATA_HEADER, "sections" / _sections(DATA_SECTION_BODIES), Terminated)
UPDATE = Struct("header" / UPDATE_HEADER, "sections" / _sections(UPDATE_SECTION_BODIES), Terminated)

# --- Payloads of the entries that the server writes

PLAYER_JOINED_PAYLOAD = Struct("player_id" / Int16ul, "name" / GreedyBytes)
PLAYER_LEFT_PAYLOAD = Struct("player_id" / Int16ul, "reason" / Int8ul, Terminated)
HOST_CHANGED_PAYLOAD = Struct("player_id" / Int16ul, Terminated)
ROSTER_MEMBER = Struct("player_id" / Int16ul, "is_away" / Int8ul, "name" / TEXT)
ROSTER_PAYLOAD = Struct("host" / Int16ul, "members" / GreedyRange(ROSTER_MEMBER), Terminated)
PLAYER_AWAY_PAYLOAD = Struct("player_id" / Int16ul, Terminated)
PLAYER_BACK_PAYLOAD = Struct("player_id" / Int16ul, "is_afresh" / Int8ul, Terminated)
PROPERTY_CHANGED_PAYLOAD = Struct(
    "player_id" / Int16ul, "owner" / Int16ul, "key" / TEXT, "type" / Int8ul, "value" / GreedyBytes
)
PROPERTY = Struct("version" / Int32ul, "owner" / Int16ul, "key" / TEXT, "type" / Int8ul, "value" / TEXT)
PROPERTIES_PAYLOAD = Struct("properties" / GreedyRange(PROPERTY), Terminated)
ENTITY_OWNER_PAYLOAD = Struct("entity_id" / Int16ul, "owner" / Int16ul, Terminated)
OWNER = Struct("entity_id" / Int16ul, "owner" / Int16ul)
OWNERS_PAYLOAD = Struct("owners" / GreedyRange(OWNER), Terminated)
ROOM_LOCKED_PAYLOAD = Struct("is_locked" / Int8ul, Terminated)
REQUEST_REFUSED_PAYLOAD = Struct("message_id" / Int16ul, "request" / Int8ul, "reason" / Int8ul, Terminated)
ROOM_READY_PAYLOAD = Struct("is_locked" / Int8ul, "pages" / GreedyBytes)
KEPT_INDEX = Struct("log_index" / Int32ul)
KEPT_CLEARED_PAYLOAD = Struct("player_id" / Int16ul, "cleared" / GreedyRange(KEPT_INDEX), Terminated)
KEPT_COPY = Struct("log_index" / Int32ul, "payload" / GreedyBytes)
"""Payload of a message as who joins later is told it (flag KEPT): the index it was written at, and what it said."""
ROOM_SHOWN_PAYLOAD = Struct("is_listed" / Int8ul, Terminated)

ENTRY_PAYLOADS: dict[EntryKind, Construct] = {
    EntryKind.PLAYER_JOINED: PLAYER_JOINED_PAYLOAD,
    EntryKind.PLAYER_LEFT: PLAYER_LEFT_PAYLOAD,
    EntryKind.HOST_CHANGED: HOST_CHANGED_PAYLOAD,
    EntryKind.ROSTER: ROSTER_PAYLOAD,
    EntryKind.PLAYER_AWAY: PLAYER_AWAY_PAYLOAD,
    EntryKind.PLAYER_BACK: PLAYER_BACK_PAYLOAD,
    EntryKind.PROPERTY_CHANGED: PROPERTY_CHANGED_PAYLOAD,
    EntryKind.PROPERTIES: PROPERTIES_PAYLOAD,
    EntryKind.ENTITY_OWNER: ENTITY_OWNER_PAYLOAD,
    EntryKind.OWNERS: OWNERS_PAYLOAD,
    EntryKind.ROOM_LOCKED: ROOM_LOCKED_PAYLOAD,
    EntryKind.REQUEST_REFUSED: REQUEST_REFUSED_PAYLOAD,
    EntryKind.ROOM_READY: ROOM_READY_PAYLOAD,
    EntryKind.KEPT_CLEARED: KEPT_CLEARED_PAYLOAD,
    EntryKind.ROOM_SHOWN: ROOM_SHOWN_PAYLOAD,
}
"""Payload of every kind of entry that the server writes."""

# --- Payloads of the messages that ask the server for something

SET_PROPERTY_PAYLOAD = Struct(
    "owner" / Int16ul,
    "is_conditional" / Int8ul,
    "version" / Int32ul,
    "key" / TEXT,
    "type" / Int8ul,
    "value" / GreedyBytes,
)
GIVE_ENTITY_PAYLOAD = Struct("entity_id" / Int16ul, "owner" / Int16ul, Terminated)
CLEAR_KEPT_PAYLOAD = Struct("log_index" / Int32ul, Terminated)
HAND_OVER_HOST_PAYLOAD = Struct("player_id" / Int16ul, Terminated)
KICK_PAYLOAD = Struct("player_id" / Int16ul, "text" / GreedyBytes)
BAN_PAYLOAD = Struct("player_id" / Int16ul, "flags" / Int8ul, "text" / GreedyBytes)
LOCK_PAYLOAD = Struct("is_locked" / Int8ul, Terminated)
SHOW_PAYLOAD = Struct("is_listed" / Int8ul, "keys" / GreedyRange(TEXT), Terminated)

REQUEST_PAYLOADS: dict[RequestKind, Construct] = {
    RequestKind.SET_PROPERTY: SET_PROPERTY_PAYLOAD,
    RequestKind.GIVE_ENTITY: GIVE_ENTITY_PAYLOAD,
    RequestKind.CLEAR_KEPT: CLEAR_KEPT_PAYLOAD,
    RequestKind.HAND_OVER_HOST: HAND_OVER_HOST_PAYLOAD,
    RequestKind.KICK: KICK_PAYLOAD,
    RequestKind.BAN: BAN_PAYLOAD,
    RequestKind.LOCK: LOCK_PAYLOAD,
    RequestKind.SHOW: SHOW_PAYLOAD,
}
"""Payload of every request."""

DATAGRAMS: dict[Kind, Construct] = {
    Kind.HELLO: HELLO,
    Kind.CHALLENGE: CHALLENGE,
    Kind.JOIN: JOIN,
    Kind.WELCOME: WELCOME,
    Kind.REFUSE: REFUSE,
    Kind.REDIRECT: REDIRECT,
    Kind.PING: PING,
    Kind.PONG: PONG,
    Kind.BYE: BYE,
    Kind.RESET: RESET,
    Kind.PATH_CHALLENGE: PATH_CHALLENGE,
    Kind.PATH_RESPONSE: PATH_RESPONSE,
    Kind.LIST: LIST,
    Kind.ROOMS: ROOMS,
    Kind.DATA: DATA,
    Kind.UPDATE: UPDATE,
}
"""Every kind and its whole layout."""
