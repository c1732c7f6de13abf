"""Where every field of a datagram stands, read along the construct schemas themselves.

`protocol.codec` gives a value or a reason. This gives the same value with the place of each part, as far as the bytes
can be read, and the place where they cannot be read further. It knows the few construct classes that the schemas may
use; tests hold it against the codec, so a schema that uses another class is noticed.
"""

import struct
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from construct import Construct, Container

from protocol import schemas
from protocol.constants import Kind

MIN_BYTES = 2
"""kind and shard: less is no datagram."""


class Field(NamedTuple):
    """One leaf of a datagram."""

    path: str
    """As in the schema: "sections[0].body.header.count"."""
    offset: int
    """In the datagram, bytes."""
    size: int
    """Bytes."""
    value: Any
    """int, or bytes."""


@dataclass
class Reading:
    """What could be read of a datagram."""

    fields: list[Field] = field(default_factory=list)
    """In wire order."""
    value: Any = None
    """All of it as nested Containers and lists, equal to the codec's; None if it could not be read to the end."""
    stopped_at: int | None = None
    """Offset where it could not be read further, bytes; None if it was read to the end."""
    why: str = ""
    """Why not further."""


class _Stop(Exception):
    """The bytes do not go on as the schema says. Never leaves this module."""

    def __init__(self, offset: int, why: str) -> None:
        super().__init__(why)
        self.offset = offset
        self.why = why


def read_fields(data: bytes) -> Reading:
    """Read a datagram of any kind as far as its layout holds. Raises: nothing, whatever the bytes."""
    reading = Reading()
    schema = schemas.DATAGRAMS.get(Kind(data[0])) if data and data[0] in _KINDS else None
    if schema is None or len(data) < MIN_BYTES:
        reading.stopped_at = 0
        reading.why = f"kind {data[0]} is not given" if len(data) >= MIN_BYTES else "shorter than kind and shard"
        return reading
    walker = _Walker(data, reading.fields)
    try:
        reading.value, _ = walker.walk(schema, 0, len(data), Container(), "")
    except _Stop as stop:
        reading.stopped_at, reading.why = stop.offset, stop.why
    return reading


_KINDS = frozenset(int(kind) for kind in schemas.DATAGRAMS)


