"""Random datagrams made from the schemas, and all fields of a decoded one under the dissector's names.

Both are written here a second time, from the schemas and not from the generator: what it forgets is missing there only.
"""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

from construct import (
    Array,
    Bytes,
    Construct,
    ConstructError,
    Container,
    FormatField,
    GreedyBytes,
    GreedyRange,
    Padded,
    Prefixed,
    Renamed,
    Struct,
    Switch,
    Terminated,
)

from protocol import codec, schemas
from protocol.constants import (
    MAX_DATAGRAM_BYTES,
    MAX_SLOTS,
    NO_PLAYER,
    DataSection,
    EntryKind,
    Kind,
    Option,
    RequestKind,
    UpdateSection,
)
from protocol.drops import DropReason

Fields = list[tuple[str, int | bytes]]

_GROUPING = ("header", "fields", "body")
_SECTIONS: dict[str, type[DataSection] | type[UpdateSection]] = {"data": DataSection, "update": UpdateSection}
_UNKNOWN_SECTION = 200
_ENTRIES, _MESSAGE = "update.log_range.entries", "data.message"
_MADE_OPTION_KEYS = (*schemas.OPTION_LAYOUTS[Kind.JOIN], Option.ROOM_FLAGS, Option.MAX_STATE_BYTES)


# --- Random values


def random_datagram(rng: Random, kind: Kind) -> tuple[bytes, Container[Any]]:
    """Make a datagram that the codec takes. Returns: its bytes, and what the codec reads in them."""
    while True:
        value = _random_value(rng, schemas.DATAGRAMS[kind], None, "")
        header = value.get("header") or value.get("fields") or value
        header["kind"] = int(kind)
        if "magic" in header:
            header["magic"] = codec.MAGIC
        data: bytes = schemas.DATAGRAMS[kind].build(value)
        decoded = codec.decode(data) if len(data) <= MAX_DATAGRAM_BYTES else DropReason.TOO_LONG
        if not isinstance(decoded, DropReason):
            return data, decoded


def _random_value(rng: Random, part: Construct, around: Any, name: str) -> Any:
    """Make a value of any schema; `around` holds what was made before it in the struct that it stands in."""
    if isinstance(part, Renamed):
        return _random_value(rng, part.subcon, around, part.name)
    if isinstance(part, Struct):
        inside = Container(_=around)
        for field in part.subcons:
            if field is not Terminated:
                inside[field.name] = _random_value(rng, field, inside, "")
        if part in _MEANINGFUL:
            _MEANINGFUL[part](rng, inside)
        return inside
    if isinstance(part, FormatField):
        return _random_number(rng, part.length, name)
    if isinstance(part, Bytes):
        return _random_bytes(rng, part.length(around) if callable(part.length) else part.length)
    if part is GreedyBytes:
        return _random_bytes(rng, rng.choice((0, 1, rng.randint(0, 60))))
    if isinstance(part, Array):
        return [_random_value(rng, part.subcon, around, "") for _ in range(part.count(around))]
    if isinstance(part, GreedyRange):
        return [_random_value(rng, part.subcon, around, "") for _ in range(rng.randint(0, 4))]
    if isinstance(part, Switch):
        return _random_value(rng, part.cases.get(part.keyfunc(around), part.default), around, "")
    assert isinstance(part, Padded | Prefixed), part
    return _random_value(rng, part.subcon, around, name)


def _random_number(rng: Random, size: int, name: str) -> int:
    if name.endswith("count") or name == "length":
        return rng.choice((0, 1, rng.randint(0, 8)))
    if name == "stride":
        return rng.choice((0, 1, rng.randint(0, 40)))
    if name == "owner":
        return rng.choice((0, 1, rng.randrange(MAX_SLOTS), NO_PLAYER))
    if name == "type":
        return rng.choice((1, 2, 3, 4, _UNKNOWN_SECTION))
    return rng.choice((0, 1, rng.getrandbits(8 * size), (1 << 8 * size) - 1))


def _random_bytes(rng: Random, length: int) -> bytes:
    """A text with padding, a text in letters of several bytes, or anything."""
    made = rng.choice((b"Ada", "Åse Ж 漢".encode(), rng.randbytes(length)))
    return made[:length].ljust(length, b"\0")


def _make_entry(rng: Random, entry: Container[Any]) -> None:
    """Give an entry, often, a kind of the server's, and if it has one a payload of that kind."""
    entry.header.kind = int(rng.choice((entry.header.kind, *EntryKind)))
    if entry.header.kind in schemas.ENTRY_PAYLOADS:
        schema = schemas.ENTRY_PAYLOADS[EntryKind(entry.header.kind)]
        entry.payload = schema.build(_random_value(rng, schema, None, ""))
        entry.header.length = len(entry.payload)


def _make_message(rng: Random, message: Container[Any]) -> None:
    """Give a message, often, the kind of a request, and if it has one a payload of that kind."""
    message.header.kind = int(rng.choice((message.header.kind, EntryKind.MESSAGE, *RequestKind)))
    if message.header.kind in schemas.REQUEST_PAYLOADS:
        schema = schemas.REQUEST_PAYLOADS[RequestKind(message.header.kind)]
        message.header.more = 0
        message.payload = schema.build(_random_value(rng, schema, None, ""))


