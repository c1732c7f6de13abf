"""Reference of cutting due items into datagrams: in order, as many as fit (SPEC 2: 1,160 bytes at most)."""

from dataclasses import dataclass

from protocol import schemas

SPACE_BYTES = 1160 - schemas.UPDATE_HEADER.sizeof()
RANGE_BYTES = schemas.SECTION_HEADER.sizeof() + schemas.RANGE_HEADER.sizeof()


@dataclass
class Item:
    """One due item."""

    session: int
    length: int
    is_log: bool
    linked: bool
    """Goes on in the range of the item before it, if that stands in the same datagram."""
    apart: bool
    """Must begin a datagram."""


def pack(items: list[Item], bare: list[int], allowed: dict[int, int]) -> list[tuple[int, list[int]]]:
    """Cut items into datagrams: (session, positions of its items), ordered by session.

    A session of `bare` gets one without items if it gets no other. Items beyond what is allowed are left out.
    """
    result = []
    for session in sorted({item.session for item in items} | set(bare)):
        datagrams: list[list[int]] = []
        used = 0
        for position, item in enumerate(items):
            if item.session != session:
                continue
            continues = bool(datagrams) and not item.apart
            cost = item.length + (RANGE_BYTES if item.is_log and not (item.linked and continues) else 0)
            if not continues or used + cost > SPACE_BYTES:
                cost = item.length + (RANGE_BYTES if item.is_log else 0)
                datagrams.append([])
                used = 0
            datagrams[-1].append(position)
            used += cost
        sent = datagrams[: allowed[session]]
        if not sent and session in bare:
            sent = [[]]
        result += [(session, positions) for positions in sent]
    return result