class _Walker:
    """Reads one datagram. Every `_walk_X` takes (part, at, end, scope, path) and returns (value, where it ended)."""

    def __init__(self, data: bytes, fields: list[Field]) -> None:
        self._data = data
        self._fields = fields

    def walk(self, part: Any, at: int, end: int, scope: Any, path: str) -> tuple[Any, int]:
        """Read a part of the schema from `at`, not beyond `end`. `scope`: what construct calls the context."""
        result: tuple[Any, int] = getattr(self, f"_walk_{type(part).__name__}")(part, at, end, scope, path)
        return result

    def _leaf(self, path: str, at: int, size: int, value: Any) -> tuple[Any, int]:
        self._fields.append(Field(path, at, size, value))
        return value, at + size

    def _walk_Renamed(self, part: Any, at: int, end: int, scope: Any, path: str) -> tuple[Any, int]:
        return self.walk(part.subcon, at, end, scope, path)

    def _walk_Struct(self, part: Any, at: int, end: int, scope: Any, path: str) -> tuple[Any, int]:
        inner, value = Container(_=scope), Container()
        for sub in part.subcons:
            inside = f"{path}.{sub.name}" if path and sub.name else sub.name or path
            read, at = self.walk(sub, at, end, inner, inside)
            if sub.name:
                inner[sub.name] = value[sub.name] = read
        return value, at

    def _walk_FormatField(self, part: Any, at: int, end: int, scope: Any, path: str) -> tuple[Any, int]:
        size = part.length
        if at + size > end:
            raise _Stop(at, f"{path} needs {_bytes_text(size)}, {end - at} left")
        return self._leaf(path, at, size, struct.unpack_from(part.fmtstr, self._data, at)[0])

    def _walk_Bytes(self, part: Any, at: int, end: int, scope: Any, path: str) -> tuple[Any, int]:
        size = _number(part.length, scope)
        if at + size > end:
            raise _Stop(at, f"{path} needs {_bytes_text(size)}, {end - at} left")
        return self._leaf(path, at, size, self._data[at : at + size])

    def _walk_GreedyBytes(self, part: Any, at: int, end: int, scope: Any, path: str) -> tuple[Any, int]:
        return self._leaf(path, at, end - at, self._data[at:end])

    def _walk_GreedyRange(self, part: Any, at: int, end: int, scope: Any, path: str) -> tuple[Any, int]:
        values: list[Any] = []
        while at < end:
            value, at = self.walk(part.subcon, at, end, scope, f"{path}[{len(values)}]")
            values.append(value)
        return values, at

    def _walk_Array(self, part: Any, at: int, end: int, scope: Any, path: str) -> tuple[Any, int]:
        values: list[Any] = []
        for i in range(_number(part.count, scope)):
            value, at = self.walk(part.subcon, at, end, scope, f"{path}[{i}]")
            values.append(value)
        return values, at

    def _walk_Prefixed(self, part: Any, at: int, end: int, scope: Any, path: str) -> tuple[Any, int]:
        size, begin = self.walk(part.lengthfield, at, end, scope, f"{path}.length")
        if begin + size > end:
            raise _Stop(at, f"{path} says {_bytes_text(size)}, {end - begin} left")
        value, _ = self.walk(part.subcon, begin, begin + size, scope, path)
        return value, begin + size

    def _walk_Padded(self, part: Any, at: int, end: int, scope: Any, path: str) -> tuple[Any, int]:
        value, read_to = self.walk(part.subcon, at, end, scope, path)
        if at + part.length > end:
            raise _Stop(end, f"padding to {_bytes_text(part.length)} is missing")
        self._leaf("padding", read_to, at + part.length - read_to, self._data[read_to : at + part.length])
        return value, at + part.length

    def _walk_Switch(self, part: Any, at: int, end: int, scope: Any, path: str) -> tuple[Any, int]:
        return self.walk(part.cases.get(part.keyfunc(scope), part.default), at, end, scope, path)

    def _walk_Terminated(self, part: Any, at: int, end: int, scope: Any, path: str) -> tuple[Any, int]:
        if at < end:
            raise _Stop(at, f"{_bytes_text(end - at)} too many{f' in {path}' if path else ''}")
        return None, at


def _number(length: Any, scope: Any) -> int:
    """Evaluate a length or count: a number, or an expression such as this.header.count."""
    return int(length(scope)) if callable(length) else int(length)


def _bytes_text(count: int) -> str:
    return f"{count} byte" if count == 1 else f"{count} bytes"


def plain(value: Any, name: str = "") -> Any:
    """Turn a value of the codec into what JSON holds: bytes in hex, numbers of 64 bits as "0x" and 16 digits.

    A number of 64 bits is a name of something, and readers of JSON that keep numbers as floats would change it.
    """
    if isinstance(value, dict):
        return {key: plain(item, key) for key, item in value.items() if not str(key).startswith("_")}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return id_text(value) if name in ID_NAMES else int(value)


def id_text(number: int) -> str:
    """Write a number of 64 bits: session, nonce, challenge."""
    return f"0x{number:016x}"


def _names_of_u64(schema: Construct) -> set[str]:
    names = set()
    for part in getattr(schema, "subcons", []):
        inner = getattr(part, "subcon", part)
        if getattr(inner, "fmtstr", "") == "<Q":
            names.add(part.name)
        names |= _names_of_u64(inner)
    return names | (_names_of_u64(schema.subcon) if hasattr(schema, "subcon") else set())


ID_NAMES = frozenset(set().union(*(_names_of_u64(schema) for schema in schemas.DATAGRAMS.values())))
"""Names of the fields of 64 bits."""
