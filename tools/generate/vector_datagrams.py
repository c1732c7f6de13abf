"""Layout cases of every kind of datagram for the test vectors, and bytes that must not be taken."""

from protocol.constants import (
    AckFlag,
    ByeReason,
    DataSection,
    EntryKind,
    JoinMode,
    Kind,
    Option,
    Refusal,
    SignalFlag,
    Target,
    UpdateSection,
)
from tools.generate import vector_finding, vector_rooms
from tools.generate import vector_values as made
from tools.generate.vector_values import Case


def _joining_cases() -> list[Case]:
    challenge = {
        "kind": Kind.CHALLENGE,
        "shard": 0,
        "nonce": made.NONCE,
        "revision": 1,
        "features": 0,
        "fingerprint": 0xDEADBEEF,
        "cookie": made.COOKIE,
    }
    return [
        ("an ordinary greeting", Kind.HELLO, made.hello()),
        (
            "a greeting with the largest numbers and a name that is not ASCII",
            Kind.HELLO,
            made.hello(
                shard=255,
                nonce=2**64 - 1,
                revision_max=65_535,
                features=2**32 - 1,
                fingerprint=2**32 - 1,
                client_name=made.padded("Überflieger", 24),
            ),
        ),
        ("a cookie", Kind.CHALLENGE, challenge),
        ("join a room or create it, no options", Kind.JOIN, made.join([])),
        (
            "create a room with every option of a room, a password and an identity",
            Kind.JOIN,
            made.join(
                [
                    (Option.MAX_PLAYERS, b"\x10\x00"),
                    (Option.ENTITIES_PER_PLAYER, b"\x00\x01"),
                    (Option.MAX_STATE_BYTES, b"\x30"),
                    (Option.ROOM_KEY, made.ROOM_KEY),
                    (Option.IDENTITY, made.IDENTITY),
                    (Option.ROOM_FLAGS, b"\x01"),
                ],
                mode=JoinMode.CREATE,
            ),
        ),
        ("create a room, the server makes up its code", Kind.JOIN, made.join([], mode=1, shard=0, code=bytes(16))),
        ("join with a password", Kind.JOIN, made.join([(Option.PROOF, made.JOIN_PROOF)], mode=JoinMode.JOIN)),
        (
            "an unknown option is skipped by its length",
            Kind.JOIN,
            made.join([(200, b"later"), (1, b"\x02\x00"), (201, b"")]),
        ),
        ("a welcome", Kind.WELCOME, made.welcome([])),
        ("a welcome with an option to skip", Kind.WELCOME, made.welcome([(9, b"later")], log_index=0, tick=1)),
    ]


def _other_cold_cases() -> list[Case]:
    refuse = {"kind": Kind.REFUSE, "shard": 0, "nonce": made.NONCE, "revision_min": 1, "revision_max": 1}
    bye = {"kind": Kind.BYE, "shard": made.SHARD, "session": made.SESSION}
    pong = {
        "kind": Kind.PONG,
        "shard": 0,
        "nonce": made.NONCE,
        "revision_min": 1,
        "revision_max": 1,
        "release": made.padded("0.1.0", 16),
        "tick_rate": 30,
        "load_percent": 12,
        "players": 70_000,
        "max_players": 100_000,
        "rooms": 9_000,
        "later": b"",
    }
    redirect = {"kind": Kind.REDIRECT, "shard": 0, "nonce": made.NONCE, "host": bytes(15) + b"\x01", "port": 24545}
    path = {"kind": Kind.PATH_CHALLENGE, "shard": made.SHARD, "session": made.SESSION, "challenge": 0x0102030405060708}
    return [
        ("a refusal with a text", Kind.REFUSE, {**refuse, "reason": Refusal.ROOM_FULL, "text": b"This room is full."}),
        ("a refusal without a text", Kind.REFUSE, {**refuse, "reason": Refusal.VERSION, "text": b""}),
        ("reserved: a redirection", Kind.REDIRECT, {**redirect, "new_shard": 7}),
        ("a ping", Kind.PING, {"kind": Kind.PING, "shard": 0, "magic": b"TKRL", "nonce": made.NONCE}),
        ("a pong", Kind.PONG, pong),
        ("a pong of a region, with bytes for later", Kind.PONG, {**pong, "later": b"\x07eu-westlater"}),
        ("a player leaves", Kind.BYE, {**bye, "reason": ByeReason.LEFT, "text": b""}),
        ("the server stops", Kind.BYE, {**bye, "reason": ByeReason.SHUTDOWN, "text": "Bis später".encode()}),
        (
            "a reset",
            Kind.RESET,
            {"kind": Kind.RESET, "shard": made.SHARD, "session": made.SESSION, "reset_token": made.TOKEN},
        ),
        ("a path challenge", Kind.PATH_CHALLENGE, path),
        ("its answer", Kind.PATH_RESPONSE, {**path, "kind": Kind.PATH_RESPONSE, "proof": made.PATH_PROOF}),
    ]


