"""What is printed of a datagram: a line, its whole structure, its bytes with the fields marked, or an object of JSON.

A piece of text comes with a style; the styles become colour on a terminal where rich is installed, and nothing in a
pipe.
"""

import json
from collections.abc import Iterator
from typing import Any, TextIO

from protocol.drops import DropReason
from tools.dump.datagrams import Direction
from tools.dump.fields import ID_NAMES, Field, id_text, plain, read_fields
from tools.dump.sessions import HEADERS, Seen, label_of
from tools.dump.words import Meanings, say, say_header

HEADING = f"{'time s':>12}  {'way':4}  {'room':16}  {'player':18}  {'kind':14}  {'bytes':>5}  what"
BYTES_A_ROW = 16
Text = list[tuple[str, str]]
"""Pieces of one line: (text, style of rich, may be empty)."""

_DIM, _BAD, _DROPPED = "dim", "bold red", "yellow"
_WAY_STYLES = {Direction.UP: "cyan", Direction.DOWN: "green", Direction.UNKNOWN: ""}


def line_of(seen: Seen, begin_s: float) -> Text:
    """Write a datagram as one line. `begin_s`: when time is 0, seconds since 1970."""
    datagram = seen.datagram
    way = _WAY_STYLES[seen.direction]
    label = label_of(seen.session, seen.attempt)
    parts: Text = [
        (f"{datagram.time_s - begin_s:12.6f}  ", _DIM),
        (f"{seen.direction.value:4}  ", way),
        (f"{seen.room or '-':16}  {label:18}  ", ""),
        (f"{seen.kind_name:14}  ", way),
        (f"{datagram.size:5}  ", ""),
    ]
    value = seen.value()
    header = HEADERS.get(seen.kind)
    if not isinstance(value, DropReason):
        parts.append((say(value), ""))
    elif header is not None and len(datagram.data) >= header.size:
        parts.append((say_header(seen.kind, header.decode(datagram.data)), ""))
    if seen.problem is not None:
        parts.append((f"  !! {seen.problem}", _BAD))
    elif seen.dropped is not None:
        parts.append((f"  dropped: {seen.dropped.name}, {seen.dropped_text}", _DROPPED))
    elif seen.ahead > 1:
        parts.append((f"  after a gap of {seen.ahead - 1}", _DROPPED))
    elif seen.ahead < 0:
        parts.append((f"  late by {-seen.ahead}", _DROPPED))
    if seen.round_trip_s is not None:
        parts.append((f"  rtt {seen.round_trip_s * 1000:.1f} ms", _DIM))
    return parts


def structure_of(seen: Seen) -> Iterator[Text]:
    """Write every field of a datagram, as far as it can be read, one a line."""
    meanings = Meanings(seen.kind)
    for part in read_fields(seen.datagram.data).fields:
        yield [(f"    {part.offset:4}  ", _DIM), *_field_text(part, meanings)]
    if seen.problem is not None:
        yield [(f"    {seen.problem}", _BAD)]


def hex_of(seen: Seen) -> Iterator[Text]:
    """Write the bytes of a datagram, one field after the other, and what could not be read."""
    data = seen.datagram.data
    reading = read_fields(data)
    meanings = Meanings(seen.kind)
    at = 0
    for part in reading.fields:
        yield from _hex_rows(data, part.offset, part.size, _field_text(part, meanings))
        at = part.offset + part.size
    if at < len(data):
        what = f"not read: {reading.why}" if reading.stopped_at is not None else "ignored"
        yield from _hex_rows(data, at, len(data) - at, [(what, _BAD if reading.stopped_at is not None else _DIM)])


def _hex_rows(data: bytes, begin: int, size: int, text: Text) -> Iterator[Text]:
    for at in range(begin, begin + max(size, 1), BYTES_A_ROW):
        row = data[at : min(at + BYTES_A_ROW, begin + size)]
        yield [(f"    {at:04x}  ", _DIM), (f"{row.hex(' '):{3 * BYTES_A_ROW}} ", ""), *(text if at == begin else [])]


def _field_text(part: Field, meanings: Meanings) -> Text:
    name = part.path.rpartition(".")[2]
    if isinstance(part.value, bytes):
        shown = part.value.hex() if len(part.value) <= 2 * BYTES_A_ROW else f"{part.value[:BYTES_A_ROW].hex()} ..."
        shown = shown or "(empty)"
    else:
        shown = id_text(part.value) if name in ID_NAMES else str(part.value)
    meaning = meanings.of(part.path, part.value)
    return [(f"{part.path} ", "cyan"), (f"= {shown}", ""), (f"  {meaning}" if meaning else "", "bold")]


def object_of(seen: Seen) -> dict[str, Any]:
    """Build what --json prints of a datagram. `value` is exactly what the codec decodes; None if it does not."""
    datagram, session = seen.datagram, seen.session
    value = seen.value()
    is_readable = not isinstance(value, DropReason)
    shown: dict[str, Any] = {
        "number": datagram.number,
        "time": datagram.time_s,
        "direction": seen.direction.value if seen.direction is not Direction.UNKNOWN else None,
        "source": str(datagram.flow.source),
        "target": str(datagram.flow.target),
        "room": seen.room or None,
        "player": seen.player or None,
        "player_id": session.player_id if session else None,
        "session": id_text(session.session) if session else None,
        "kind": seen.kind_name,
        "bytes": datagram.size,
        "seq_whole": _whole_seq(seen),
        "ahead": seen.ahead if seen.seq is not None and seen.dropped is None else None,
        "round_trip_ms": None if seen.round_trip_s is None else round(seen.round_trip_s * 1000, 3),
        "problem": _problem_object(seen),
        "dropped": {"reason": seen.dropped.name, "text": seen.dropped_text} if seen.dropped else None,
        "value": plain(value) if is_readable else None,
    }  # fmt: skip
    if not is_readable:
        reading = read_fields(datagram.data)
        shown["read"] = {part.path: plain(part.value, part.path.rpartition(".")[2]) for part in reading.fields}
        shown["hex"] = datagram.data.hex()
    return shown


def _whole_seq(seen: Seen) -> int | None:
    """Return the whole sequence number; None where the begin of the session was not captured."""
    if seen.session is None or seen.seq is None or not seen.session.stream(seen.direction).knows_begin:
        return None
    return seen.seq


def _problem_object(seen: Seen) -> dict[str, Any] | None:
    problem = seen.problem
    if problem is None:
        return None
    return {"reason": problem.reason.name if problem.reason else "CUT", "offset": problem.offset, "text": problem.text}


class Printer:
    """Prints lines: in colour on a terminal with rich, plain otherwise."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = _console(stream) if stream.isatty() else None

    def print(self, text: Text) -> None:
        """Print one line."""
        if self._console is not None:
            from rich.text import Text as RichText

            self._console.print(RichText.assemble(*text), soft_wrap=True)
            return
        line = "".join(part for part, _ in text).rstrip()
        # A name that this terminal cannot write must not end the dump.
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")

    def print_object(self, shown: dict[str, Any]) -> None:
        """Print one object of JSON in a line."""
        self._stream.write(json.dumps(shown, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        """Hand on what was printed."""
        self._stream.flush()


def _console(stream: TextIO) -> Any:
    try:
        from rich.console import Console
    except ImportError:
        return None  # colour is all that is missing then
    return Console(file=stream, highlight=False)
