"""How ranges of the log become what the game is handed, step by step (SPEC 9). All expected values are literals."""

from typing import Any

from protocol import schemas
from protocol.constants import EntryKind
from tools.generate.vector_values import entry, log_range

MORE = 0x8000


def _step(
    value: dict[str, Any], handed: list[tuple[int, str]], done: int | None, cursor: int, words: list[int] | None = None
) -> dict[str, Any]:
    """One range that arrives, and what is so after it.

    Args:
        value: The range.
        handed: (index, payload as text) of the entries handed over now; a fragmented message is one, whole, at the
            index of its last fragment.
        done: All up to it has been handed over; None where a message waits for its fragments, for then SPEC does not
            say whether hidden indexes and fragments right before it count.
        cursor: The cursor that the next DATA carries.
        words: Its LOG_BITS, as few words as hold them; [] = no such section.
    """
    return {
        "section": schemas.RANGE_SECTION.build(value).hex(),
        "handed_over": [{"index": index, "payload": text.encode().hex()} for index, text in handed],
        "done": done,
        "cursor": cursor,
        "log_bits": words or [],
    }


def _case(name: str, log_index: int, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "log_index": log_index, "steps": list(steps)}


def _order_cases() -> list[dict[str, Any]]:
    a, b, c = (entry(index, text) for index, text in ((1, b"a"), (2, b"b"), (3, b"c")))
    return [
        _case(
            "ranges in order",
            0,
            _step(log_range(1, 2, 0, a, b), [(1, "a"), (2, "b")], 2, 2),
            _step(log_range(3, 3, 2, c), [(3, "c")], 3, 3),
        ),
        _case(
            "ranges in the wrong order wait for each other",
            0,
            _step(log_range(3, 3, 2, c), [], 0, 0, [0b100]),
            _step(log_range(2, 2, 1, b), [], 0, 0, [0b110]),
            _step(log_range(1, 1, 0, a), [(1, "a"), (2, "b"), (3, "c")], 3, 3),
        ),
        _case(
            "a range that comes twice, and one that overlaps, are handed over once",
            0,
            _step(log_range(1, 2, 0, a, b), [(1, "a"), (2, "b")], 2, 2),
            _step(log_range(1, 2, 0, a, b), [], 2, 2),
            _step(log_range(1, 3, 0, a, b, c), [(3, "c")], 3, 3),
        ),
    ]


def _gap_cases() -> list[dict[str, Any]]:
    return [
        _case(
            "hidden indexes count as complete",
            10,
            _step(log_range(11, 14, 10), [], 14, 14),
            _step(log_range(15, 17, 14, entry(16, b"x")), [(16, "x")], 17, 17),
        ),
        _case(
            "after lies before a gap of hidden indexes: nothing waits for the gap, but the cursor does",
            10,
            _step(log_range(16, 16, 10, entry(16, b"x")), [(16, "x")], 16, 10, [0b100000]),
            _step(log_range(11, 15, 10), [], 16, 16),
        ),
        _case(
            "indexes on the wire are low 16 bits",
            65_534,
            _step(
                log_range(65_535, 65_537, 65_534, entry(65_535, b"x"), entry(65_536, b"y"), entry(65_537, b"z")),
                [(65_535, "x"), (65_536, "y"), (65_537, "z")],
                65_537,
                65_537,
            ),
        ),
        _case(
            "a range beyond a gap is taken if it ends 256 beyond the cursor, ignored if it ends further",
            10,
            _step(log_range(267, 267, 10, entry(267, b"x")), [], 10, 10),
            _step(log_range(266, 266, 265, entry(266, b"y")), [], 10, 10, [0, 0, 0, 0, 0, 0, 0, 2**31]),
            _step(log_range(11, 265, 10), [(266, "y")], 266, 266),
        ),
        _case(
            "a range without a gap is taken, however long it is",
            10,
            _step(log_range(11, 600, 10, entry(600, b"x")), [(600, "x")], 600, 600),
        ),
        _case(
            "an entry of unknown kind is passed over",
            0,
            _step(
                log_range(1, 2, 0, entry(1, b"?", kind=250, sender=65_535), entry(2, b"b")),
                [(1, "?"), (2, "b")],
                2,
                2,
            ),
        ),
    ]


