"""Meanings that bytes alone do not show: sequence numbers, ack bits, shards, proofs, pages, ages.

Expected values are literals, or plain arithmetic that shares nothing with `protocol/`.
"""

from typing import Any

from protocol import schemas
from tools.generate import vector_values as cases


def build() -> dict[str, Any]:
    """Make all meaning vectors but those of pages and logs, under the names they have in the file."""
    return {
        "sequence_extend": _named(("low", "near", "whole"), _EXTEND),
        "receive_windows": _WINDOWS,
        "ack_bits": _named(("received", "ack_whole", "ack", "ack_bits"), _ACK_BITS),
        "acked": _named(("ack", "ack_bits", "newest_sent", "acked_whole"), _ACKED),
        "ack_delays": _named(("sent_ms", "ack_arrived_ms", "ack_delay", "round_trip_ms"), _ACK_DELAYS),
        "message_bits": _named(("message_ack", "message_bits", "arrived", "missing_before_newest"), _MESSAGE_BITS),
        "log_bits": _named(("cursor", "complete", "words"), _LOG_BITS),
        "versions": _named(("client_min", "client_max", "server_min", "server_max", "chosen", "update"), _VERSIONS),
        "shards": [{"code": code, "shard": _shard(code)} for code in _CODES],
        "room_keys": [{"password": password, "room_key": _room_key(password).hex()} for password in _PASSWORDS],
        "join_proofs": _join_proofs(),
        "resume_proofs": _resume_proofs(),
        "path_proofs": _path_proofs(),
        "entity_ids": _named(("local_index", "player_slots", "player_id", "entity_id"), _ENTITY_IDS),
        "page_ids": _named(("max_state_bytes", "page_ids"), _PAGE_IDS),
        "num_pages": _named(("player_slots", "entities_per_player", "max_state_bytes", "num_pages"), _NUM_PAGES),
        "page_of": _named(("entity_id", "page_ids", "page"), _PAGE_OF),
        "ages": _named(("tick", "tick_rate", "age", "sample_ms", "or_older"), _AGES),
        "age_of_delay": _named(("tick_ms", "sample_ms", "age"), _AGE_OF_DELAY),
        "sample_times": _named(("server_ms", "sample_ms", "taken_ms"), _SAMPLE_TIMES),
        "parts": _named(("part", "number", "more"), _PARTS),
        "signal_fragments": _named(("fragment", "number", "last", "valid"), _SIGNAL_FRAGMENTS),
        "newest_first": _NEWEST_FIRST,
        "signal_positions": _named(("flags", "position", "done", "handed_over"), _SIGNAL_POSITIONS),
    }


def _named(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in rows]


