"""Reference of the section walk: which DATA is well formed, and where its sections are (SPEC 11, steps 4 and 9)."""

from construct import ConstructError

from protocol import schemas
from protocol.constants import DataSection, Target


def walk(payload: bytes, max_state_bytes: int) -> list[tuple[int, int, int]] | None:
    """List the sections of a DATA as (type, start of the body, length); None if any of it is malformed."""
    found: list[tuple[int, int, int]] = []
    at = schemas.DATA_HEADER.sizeof()
    while at < len(payload):
        body_at = at + schemas.SECTION_HEADER.sizeof()
        if body_at > len(payload) or len(found) == 24:
            return None
        header = schemas.SECTION_HEADER.parse(payload[at:body_at])
        body = payload[body_at : body_at + header.length]
        if len(body) != header.length or not is_well_formed(header.type, body, max_state_bytes):
            return None
        found.append((header.type, body_at, header.length))
        at = body_at + header.length
    if [kind for kind, _, _ in found].count(DataSection.LOG_BITS) > 1:
        return None
    return found


def is_well_formed(kind: int, body: bytes, max_state_bytes: int) -> bool:
    """Tell whether one section's body is as its type asks. Unknown types are."""
    checks = {
        DataSection.STATE: _is_state,
        DataSection.LOG_BITS: _is_log_bits,
        DataSection.MESSAGE: _is_message,
        DataSection.SIGNAL: _is_signal,
    }
    try:
        return kind not in checks or checks[DataSection(kind)](body, max_state_bytes)
    except ConstructError:
        return False


def _is_state(body: bytes, max_state_bytes: int) -> bool:
    section = schemas.STATE_SECTION.parse(body)
    return bool(section.header.count >= 1 and section.header.stride <= max_state_bytes)


def _is_log_bits(body: bytes, max_state_bytes: int) -> bool:
    return len(body) in range(4, 36, 4)


def _is_message(body: bytes, max_state_bytes: int) -> bool:
    section = schemas.MESSAGE_SECTION.parse(body)
    header = section.header
    if header.more not in (0, 1) or (header.more == 1 and not section.payload):
        return False
    return _is_addressed(header, section.payload)


def _is_signal(body: bytes, max_state_bytes: int) -> bool:
    section = schemas.SIGNAL_UP_SECTION.parse(body)
    number, last = section.header.fragment % 16, section.header.fragment // 16
    return number <= last <= 7 and _is_addressed(section.header, section.payload)


def _is_addressed(header: object, payload: bytes) -> bool:
    """Tell whether kind, target, its number of ids and the payload's length are permitted."""
    if not 1 <= header.kind <= 127 or len(payload) > 1024:  # type: ignore[attr-defined]
        return False
    count = header.target_count  # type: ignore[attr-defined]
    match header.target:  # type: ignore[attr-defined]
        case Target.ALL:
            return bool(count == 0)
        case Target.ALL_BUT | Target.ONE:
            return bool(count == 1)
        case Target.LIST:
            return bool(count >= 1)
    return False