def _fragment_cases() -> list[dict[str, Any]]:
    first, second, last = (
        entry(1, b"one ", part=MORE | 0),
        entry(2, b"two ", part=MORE | 1),
        entry(3, b"three", part=2),
    )
    other = {index: entry(index, b"other", sender=9) for index in (2, 3, 4)}
    uno, due = entry(2, b"uno ", part=MORE, sender=9), entry(4, b"due", part=1, sender=9)
    left = entry(2, b"\x03\x00\x01", kind=EntryKind.PLAYER_LEFT, sender=65_535)
    return [
        _case(
            "a message in three fragments counts at its last",
            0,
            _step(log_range(1, 3, 0, first, second, last), [(3, "one two three")], 3, 3),
        ),
        _case(
            "fragments hold up nobody else",
            0,
            _step(log_range(3, 3, 0, other[3]), [(3, "other")], 3, 0, [0b100]),
            _step(log_range(4, 4, 3, entry(4, b"three", part=2)), [], None, 0, [0b1100]),
            _step(log_range(2, 2, 0, second), [], None, 0, [0b1110]),
            _step(log_range(1, 1, 0, first), [(4, "one two three")], 4, 4),
        ),
        _case(
            "fragments of two senders mix",
            0,
            _step(
                log_range(1, 4, 0, first, uno, entry(3, b"two ", part=MORE | 1), due),
                [(4, "uno due")],
                4,
                4,
            ),
            _step(log_range(5, 5, 4, entry(5, b"three", part=2)), [(5, "one two three")], 5, 5),
        ),
        _case(
            "what follows the last fragment waits with it",
            0,
            _step(log_range(3, 4, 0, last, other[4]), [], None, 0, [0b1100]),
            _step(log_range(1, 1, 0, first), [], None, 1, [0b110]),
            _step(log_range(2, 2, 0, second), [(3, "one two three"), (4, "other")], 4, 4),
        ),
        _case(
            "a message unfinished when its sender leaves is thrown away, and the id may be used again",
            0,
            _step(log_range(1, 2, 0, first, left), [(2, "\x03\x00\x01")], 2, 2),
            _step(log_range(3, 4, 2, entry(3, b"new ", part=MORE), entry(4, b"one", part=1)), [(4, "new one")], 4, 4),
        ),
        _case(
            "two fragmented messages of one sender",
            0,
            _step(log_range(3, 4, 2, entry(3, b"c", part=MORE), entry(4, b"d", part=1)), [], 0, 0, [0b1100]),
            _step(log_range(1, 2, 0, entry(1, b"a", part=MORE), entry(2, b"b", part=1)), [(2, "ab"), (4, "cd")], 4, 4),
        ),
    ]


def _back_cases() -> list[dict[str, Any]]:
    """What is put aside of somebody who comes back: player 3."""
    first, afresh, going_on = (
        entry(1, b"one ", part=MORE),
        entry(2, b"\x03\x00\x01", kind=EntryKind.PLAYER_BACK, sender=65_535),
        entry(2, b"\x03\x00\x00", kind=EntryKind.PLAYER_BACK, sender=65_535),
    )
    left = entry(2, b"\x03\x00\x01", kind=EntryKind.PLAYER_LEFT, sender=65_535)
    new, one = entry(3, b"new ", part=MORE), entry(4, b"one", part=1)
    return [
        _case(
            "a message unfinished when its sender comes back afresh is thrown away",
            0,
            _step(log_range(1, 2, 0, first, afresh), [(2, "\x03\x00\x01")], 2, 2),
            _step(log_range(3, 4, 2, new, one), [(4, "new one")], 4, 4),
        ),
        *(
            _case(
                f"a fragment from before {name} is not taken for one of the next message",
                0,
                _step(log_range(1, 2, 0, first, over), [(2, over["payload"].decode())], 2, 2),
                _step(log_range(4, 4, 2, one), [], None, 2, [0b10]),
                _step(log_range(3, 3, 2, new), [(4, "new one")], 4, 4),
            )
            for name, over in (("its sender left", left), ("its sender came back afresh", afresh))
        ),
        _case(
            "its fragments are thrown away too if they arrive later",
            0,
            _step(log_range(2, 2, 0, afresh), [(2, "\x03\x00\x01")], 2, 0, [0b10]),
            _step(log_range(3, 4, 2, new, one), [(4, "new one")], 4, 0, [0b1110]),
            _step(log_range(1, 1, 0, first), [], 4, 4),
        ),
        _case(
            "a message goes on when its sender comes back and the log goes on",
            0,
            _step(log_range(1, 2, 0, first, going_on), [(2, "\x03\x00\x00")], 2, 2),
            _step(log_range(3, 3, 2, entry(3, b"two", part=1)), [(3, "one two")], 3, 3),
        ),
    ]


def log_cases() -> list[dict[str, Any]]:
    """Make all cases: each starts with the `log_index` of WELCOME, and ranges arrive one after the other."""
    return _order_cases() + _gap_cases() + _fragment_cases() + _back_cases()