def _data_cases() -> list[Case]:
    nothing = {"seq": 1, "ack": 0, "ack_bits": 0, "ack_delay": 0, "flags": int(AckFlag.NOTHING_RECEIVED)}
    many = made.data(
        (DataSection.LOG_BITS, {"words": [0b101]}),
        made.states(4_000, 4, (3, b"\x01\x02\x03\x04"), (35, b"\x05\x06\x07\x08")),
        made.states(4_010, 2, (67, b"\xaa\xbb")),
        made.states(4_010, 0, (99, b"")),
        made.message(5, b"hi"),
        made.signal_up(9, b"boom"),
    )
    return [
        ("bare, nothing received yet", Kind.DATA, made.data(**nothing)),
        ("bare, with acknowledgements", Kind.DATA, made.data()),
        (
            "two states of four bytes",
            Kind.DATA,
            made.data(made.states(65_535, 4, (3, b"\0\0\x80\x3f"), (35, b"\0\0\0\x40"))),
        ),
        ("two entities are removed", Kind.DATA, made.data(made.states(0, 0, (3, b""), (35, b"")))),
        (
            "log bits, eight words",
            Kind.DATA,
            made.data((DataSection.LOG_BITS, {"words": [1, 0, 0, 0, 0, 0, 0, 2**31]})),
        ),
        ("a message to all", Kind.DATA, made.data(made.message(1, b"hello"))),
        ("an empty message to all but one", Kind.DATA, made.data(made.message(2, b"", (7,), target=Target.ALL_BUT))),
        (
            "a message to one, channel 5",
            Kind.DATA,
            made.data(made.message(3, b"psst", (7,), target=Target.ONE, channel=5)),
        ),
        (
            "a message to a list",
            Kind.DATA,
            made.data(made.message(4, b"team", (1, 2, 511), target=Target.LIST, kind=111)),
        ),
        (
            "two fragments of a message",
            Kind.DATA,
            made.data(made.message(65_535, b"frag", more=1), made.message(0, b"ment")),
        ),
        ("a plain signal", Kind.DATA, made.data(made.signal_up(1, b"voice"))),
        (
            "a signal after message 4, newest first, to one",
            Kind.DATA,
            made.data(made.signal_up(2, b"rpc", (7,), flags=3, target=Target.ONE, after_message=4)),
        ),
        ("the last of eight fragments of a signal", Kind.DATA, made.data(made.signal_up(3, b"end", fragment=0x77))),
        ("a section of unknown type is skipped", Kind.DATA, made.data((200, b"later"), made.message(5, b"x"))),
        ("everything in one datagram", Kind.DATA, many),
    ]


def _update_cases() -> list[Case]:
    roster = bytes.fromhex("0100" + "01000003" + b"Bob".hex() + "02000105" + "Zoë!".encode().hex())
    join = made.log_range(
        65_541,
        65_543,
        65_540,
        made.entry(65_541, roster, kind=EntryKind.ROSTER, sender=65_535),
        made.entry(65_542, b"\x03\x00Ada", kind=EntryKind.PLAYER_JOINED, sender=65_535),
        made.entry(65_543, b"\x03\x00", kind=EntryKind.HOST_CHANGED, sender=65_535),
    )
    left = made.entry(65_544, b"\x02\x00\x03", kind=EntryKind.PLAYER_LEFT, sender=65_535)
    parts = made.log_range(
        1, 3, 0, made.entry(1, b"frag", part=0x8000), made.entry(2, b"me", part=0x8001), made.entry(3, b"nt", part=2)
    )
    return [
        ("bare", Kind.UPDATE, made.update()),
        ("bare, nothing received yet", Kind.UPDATE, made.update(seq=1, ack=0, ack_bits=0, ack_delay=0, flags=1)),
        ("a whole page without entities", Kind.UPDATE, made.update((UpdateSection.PAGE, made.page(0, 0)))),
        (
            "a page with a removal and a group, one id in both",
            Kind.UPDATE,
            made.update((1, made.page(0, 70_000, (3, {3: b"abcd", 7: b"efgh"}), removed=(3, 5), log_index=65_540))),
        ),
        (
            "two groups of a page",
            Kind.UPDATE,
            made.update((1, made.page(1, 70_029, (0, {27: b"\x01"}), (255, {28: b"\x02\x03", 30: b"\x04\x05"})))),
        ),
        (
            "two pages",
            Kind.UPDATE,
            made.update((1, made.page(0, 5, (1, {2: b"x"}))), (1, made.page(1023, 0, (2, {4092: b"y"})))),
        ),
        (
            "an empty range: all hidden",
            Kind.UPDATE,
            made.update((UpdateSection.LOG_RANGE, made.log_range(65_541, 65_600, 65_540))),
        ),
        ("what a player sees first", Kind.UPDATE, made.update((2, join))),
        ("a player left, timed out", Kind.UPDATE, made.update((2, made.log_range(65_544, 65_544, 65_543, left)))),
        ("a message in three fragments", Kind.UPDATE, made.update((2, parts))),
        ("a plain signal", Kind.UPDATE, made.update(made.signal_down(7, 1, b"voice"))),
        (
            "a range and a signal that waits for it",
            Kind.UPDATE,
            made.update(
                (2, made.log_range(65_541, 65_541, 65_540, made.entry(65_541, b"spawn", channel=2))),
                made.signal_down(3, 2, b"move", flags=int(SignalFlag.NEWEST_FIRST | SignalFlag.AFTER_LOG), position=5),
            ),
        ),
        (
            "a section of unknown type is skipped",
            Kind.UPDATE,
            made.update((77, b""), (1, made.page(0, 0, (9, {1: b"z"})))),
        ),
    ]