def _make_option(rng: Random, option: Container[Any]) -> None:
    """Let an option, often, be one whose value has a layout."""
    option.key = int(rng.choice((option.key, *_MADE_OPTION_KEYS)))
    layout = schemas.OPTION_LAYOUTS[Kind.JOIN].get(Option(option.key)) if option.key in list(Option) else None
    if layout is not None:
        option.value = layout.build(_random_value(rng, layout, None, ""))[:255]
    elif option.key in _NUMBER_OPTIONS:
        option.value = rng.randbytes(_NUMBER_OPTIONS[Option(option.key)])


_NUMBER_OPTIONS = {
    Option.MAX_PLAYERS: 2,
    Option.ENTITIES_PER_PLAYER: 2,
    Option.MAX_STATE_BYTES: 1,
    Option.ROOM_FLAGS: 1,
}
"""Bytes of the options that are numbers."""
_MEANINGFUL: dict[Construct, Callable[[Random, Container[Any]], None]] = {
    schemas.ENTRY: _make_entry,
    schemas.MESSAGE_SECTION: _make_message,
    schemas.OPTION: _make_option,
}


# --- Fields and their names


def all_fields() -> set[str]:
    """Name every field of every datagram, and of the payloads that only the server writes or reads."""
    names = {name for kind in Kind for name in _leaves(schemas.DATAGRAMS[kind], kind.name.lower())}
    return names | payload_fields()


def payload_fields() -> set[str]:
    """Name every field of the payloads of entries and requests, and of options that have several."""
    names = {
        name
        for kind, layouts in schemas.OPTION_LAYOUTS.items()
        for option, layout in layouts.items()
        for name in _leaves(layout, f"{kind.name.lower()}.options.{option.name.lower()}")
    }
    for inside, payloads in ((_ENTRIES, schemas.ENTRY_PAYLOADS), (_MESSAGE, schemas.REQUEST_PAYLOADS)):
        for kind, schema in payloads.items():
            names |= set(_leaves(schema, f"{inside}.{kind.name.lower()}"))
    return names


def _leaves(part: Construct, name: str) -> Iterator[str]:
    if isinstance(part, Renamed):
        yield from _leaves(part.subcon, name if part.name in _GROUPING else f"{name}.{part.name}")
    elif isinstance(part, Struct):
        for field in part.subcons:
            yield from _leaves(field, name)
    elif isinstance(part, Switch):
        kind = name.partition(".")[0]
        for number, case in part.cases.items():
            yield from _leaves(case, f"{kind}.{_SECTIONS[kind](number).name.lower()}")
        yield f"{name}.body"
    elif isinstance(part, FormatField | Bytes) or part is GreedyBytes:
        yield name
    elif part is not Terminated:
        yield from _leaves(part.subcon, name)


def fields_of(value: Container[Any]) -> Fields:
    """List every field of a decoded datagram with its name, in the order of its bytes."""
    header = value.get("header") or value.get("fields") or value
    return list(_fields(value, Kind(header["kind"]).name.lower()))


def _fields(value: Any, name: str) -> Iterator[tuple[str, int | bytes]]:
    if isinstance(value, list):
        for item in value:
            yield from _section(item, name) if name.endswith(".sections") else _fields(item, name)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not key.startswith("_"):
                yield from _fields(item, name if key in _GROUPING else f"{name}.{key}")
            if (name, key) in _INSIDE:
                yield from _INSIDE[name, key](value)
    else:
        yield name, value


def _section(section: Container[Any], name: str) -> Iterator[tuple[str, int | bytes]]:
    yield f"{name}.type", section.type
    kind = name.partition(".")[0]
    if isinstance(section.body, bytes):
        yield f"{name}.body", section.body
    else:
        yield from _fields(section.body, f"{kind}.{_SECTIONS[kind](section.type).name.lower()}")


def _entry_fields(entry: Container[Any]) -> Iterator[tuple[str, int | bytes]]:
    if entry.header.kind in schemas.ENTRY_PAYLOADS:
        kind = EntryKind(entry.header.kind)
        yield from _fields(schemas.ENTRY_PAYLOADS[kind].parse(entry.payload), f"{_ENTRIES}.{kind.name.lower()}")


def _request_fields(message: Container[Any]) -> Iterator[tuple[str, int | bytes]]:
    if message.header.kind in schemas.REQUEST_PAYLOADS and not message.header.more:
        kind = RequestKind(message.header.kind)
        try:
            value = schemas.REQUEST_PAYLOADS[kind].parse(message.payload)
        except ConstructError:
            return
        yield from _fields(value, f"{_MESSAGE}.{kind.name.lower()}")


def _option_fields(kind: Kind, option: Container[Any]) -> Iterator[tuple[str, int | bytes]]:
    if option.key in list(schemas.OPTION_LAYOUTS[kind]):
        key = Option(option.key)
        try:
            value = schemas.OPTION_LAYOUTS[kind][key].parse(option.value)
        except ConstructError:
            return
        yield from _fields(value, f"{kind.name.lower()}.options.{key.name.lower()}")


_INSIDE: dict[tuple[str, str], Callable[[Container[Any]], Iterator[tuple[str, int | bytes]]]] = {
    (_ENTRIES, "payload"): _entry_fields,
    (_MESSAGE, "payload"): _request_fields,
    ("join.options", "value"): partial(_option_fields, Kind.JOIN),
    ("list.options", "value"): partial(_option_fields, Kind.LIST),
}
"""Bytes that have a layout of their own, by what they stand in."""
