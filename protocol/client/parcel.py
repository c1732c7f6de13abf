"""One DATA while its sections are being gathered (SPEC 2: sections, and 1,160 bytes at most)."""

from protocol.client.acks import StateVersion
from protocol.constants import LOG_WINDOW, MAX_BODY_BYTES, MAX_FRAGMENT_BYTES, MAX_SECTIONS, DataSection
from protocol.dtypes import DATA_HEADER, SECTION_HEADER

SECTION_SPACE_BYTES = MAX_BODY_BYTES - DATA_HEADER.size
"""Bytes for all sections of one DATA: 1,160 - 26 = 1,134."""
LOG_BITS_MAX_BYTES = SECTION_HEADER.size + LOG_WINDOW // 8
"""The largest LOG_BITS section: 3 + 32."""


def fragment_bytes(header_bytes: int, num_targets: int) -> int:
    """Tell how much payload a message or signal section may have so that it fits a DATA beside the largest LOG_BITS.

    1,024, or less when more than about 30 players are listed in it.
    """
    space = SECTION_SPACE_BYTES - LOG_BITS_MAX_BYTES - SECTION_HEADER.size - header_bytes - 2 * num_targets
    return min(MAX_FRAGMENT_BYTES, space)


class Parcel:
    """Sections gathered for one DATA, and what room is left for more."""

    def __init__(self) -> None:
        self.states: list[StateVersion] = []
        """The states in it, by version: what an acknowledgement of this datagram will acknowledge."""
        self.is_empty = True
        """Holds nothing yet, or nothing but LOG_BITS, which alone is no reason to send."""
        self.room = SECTION_SPACE_BYTES
        """Bytes left for sections, their headers included."""
        self._sections: list[bytes] = []

    @property
    def sections_left(self) -> int:
        """Sections that may still be added."""
        return MAX_SECTIONS - len(self._sections)

    def fits(self, body_bytes: int) -> bool:
        """Tell whether one more section with a body of this size may be added."""
        return self.sections_left > 0 and SECTION_HEADER.size + body_bytes <= self.room

    def add(self, kind: DataSection, body: bytes) -> None:
        """Add a section that `fits`."""
        self._sections.append(SECTION_HEADER.encode(kind, len(body)) + body)
        self.room -= SECTION_HEADER.size + len(body)
        if kind is not DataSection.LOG_BITS:
            self.is_empty = False

    def body(self) -> bytes:
        """All sections, as they follow the header."""
        return b"".join(self._sections)
