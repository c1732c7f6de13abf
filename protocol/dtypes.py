"""Record types of the fixed headers, derived from the schemas by code and never typed again.

A header schema whose fields all have a fixed size becomes two things: a packed numpy dtype for batches, and a
`struct.Struct` with a named tuple for single values. What ends with bytes of any length (a name, a text) is written by
a `TailedRecord`. `tests/protocol/test_dtypes.py` proves on random values that all of them agree with the schema.
"""

import struct
from collections import namedtuple
from typing import Any

import numpy as np
from construct import Bytes as BytesConstruct
from construct import Construct, FormatField, GreedyBytes, Renamed, Struct, Terminated

from protocol import schemas
from protocol.constants import MAX_BODY_BYTES, MIN_ENTITY_OVERHEAD_BYTES

_FORMAT_TO_DTYPE = {"B": "u1", "H": "<u2", "L": "<u4", "Q": "<u8"}
_FORMAT_TO_STRUCT = {"B": "B", "H": "H", "L": "I", "Q": "Q"}


def fields_of(schema: Construct) -> list[tuple[str, str, int]]:
    """List the fields of a fixed-size header schema.

    Returns: (name, struct format character or "s", size in bytes) in wire order.
    Raises: TypeError for a schema with a field that has no fixed size or is not little-endian.
    """
    result = []
    for field in schema.subcons:
        inner = field.subcon if isinstance(field, Renamed) else field
        if isinstance(inner, FormatField) and inner.fmtstr[0] == "<":
            result.append((field.name, inner.fmtstr[1], inner.length))
        elif isinstance(inner, BytesConstruct) and isinstance(inner.length, int):
            result.append((field.name, "s", inner.length))
        else:
            raise TypeError(f"{field.name!r} is not a fixed-size little-endian field")
    return result


def dtype_of(schema: Construct) -> np.dtype[np.void]:
    """Derive the packed numpy record type of a header schema. Bytes fields become `V` (raw) fields."""
    return np.dtype(
        [(name, f"V{size}" if fmt == "s" else _FORMAT_TO_DTYPE[fmt]) for name, fmt, size in fields_of(schema)]
    )


class Record:
    """Scalar reader and writer of a fixed header: `struct` speed, schema names."""

    def __init__(self, name: str, schema: Construct) -> None:
        fields = fields_of(schema)
        formats = [f"{size}s" if fmt == "s" else _FORMAT_TO_STRUCT[fmt] for _, fmt, size in fields]
        self._struct = struct.Struct("<" + "".join(formats))
        self.tuple: Any = namedtuple(name, [field for field, _, _ in fields])  # type: ignore[misc]
        """Named tuple class of the header's fields."""
        self.size = self._struct.size
        """Bytes on the wire."""

    def encode(self, *values: Any, **named: Any) -> bytes:
        """Pack one header; arguments by position or by the schema's names."""
        return self._struct.pack(*self.tuple(*values, **named))

    def decode(self, data: bytes, offset: int = 0) -> Any:
        """Unpack one header into its named tuple. The caller checked that `size` bytes are there."""
        return self.tuple._make(self._struct.unpack_from(data, offset))


class TailedRecord:
    """Writer of a layout of fixed fields and, behind them, nothing, a TEXT, or bytes up to the end."""

    def __init__(self, name: str, schema: Construct) -> None:
        """Derive it. Raises: TypeError for a schema of another shape."""
        *fixed, last = schema.subcons
        last = last.subcon if isinstance(last, Renamed) else last
        if not any(last is permitted for permitted in (Terminated, GreedyBytes, schemas.TEXT)):
            raise TypeError(f"{name} ends with {last}; permitted: Terminated, TEXT, GreedyBytes")
        self._fixed = Record(name, Struct(*fixed))
        self._num_fixed = len(fixed)
        self._tells_length = last is schemas.TEXT

    def encode(self, *values: Any) -> bytes:
        """Pack one; values in the schema's order, the tail as bytes."""
        tail = b"".join(values[self._num_fixed :])
        length = bytes((len(tail),)) if self._tells_length else b""
        return self._fixed.encode(*values[: self._num_fixed]) + length + tail


HELLO_FIELDS = Record("HelloFields", schemas.HELLO_FIELDS)
PING_FIELDS = Record("PingFields", schemas.PING_FIELDS)
JOIN_FIELDS = Record("JoinFields", schemas.JOIN_FIELDS)
WELCOME_FIELDS = Record("WelcomeFields", schemas.WELCOME_FIELDS)

