"""Whole datagrams: bytes to a value or a `DropReason`, and a value to bytes.

For cold datagrams, tools and tests. The engine reads DATA and writes UPDATE in batches through `dtypes.py`, and the
client reads UPDATE with `records.py`; tests hold all of them against this codec.
"""

import zlib
from typing import Any

from construct import ConstructError, Container

from protocol import constants, dtypes, schemas
from protocol.constants import HELLO_BYTES, MAGIC, MAX_DATAGRAM_BYTES, PING_BYTES, Kind
from protocol.drops import DropReason

_KINDS = {int(kind): schema for kind, schema in schemas.DATAGRAMS.items()}
_MIN_BYTES = {Kind.HELLO: HELLO_BYTES, Kind.PING: PING_BYTES}


def decode(data: bytes) -> Container[Any] | DropReason:
    """Decode one datagram of any kind.

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
        return DropReason.MALFORMED
    if "magic" in value and value.magic != MAGIC:
        return DropReason.BAD_MAGIC
    return value


def encode(kind: Kind, **fields: Any) -> bytes:
    """Encode one datagram of `kind`; `fields` are named as in its schema.

    Raises: ConstructError if a field is missing or does not fit. That is the caller's mistake, never the wire's.
    """
    data: bytes = schemas.DATAGRAMS[kind].build(dict(kind=kind, magic=MAGIC) | fields)
    return data


def options_of(value: Container[Any]) -> dict[int, bytes]:
    """Collect the options of a decoded JOIN or WELCOME; of a key that stands twice the first counts."""
    return {option.key: option.value for option in reversed(value.options)}


def text_bytes(text: str, limit: int) -> bytes:
    """Encode a text into at most `limit` bytes of UTF-8 without cutting a letter in two."""
    return text.encode()[:limit].decode(errors="ignore").encode()


def layout_text() -> str:
    """Describe every layout and enumeration as text: what the fingerprint is made of.

    One line a field. A change of the wire changes this text; a change of comments does not.
    """
    lines = []
    for name in sorted(vars(schemas)):
        schema = getattr(schemas, name)
        if not name.isupper() or not hasattr(schema, "subcons"):
            continue
        for field in schema.subcons:
            inner = getattr(field, "subcon", field)
            detail = getattr(inner, "fmtstr", "") or getattr(inner, "length", "")
            lines.append(f"{name}.{field.name}:{type(inner).__name__}:{detail if isinstance(detail, str | int) else ''}")
    for name in sorted(vars(constants)):
        value = getattr(constants, name)
        if isinstance(value, type) and issubclass(value, int) and value.__module__ == constants.__name__:
            lines += [f"{name}.{member.name}={int(member)}" for member in value]
        elif name.isupper() and isinstance(value, int | str | bytes) and name not in ("REVISION_MIN", "REVISION_MAX"):
            lines.append(f"{name}={value!r}")
    return "\n".join(lines) + f"\npage_space={dtypes.PAGE_SPACE_BYTES}\n"


FINGERPRINT = zlib.crc32(layout_text().encode())
"""32 bits that differ between builds whose wire differs. A warning for developers, never a condition."""