_EXTEND = [
    (1, 0, 1),
    (5, 5, 5),
    (65_535, 65_534, 65_535),
    (0, 65_535, 65_536),
    (65_535, 65_536, 65_535),
    (3, 131_070, 131_075),
    (65_530, 131_075, 131_066),
    (7_231, 40_000, 72_767),
    (7_232, 40_000, 7_232),  # exactly 32,768 away: the lower
    (65_535, 1, -1),  # below the first number: refused by the caller
    (34_464, 4_294_936_000, 4_294_936_224),
]
_WINDOWS = [
    {
        "name": "each number is accepted once, late ones within 64",
        "arrivals": [
            {"seq": 1, "result": "new"},
            {"seq": 3, "result": "new"},
            {"seq": 2, "result": "new"},
            {"seq": 2, "result": "duplicate"},
            {"seq": 67, "result": "new"},
            {"seq": 3, "result": "too_old"},
            {"seq": 4, "result": "new"},
            {"seq": 4, "result": "duplicate"},
            {"seq": 67, "result": "duplicate"},
        ],
        "ack_whole": 67,
        "ack_bits": 0,
    },
    {
        "name": "a jump over the whole window forgets what was in it",
        "arrivals": [
            {"seq": 1, "result": "new"},
            {"seq": 2, "result": "new"},
            {"seq": 1_000, "result": "new"},
            {"seq": 998, "result": "new"},
            {"seq": 936, "result": "too_old"},
            {"seq": 937, "result": "new"},
        ],
        "ack_whole": 1_000,
        "ack_bits": 2,
    },
]
_ACK_BITS = [
    ([1], 1, 1, 0),
    ([1, 2], 2, 2, 0b1),
    ([1, 3], 3, 3, 0b10),
    ([1, 2, 3, 5], 5, 5, 0b1110),
    ([1, 34], 34, 34, 0),
    ([2, 34], 34, 34, 2_147_483_648),
    (list(range(1, 41)), 40, 40, 4_294_967_295),
    ([65_535, 65_537, 65_538], 65_538, 2, 0b101),
]
_ACKED = [
    (5, 0, 9, [5]),
    (5, 0b1011, 9, [5, 4, 3, 1]),
    (1, 4_294_967_295, 9, [1]),  # there is no datagram before 1
    (34, 2_147_483_648, 40, [34, 2]),
    (2, 0b101, 65_540, [65_538, 65_537, 65_535]),
]
_ACK_DELAYS = [(1_000, 1_080, 30, 50), (1_000, 1_080, 0, 80), (1_000, 1_600, 254, 346), (1_000, 1_600, 255, None)]
_MESSAGE_BITS = [
    (0, 0, [], []),
    (5, 0, [], []),
    (5, 0b1, [6], []),
    (5, 0b101, [6, 8], [7]),
    (5, 0b1000, [9], [6, 7, 8]),
    (0, 2_147_483_648, [32], list(range(1, 32))),
]
_LOG_BITS = [
    (0, [1], [1]),
    (10, [12], [0b10]),
    (10, [11, 13], [0b101]),
    (10, [42], [2_147_483_648]),
    (10, [43], [0, 1]),
    (10, [266], [0, 0, 0, 0, 0, 0, 0, 2_147_483_648]),
    (65_535, [65_537, 65_539], [0b1010]),
]
_VERSIONS = [
    (1, 1, 1, 1, 1, None),
    (1, 5, 3, 9, 5, None),
    (3, 9, 1, 5, 5, None),
    (1, 2, 3, 4, None, "game"),
    (5, 6, 3, 4, None, "server"),
    (6, 5, 3, 9, None, "game"),  # no valid range
]
_CODES = ["", "A", "B", "LOBBY", "ABCDEF", "Z9-", "----------------", "0123456789ABCDEF"]
_PASSWORDS = ["open sesame", "a", "päßwörd"]
_ENTITY_IDS = [
    (0, 32, 3, 3),
    (1, 32, 3, 35),
    (3, 32, 31, 127),
    (255, 256, 255, 65_535),
    (0, 2, 1, 1),
    (127, 512, 511, 65_535),
]
_PAGE_IDS = [(1, 123), (2, 111), (8, 69), (16, 46), (24, 34), (32, 27), (48, 19), (64, 15), (128, 8), (255, 4)]
_NUM_PAGES = [
    (2, 1, 1, 1),
    (32, 1, 32, 2),
    (27, 1, 32, 1),
    (28, 1, 32, 2),
    (128, 32, 48, 216),
    (16, 256, 255, 1_024),
    (512, 128, 255, 16_384),  # more than 1,024: such a room is refused
]
_PAGE_OF = [(0, 27, 0), (26, 27, 0), (27, 27, 1), (65_535, 123, 532), (4_095, 4, 1_023)]
_AGES = [
    (300, 30, 0, 10_000, False),
    (300, 30, 5, 9_990, False),
    (300, 30, 254, 9_492, False),
    (300, 30, 255, 9_490, True),
    (61, 50, 8, 1_204, False),
]
_AGE_OF_DELAY = [
    (10_000, 10_000, 0),
    (10_000, 9_990, 5),
    (10_000, 9_492, 254),
    (10_000, 9_490, 255),
    (10_000, 9_000, 255),
]
_SAMPLE_TIMES = [
    (70_000, 4_464, 70_000),
    (70_000, 4_400, 69_936),
    (70_000, 3_464, 69_000),
    (70_000, 2_464, 69_000),  # older than a second: moved to the edge
    (70_000, 5_000, 70_000),  # from the future: now
    (65_636, 65_500, 65_500),  # the low 16 bits have wrapped in between
]
_PARTS = [(0, 0, False), (0x8000, 0, True), (0x8001, 1, True), (2, 2, False), (0x83FF, 1_023, True)]
_SIGNAL_FRAGMENTS = [
    (0x00, 0, 0, True),
    (0x10, 0, 1, True),
    (0x11, 1, 1, True),
    (0x77, 7, 7, True),
    (0x12, 2, 1, False),
    (0x80, 0, 8, False),
]
_NEWEST_FIRST = [
    {
        "name": "an older signal of the same sender and channel is dropped, a plain one never",
        "arrivals": [
            {"sender": 1, "channel": 0, "sequence": 5, "flags": 1, "handed_over": True},
            {"sender": 1, "channel": 0, "sequence": 4, "flags": 1, "handed_over": False},
            {"sender": 1, "channel": 1, "sequence": 3, "flags": 1, "handed_over": True},
            {"sender": 2, "channel": 0, "sequence": 1, "flags": 1, "handed_over": True},
            {"sender": 1, "channel": 0, "sequence": 2, "flags": 0, "handed_over": True},
            {"sender": 1, "channel": 0, "sequence": 6, "flags": 1, "handed_over": True},
        ],
    },
    {
        "name": "sequence numbers wrap",
        "arrivals": [
            {"sender": 1, "channel": 0, "sequence": 65_535, "flags": 1, "handed_over": True},
            {"sender": 1, "channel": 0, "sequence": 0, "flags": 1, "handed_over": True},
            {"sender": 1, "channel": 0, "sequence": 65_534, "flags": 1, "handed_over": False},
        ],
    },
]
_SIGNAL_POSITIONS = [
    (0, 0, 0, True),
    (0, 0, 40_000, True),  # without the flag the field means nothing
    (2, 5, 5, True),
    (2, 5, 6, True),
    (2, 6, 5, False),
    (2, 0, 65_535, False),  # 65,536
    (2, 65_535, 65_536, True),
]


