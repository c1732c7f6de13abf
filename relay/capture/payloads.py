"""People's words inside of payloads that have a layout: entries that the server writes, and requests to it.

Payloads of one kind are walked together, a round per field, and one per item of a list. The rounds are made from the
schemas at import, and which fields are words is what `fields` says. A payload that is not as its layout says is told:
where its words begin and end nobody can say then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from construct import Construct, FormatField, GreedyBytes, GreedyRange, Prefixed, Renamed, Terminated

from protocol import schemas
from protocol.constants import MAX_SLOTS, NO_PLAYER, PropertyType
from relay.capture.fields import ENTRY_PREFIX, REQUEST_PREFIX, Secrecy, secrecy_of
from relay.columns import Bools, Bytes, Ints, places, windows


@dataclass
class Runs:
    """Runs of bytes of a buffer, gathered piece by piece."""

    start: list[Ints] = field(default_factory=lambda: [np.zeros(0, np.int64)])
    """Where runs begin in the buffer, bytes, (n,) each."""
    stop: list[Ints] = field(default_factory=lambda: [np.zeros(0, np.int64)])
    """Behind their last bytes, (n,) each; not above `start` for a run of nothing."""

    def add(self, start: Ints, stop: Ints, which: Bools | slice = slice(None)) -> None:
        self.start.append(start[which])
        self.stop.append(stop[which])

    def joined(self) -> tuple[Ints, Ints]:
        """Return where all runs begin and end, (n,) each."""
        return np.concatenate(self.start), np.concatenate(self.stop)


class Round(Protocol):
    """One field of payloads, or a list of them."""

    def pass_over(self, buffer: Bytes, at: Ints, end: Ints, texts: Runs) -> Ints:
        """Pass over the field, from `at`, in payloads that end at `end`, (n,), and add it to `texts` if it is words.

        Returns: where the next one begins, (n,). Beyond `end` of a payload that does not go on as its layout says, and
            of one of which `at` was there already.
        """


@dataclass(frozen=True)
class _Number:
    size: int
    permitted: Bools | None
    """Which values it may have, by value; None for all."""

    def pass_over(self, buffer: Bytes, at: Ints, end: Ints, texts: Runs) -> Ints:
        stop = at + self.size
        if self.permitted is None:
            return stop
        here = np.where(stop <= end, at, 0)
        value = buffer[here] if self.size == 1 else windows(buffer, "<u2")[here]
        return np.where(self.permitted[value] | (stop > end), stop, end + 1)


@dataclass(frozen=True)
class _BehindLength:
    is_text: bool

    def pass_over(self, buffer: Bytes, at: Ints, end: Ints, texts: Runs) -> Ints:
        start = at + 1
        has_length = start <= end
        stop = start + np.where(has_length, buffer[np.where(has_length, at, 0)], 0)
        if self.is_text:
            texts.add(start, stop, stop <= end)
        return stop


@dataclass(frozen=True)
class _Rest:
    is_text: bool

    def pass_over(self, buffer: Bytes, at: Ints, end: Ints, texts: Runs) -> Ints:
        if self.is_text:
            texts.add(at, end)
        return np.maximum(at, end)


@dataclass(frozen=True)
class _List:
    item: tuple[Round, ...]
    """At least one byte."""

    def pass_over(self, buffer: Bytes, at: Ints, end: Ints, texts: Runs) -> Ints:
        stop = at.copy()
        going = places(stop < end)
        while len(going):
            stop[going] = _pass_over_all(self.item, buffer, stop[going], end[going], texts)
            going = going[stop[going] < end[going]]
        return stop


def _pass_over_all(rounds: tuple[Round, ...], buffer: Bytes, at: Ints, end: Ints, texts: Runs) -> Ints:
    for one in rounds:
        at = one.pass_over(buffer, at, end, texts)
    return at


def find_texts(rounds: tuple[Round, ...], buffer: Bytes, at: Ints, end: Ints, texts: Runs) -> Bools:
    """Find the words in payloads of one kind, each from `at` to `end`, (n,).

    Args:
        rounds: Of the kind, from `ENTRIES` or `REQUESTS`.
        texts: The words are added to it, also those before the place where a payload is not as its layout says.
    Returns: which are as their layout says, (n,).
    """
    stop: Bools = _pass_over_all(rounds, buffer, at, end, texts) == end
    return stop


def _build(part: Construct, path: str, permitted: Mapping[str, Bools]) -> tuple[Round, ...]:
    """Make the rounds of a schema. Raises: TypeError for a class that has no round yet."""
    rounds: list[Round] = []
    for sub in part.subcons:
        if sub is Terminated:  # that nothing follows is seen at the end
            continue
        if not isinstance(sub, Renamed):
            raise TypeError(f"{path!r} has a field without a name")
        name, inner = f"{path}.{sub.name}", sub.subcon
        is_text = secrecy_of(name) is not Secrecy.PUBLIC  # what nobody classified is taken as words
        if isinstance(inner, FormatField) and not is_text:
            rounds.append(_Number(inner.length, permitted.get(sub.name)))
        elif isinstance(inner, Prefixed) and inner.lengthfield.length == 1 and inner.subcon is GreedyBytes:
            rounds.append(_BehindLength(is_text))
        elif inner is GreedyBytes:
            rounds.append(_Rest(is_text))
        elif isinstance(inner, GreedyRange):
            item = (_BehindLength(is_text),) if inner.subcon is schemas.TEXT else _build(inner.subcon, name, permitted)
            rounds.append(_List(item))
        else:
            raise TypeError(f"{name!r} is of the class {type(inner).__name__}, in which nobody finds words yet")
    return tuple(rounds)


def _build_all(
    payloads: Mapping[Any, Construct], prefix: str, permitted: Mapping[str, Bools]
) -> dict[int, tuple[Round, ...]]:
    return {int(kind): _build(schema, f"{prefix}.{kind.name.lower()}", permitted) for kind, schema in payloads.items()}


def _up_to(last: int, size: int, *more: int) -> Bools:
    table = np.zeros(1 << 8 * size, np.bool_)
    table[: last + 1] = True
    table[list(more)] = True
    return table


_OWNER, _TYPE = _up_to(MAX_SLOTS - 1, 2, NO_PLAYER), _up_to(max(PropertyType), 1)
_OF_AN_ENTRY = {"owner": _OWNER, "type": _TYPE}
_OF_A_REQUEST = _OF_AN_ENTRY | {
    "player_id": _up_to(MAX_SLOTS - 1, 2),
    "is_conditional": _up_to(1, 1),
    "is_locked": _up_to(1, 1),
    "is_listed": _up_to(1, 1),
}
"""What numbers may be. Words may stand there: where a length before them is wrong, and in whatever a client sends."""
ENTRIES = _build_all(schemas.ENTRY_PAYLOADS, ENTRY_PREFIX, _OF_AN_ENTRY)
"""Rounds by the kind of an entry that the server writes."""
REQUESTS = _build_all(schemas.REQUEST_PAYLOADS, REQUEST_PREFIX, _OF_A_REQUEST)
"""Rounds by the kind of a message that asks it for something."""