def datagram_cases() -> list[Case]:
    """All layout cases: (name, kind, value)."""
    return [
        *_joining_cases(),
        *_other_cold_cases(),
        *_data_cases(),
        *_update_cases(),
        *vector_rooms.room_cases(),
        *vector_finding.finding_cases(),
    ]


_DATA_26 = "10b80c001032547698badcfe0a000500000007000400" + "01000000"
_UPDATE_32 = "11b80b001032547698badcfe0c00010000001400" + "8e110100" + "0400" + "02000000" + "2400"
REFUSED_CASES: list[tuple[str, str, str]] = [
    ("nothing", "", "TOO_SHORT"),
    ("one byte", "01", "TOO_SHORT"),
    ("kind 0", "0000", "UNKNOWN_KIND"),
    ("kind 15 is not given yet", "0f00", "UNKNOWN_KIND"),
    ("the top bit of kind is kept for sealed traffic", "90b8" + _DATA_26[4:], "UNKNOWN_KIND"),
    ("1,201 bytes", "10b8" + "00" * 1199, "TOO_LONG"),
    ("a HELLO of 255 bytes", "0100" + b"TKRL".hex() + "00" * 249, "TOO_SHORT"),
    ("a HELLO with another magic", "0100" + b"TKRX".hex() + "00" * 250, "BAD_MAGIC"),
    ("a PING of 127 bytes", "0700" + b"TKRL".hex() + "00" * 121, "TOO_SHORT"),
    ("a PING with another magic", "0700" + "00" * 126, "BAD_MAGIC"),
    ("a BYE whose text is longer than the datagram", "09b8" + "00" * 8 + "01" + "05" + "61", "MALFORMED"),
    ("a BYE with a byte too many", "09b8" + "00" * 8 + "01" + "01" + "6161", "MALFORMED"),
    ("a RESET with a byte too many", "0ab8" + "00" * 25, "MALFORMED"),
    ("a JOIN cut in its name", "03b8" + "00" * 82, "MALFORMED"),
    ("a JOIN cut in an option", "03b8" + "00" * 83 + "0102" + "10", "MALFORMED"),
    ("a LIST cut in its flags", "0d00" + "00" * 38, "MALFORMED"),
    ("a LIST cut in an option", "0d00" + "00" * 39 + "0905" + "61", "MALFORMED"),
    ("a ROOMS cut in its region", "0e00" + "00" * 20 + "0361", "MALFORMED"),
    ("a ROOMS cut in a room", "0e00" + "00" * 20 + "00" + "00" * 21 + "00" * 4, "MALFORMED"),
    (
        "a room whose tags do not fill their length",
        "0e00" + "00" * 20 + "00" + "00" * 21 + "0000020500" + "0000",
        "MALFORMED",
    ),
    ("a DATA of 25 bytes", _DATA_26[:-2], "TOO_SHORT"),
    ("a DATA with half a section header", _DATA_26 + "0100", "BAD_SECTION"),
    ("a section longer than its DATA", _DATA_26 + "030a00" + "00" * 9, "BAD_SECTION"),
    ("states that do not fill their section", _DATA_26 + "010800" + "0000" + "01" + "01" + "0300aabb", "BAD_SECTION"),
    ("fewer states than counted", _DATA_26 + "010700" + "0000" + "02" + "01" + "0300aa", "BAD_SECTION"),
    ("log bits that are no whole words", _DATA_26 + "020500" + "0000000000", "BAD_SECTION"),
    (
        "a message with fewer targets than counted",
        _DATA_26 + "030a00" + "0100" + "010000" + "03" + "0200" + "0500",
        "BAD_SECTION",
    ),
    ("an UPDATE of 31 bytes", _UPDATE_32[:-2], "TOO_SHORT"),
    ("25 sections", _DATA_26 + "c80000" * 25, "BAD_SECTION"),
    ("a page without its last group", _UPDATE_32 + "010d00" + "0000" + "00" + "00" * 8 + "00" + "01", "BAD_SECTION"),
    ("a range with half an entry", _UPDATE_32 + "021000" + "010000000100000000000000" + "01000100", "BAD_SECTION"),
]
"""(name, bytes in hex, reason of SPEC 11) of datagrams whose layout alone shows that they are wrong."""