DATA_HEADER = Record("DataHeader", schemas.DATA_HEADER)
UPDATE_HEADER = Record("UpdateHeader", schemas.UPDATE_HEADER)
SECTION_HEADER = Record("SectionHeader", schemas.SECTION_HEADER)
STATE_HEADER = Record("StateHeader", schemas.STATE_HEADER)
MESSAGE_HEADER = Record("MessageHeader", schemas.MESSAGE_HEADER)
SIGNAL_UP_HEADER = Record("SignalUpHeader", schemas.SIGNAL_UP_HEADER)
SIGNAL_DOWN_HEADER = Record("SignalDownHeader", schemas.SIGNAL_DOWN_HEADER)
PAGE_HEADER = Record("PageHeader", schemas.PAGE_HEADER)
GROUP_HEADER = Record("GroupHeader", schemas.GROUP_HEADER)
RANGE_HEADER = Record("RangeHeader", schemas.RANGE_HEADER)
ENTRY_HEADER = Record("EntryHeader", schemas.ENTRY_HEADER)
LIST_FIELDS = Record("ListFields", schemas.LIST_FIELDS)
ROOMS_FIELDS = Record("RoomsFields", schemas.ROOMS_FIELDS)
LISTED_ROOM_FIELDS = Record("ListedRoomFields", schemas.LISTED_ROOM_FIELDS)
OWNER = Record("Owner", schemas.OWNER)

CHALLENGE = TailedRecord("Challenge", schemas.CHALLENGE)
PLAYER_JOINED_PAYLOAD = TailedRecord("PlayerJoined", schemas.PLAYER_JOINED_PAYLOAD)
PLAYER_LEFT_PAYLOAD = TailedRecord("PlayerLeft", schemas.PLAYER_LEFT_PAYLOAD)
HOST_CHANGED_PAYLOAD = TailedRecord("HostChanged", schemas.HOST_CHANGED_PAYLOAD)
ROSTER_MEMBER = TailedRecord("RosterMember", schemas.ROSTER_MEMBER)
KEPT_COPY = TailedRecord("KeptCopy", schemas.KEPT_COPY)
ROOM_READY_PAYLOAD = TailedRecord("RoomReady", schemas.ROOM_READY_PAYLOAD)

DATA_HEADER_DTYPE = dtype_of(schemas.DATA_HEADER)
UPDATE_HEADER_DTYPE = dtype_of(schemas.UPDATE_HEADER)
SECTION_HEADER_DTYPE = dtype_of(schemas.SECTION_HEADER)
STATE_HEADER_DTYPE = dtype_of(schemas.STATE_HEADER)
MESSAGE_HEADER_DTYPE = dtype_of(schemas.MESSAGE_HEADER)
SIGNAL_UP_HEADER_DTYPE = dtype_of(schemas.SIGNAL_UP_HEADER)
SIGNAL_DOWN_HEADER_DTYPE = dtype_of(schemas.SIGNAL_DOWN_HEADER)
PAGE_HEADER_DTYPE = dtype_of(schemas.PAGE_HEADER)
GROUP_HEADER_DTYPE = dtype_of(schemas.GROUP_HEADER)
RANGE_HEADER_DTYPE = dtype_of(schemas.RANGE_HEADER)
ENTRY_HEADER_DTYPE = dtype_of(schemas.ENTRY_HEADER)

PAGE_SPACE_BYTES = MAX_BODY_BYTES - UPDATE_HEADER.size - SECTION_HEADER.size - PAGE_HEADER.size
"""Bytes that the removals and groups of one page may fill: 1,160 - 32 - 3 - 13 = 1,112."""


def page_ids(max_state_bytes: int) -> int:
    """Tell how many entity ids one page holds (SPEC 8): their full states then always fit one datagram."""
    return min(255, PAGE_SPACE_BYTES // (max_state_bytes + MIN_ENTITY_OVERHEAD_BYTES))


def num_pages(player_slots: int, entities_per_player: int, max_state_bytes: int) -> int:
    """Tell how many pages the table of such a room has. A room of more than MAX_PAGES is refused."""
    return -(-player_slots * entities_per_player // page_ids(max_state_bytes))