def _shard(code: str) -> int:
    """The polynomial that the rule of SPEC 2 evaluates."""
    return sum(byte * 31**power for power, byte in enumerate(reversed(code.encode()))) % 256


def _room_key(password: str) -> bytes:
    return cases.hmac_sha256(b"tickrelay room key", password.encode())


def _u64(number: int) -> dict[str, str]:
    return {"u64": str(number), "bytes": number.to_bytes(8, "little").hex()}


def _join_proofs() -> list[dict[str, Any]]:
    result = []
    for password, nonce in (("open sesame", cases.NONCE), ("open sesame", 2**64 - 1), ("päßwörd", 1)):
        message = b"join" + cases.COOKIE + nonce.to_bytes(8, "little")
        proof = cases.hmac_sha256(_room_key(password), message)[:16].hex()
        result.append({"password": password, "cookie": cases.COOKIE.hex(), "nonce": _u64(nonce), "proof": proof})
    return result


def _resume_proofs() -> list[dict[str, Any]]:
    result = []
    for nonce, session in ((cases.NONCE, cases.OLD_SESSION), (2**64 - 1, 2**64 - 1), (1, 1 << 63)):
        message = b"resume" + cases.COOKIE + nonce.to_bytes(8, "little") + session.to_bytes(8, "little")
        proof = cases.hmac_sha256(cases.SECRET, message)[:16].hex()
        numbers = {"cookie": cases.COOKIE.hex(), "nonce": _u64(nonce), "session": _u64(session)}
        result.append({"secret": cases.SECRET.hex(), **numbers, "proof": proof})
    return result


def _path_proofs() -> list[dict[str, Any]]:
    result = []
    for challenge, session in ((0x0102030405060708, cases.SESSION), (2**64 - 1, 1)):
        message = b"path" + challenge.to_bytes(8, "little") + session.to_bytes(8, "little")
        proof = cases.hmac_sha256(cases.SECRET, message)[:16].hex()
        numbers = {"challenge": _u64(challenge), "session": _u64(session)}
        result.append({"secret": cases.SECRET.hex(), **numbers, "proof": proof})
    return result


def _page_case(
    name: str, before: tuple[int, dict[int, str]], tick: int, value: dict[str, Any], result: str, after: dict[int, str]
) -> dict[str, Any]:
    """One page section that meets a table. before: (tick applied of this page, id -> state in hex, any page)."""
    applied_tick, table = before
    return {
        "name": name,
        "page_ids": 27,
        "applied_tick": applied_tick,
        "table": {str(key): state for key, state in table.items()},
        "tick": tick,
        "section": schemas.PAGE_SECTION.build(value).hex(),
        "result": result,
        "applied_tick_after": tick if result == "applied" else applied_tick,
        "table_after": {str(key): state for key, state in after.items()},
    }


def page_cases() -> list[dict[str, Any]]:
    """Make the cases of SPEC 8: what a receiver's table is after a page section, and whether the section applies."""
    page = cases.page
    two = {3: "aaaa", 30: "bbbb"}
    return [
        _page_case(
            "the first section of a page", (0, {}), 50, page(0, 0, (0, {3: b"\xaa\xaa"})), "applied", {3: "aaaa"}
        ),
        _page_case(
            "since 0: what is absent is gone, other pages stay",
            (40, {3: "aaaa", 4: "cccc", 30: "bbbb"}),
            50,
            page(0, 0, (0, {4: b"\xdd"})),
            "applied",
            {4: "dd", 30: "bbbb"},
        ),
        _page_case("since 0 and empty: the page is cleared", (40, two), 50, page(1, 0), "applied", {3: "aaaa"}),
        _page_case(
            "what changed since the tick applied",
            (40, two),
            50,
            page(0, 40, (0, {5: b"\x01"})),
            "applied",
            {**two, 5: "01"},
        ),
        _page_case(
            "since may be older than the tick applied",
            (40, two),
            50,
            page(0, 20, (0, {3: b"\x01"})),
            "applied",
            {3: "01", 30: "bbbb"},
        ),
        _page_case(
            "removals, also of what is not there", (40, two), 50, page(0, 40, removed=(3, 9)), "applied", {30: "bbbb"}
        ),
        _page_case(
            "removed and in a group: it lives",
            (40, two),
            50,
            page(0, 40, (0, {3: b"\x07"}), removed=(3,)),
            "applied",
            {3: "07", 30: "bbbb"},
        ),
        _page_case(
            "two groups of different length",
            (40, {}),
            50,
            page(0, 40, (0, {1: b"\x01"}), (0, {2: b"\x02\x03", 4: b"\x04\x05"})),
            "applied",
            {1: "01", 2: "0203", 4: "0405"},
        ),
        _page_case("the same tick again is ignored", (50, two), 50, page(0, 0), "ignored", two),
        _page_case("an older tick is ignored", (50, two), 49, page(0, 0, (0, {3: b"\x01"})), "ignored", two),
        _page_case(
            "since is newer than the tick applied: the datagram is dropped", (40, two), 50, page(0, 41), "dropped", two
        ),
        _page_case("the same for a page never applied", (0, {}), 50, page(0, 1), "dropped", {}),
    ]
