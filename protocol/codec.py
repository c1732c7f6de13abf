"""Whole datagrams: bytes to a value or a `DropReason`, and a value to bytes.

For cold datagrams, tools and tests. The engine reads DATA and writes UPDATE in batches through `dtypes.py`, and the
client reads UPDATE with `records.py`; tests hold all of them against this codec.
"""

import zlib
from enum import EnumType
from typing import Any

from construct import Construct, ConstructError, Container

from protocol import constants, dtypes, schemas
from protocol.constants import HELLO_BYTES, MAGIC, MAX_DATAGRAM_BYTES, MAX_SECTIONS, PING_BYTES, Kind
from protocol.drops import DropReason

_KINDS = {int(kind): schema for kind, schema in schemas.DATAGRAMS.items()}
_MIN_BYTES = {
    Kind.HELLO: HELLO_BYTES,
    Kind.PING: PING_BYTES,
    Kind.DATA: dtypes.DATA_HEADER.size,
    Kind.UPDATE: dtypes.UPDATE_HEADER.size,
}


def decode(data: bytes) -> Container[Any] | DropReason:
    """Decode one datagram of any kind.

    Only what the bytes alone show is checked: sizes and counts, not the session, its window or the room's limits.

    Returns: a construct Container whose fields are those of the kind's schema (JOIN, WELCOME: `fields` and `options`;
        DATA, UPDATE: `header` and `sections`), or why it is not one.
    Raises: nothing, whatever the bytes.
    """
    if len(data) < 2:
        return DropReason.TOO_SHORT
    if len(data) > MAX_DATAGRAM_BYTES:
        return DropReason.TOO_LONG
    schema = _KINDS.get(data[0])
    if schema is None:
        return DropReason.UNKNOWN_KIND
    if len(data) < _MIN_BYTES.get(Kind(data[0]), 2):
        return DropReason.TOO_SHORT
    try:
        value = schema.parse(data)
    except ConstructError:
        return DropReason.BAD_SECTION if data[0] in (Kind.DATA, Kind.UPDATE) else DropReason.MALFORMED
    if data[0] == Kind.DATA and len(value.sections) > MAX_SECTIONS:
        return DropReason.BAD_SECTION
    if "magic" in value and value.magic != MAGIC:
        return DropReason.BAD_MAGIC
    return value


def encode(kind: Kind, **fields: Any) -> bytes:
    """Encode one datagram of `kind`; `fields` are named as in its schema.

    Raises: ConstructError if a field is missing or does not fit. That is the caller's mistake, never the wire's.
    """
    data: bytes = schemas.DATAGRAMS[kind].build({"kind": kind, "magic": MAGIC} | fields)
    return data


def options_of(value: Container[Any]) -> dict[int, bytes]:
    """Collect the options of a decoded JOIN or WELCOME; of a key that stands twice the first counts."""
    return {option.key: option.value for option in reversed(value.options)}


def text_bytes(text: str, limit: int) -> bytes:
    """Encode a text into at most `limit` bytes of UTF-8 without cutting a letter in two."""
    return text.encode()[:limit].decode(errors="ignore").encode()


def counted(text: bytes) -> bytes:
    """Put its length before a text of at most 255 bytes, as schema TEXT does."""
    return bytes((len(text),)) + text


def layout_text() -> str:
    """Describe every layout, enumeration and constant as text: what the fingerprint is made of.

    One line a schema, to its last nested field. A change of the wire changes this text; a change of comments, or the
    order of definitions, does not.
    """
    lines = []
    for name, schema in sorted(vars(schemas).items()):
        if name.isupper() and isinstance(schema, Construct):
            lines.append(f"{name}={_describe(schema)}")
    lines += [f"{kind.name}={_describe(schema)}" for kind, schema in sorted(schemas.DATAGRAMS.items())]
    for name, value in sorted(vars(constants).items()):
        if isinstance(value, EnumType):
            if value.__module__ == constants.__name__:
                members: dict[str, int] = dict(value.__members__)
                lines += [f"{name}.{member}={int(number)}" for member, number in members.items()]
        elif name.isupper() and name not in ("REVISION_MIN", "REVISION_MAX"):
            lines.append(f"{name}={''.join(sorted(value)) if isinstance(value, frozenset) else value!r}")
    return "\n".join(lines) + f"\npage_space={dtypes.PAGE_SPACE_BYTES}\n"


_DESCRIBED: dict[str, tuple[str, ...]] = {
    "Array": ("count", "subcon"),
    "Bytes": ("length",),
    "FormatField": ("fmtstr",),
    "GreedyBytes": (),
    "GreedyRange": ("subcon",),
    "Padded": ("length", "pattern", "subcon"),
    "Prefixed": ("lengthfield", "subcon"),
    "Renamed": ("name", "subcon"),
    "Struct": ("subcons",),
    "Switch": ("keyfunc", "cases", "default"),
    "Terminated": (),
}
"""Classes that the schemas may use, and which of their attributes decide the bytes."""


def _describe(part: Any) -> str:
    """Describe a schema and all below it. Raises: TypeError for a class whose attributes are not listed here."""
    if isinstance(part, list):
        return "[" + " ".join(map(_describe, part)) + "]"
    if isinstance(part, dict):
        return "{" + " ".join(f"{key}:{_describe(part[key])}" for key in sorted(part)) + "}"
    if not isinstance(part, Construct):
        return repr(part)  # a number, a name, or an expression such as this['header']['count']
    kind = type(part).__name__
    if kind not in _DESCRIBED:
        raise TypeError(f"{kind} has no line in _DESCRIBED; permitted: {', '.join(_DESCRIBED)}")
    return f"{kind}({' '.join(_describe(getattr(part, name)) for name in _DESCRIBED[kind])})"


FINGERPRINT = zlib.crc32(layout_text().encode())
"""32 bits that differ between builds whose wire differs. A warning for developers, never a condition."""
