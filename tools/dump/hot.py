"""Headers and sections of many DATA or UPDATE at once, by the numpy record types of `protocol.dtypes`.

`certain` is the quick half of `problems.find_problem`: a datagram it lets pass has no problem; one it does not is for
find_problem to judge, which also knows the byte. Tests hold the one against the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.constants import (
    LOG_WINDOW,
    MAX_BODY_BYTES,
    MAX_DATAGRAM_BYTES,
    MAX_FRAGMENT_BYTES,
    MAX_PLAYER_KIND,
    MAX_SECTIONS,
    MAX_SIGNAL_FRAGMENTS,
    PART_MORE,
    DataSection,
    Kind,
    StateEncoding,
    Target,
    UpdateSection,
)
from relay.columns import Bools, Bytes, Ints, windows
from relay.ingress import Sections, payload_bytes, read_section_headers, walk_sections
from tools.dump.problems import MAX_PARTS

_SPARE = bytes(64)
"""Behind the last datagram, so that a header may be read from any byte of it."""
_HEADERS = {Kind.DATA: dtypes.DATA_HEADER_DTYPE, Kind.UPDATE: dtypes.UPDATE_HEADER_DTYPE}
_MOST_SECTIONS = {Kind.DATA: MAX_SECTIONS, Kind.UPDATE: MAX_BODY_BYTES // dtypes.SECTION_HEADER.size}
Records = npt.NDArray[np.void]


@dataclass
class Hot:
    """Datagrams of one kind. Axes: d datagrams, s sections."""

    place: Ints
    """Where each stands in the list that was given, (d,)."""
    size: Ints
    """Bytes of each, (d,)."""
    source: Bytes
    """All of them, one behind the other, and some bytes to spare."""
    header: Records
    """(d,), of DATA_HEADER_DTYPE or UPDATE_HEADER_DTYPE."""
    certain: Bools
    """Which are certainly without a problem, (d,)."""
    max_stride: Ints
    """Longest state in each, bytes; 0 without states, (d,)."""
    sections: Sections
    """(s,); `datagram` counts along d."""

    def __len__(self) -> int:
        """Return d."""
        return len(self.place)


def read_hot(kind: Kind, payloads: Sequence[bytes]) -> Hot:
    """Read those of `payloads` that are of `kind`, DATA or UPDATE, and of a permitted size.

    Raises: nothing, whatever the bytes.
    """
    header_dtype = _HEADERS[kind]
    first = bytes([kind])
    least = header_dtype.itemsize
    place = [
        i for i, data in enumerate(payloads) if data[:1] == first and least <= len(data) <= MAX_DATAGRAM_BYTES
    ]  # fmt: skip
    chosen = [payloads[i] for i in place]
    size = np.array([len(data) for data in chosen], np.int64)
    end = size.cumsum()
    begin = end - size
    source = np.frombuffer(b"".join([*chosen, _SPARE]), np.uint8)
    certain, sections = walk_sections(source, begin + least, end, _MOST_SECTIONS[kind])
    hot = Hot(
        np.array(place, np.int64), size, source, windows(source, header_dtype)[begin], certain,
        np.zeros(len(chosen), np.int64), sections,
    )  # fmt: skip
    _check(hot, kind)
    return hot


def _check(hot: Hot, kind: Kind) -> None:
    """Clear `certain` where a section of a known type is not as it must be, and fill `max_stride`."""
    for section_kind, check in (_DATA_CHECKS if kind is Kind.DATA else _UPDATE_CHECKS).items():
        some = hot.sections.where(hot.sections.kind == section_kind)
        if len(some.at):
            good, stride = check(hot.source, some)
            hot.certain[some.datagram[~good]] = False
            np.maximum.at(hot.max_stride, some.datagram, stride)
    if kind is Kind.DATA:
        log_bits = hot.sections.datagram[hot.sections.kind == int(DataSection.LOG_BITS)]
        hot.certain &= np.bincount(log_bits, minlength=len(hot)) <= 1


# --- Checks. Each returns which sections are good, and their longest state in bytes; both (n,).


def _check_states(source: Bytes, sections: Sections) -> tuple[Bools, Ints]:
    header, fits = read_section_headers(source, sections, dtypes.STATE_HEADER_DTYPE)
    count, stride = header["count"].astype(np.int64), header["stride"].astype(np.int64)
    exact = sections.length == dtypes.STATE_HEADER.size + count * (2 + stride)
    return fits & exact & (count >= 1), stride


def _check_log_bits(source: Bytes, sections: Sections) -> tuple[Bools, Ints]:
    good = (sections.length >= 4) & (sections.length <= LOG_WINDOW // 8) & (sections.length % 4 == 0)
    return good, np.zeros_like(sections.at)


def _check_messages(source: Bytes, sections: Sections) -> tuple[Bools, Ints]:
    header, fits = read_section_headers(source, sections, dtypes.MESSAGE_HEADER_DTYPE)
    more, payload = header["more"], payload_bytes(sections, header)
    good = fits & _check_target(header, payload) & (more <= 1) & ((more == 0) | (payload >= 1))
    return good, np.zeros_like(sections.at)


def _check_signals_up(source: Bytes, sections: Sections) -> tuple[Bools, Ints]:
    header, fits = read_section_headers(source, sections, dtypes.SIGNAL_UP_HEADER_DTYPE)
    good = fits & _check_target(header, payload_bytes(sections, header)) & _check_fragment(header)
    return good, np.zeros_like(sections.at)


def _check_signals_down(source: Bytes, sections: Sections) -> tuple[Bools, Ints]:
    header, fits = read_section_headers(source, sections, dtypes.SIGNAL_DOWN_HEADER_DTYPE)
    return fits & _check_fragment(header), np.zeros_like(sections.at)


def _check_target(header: Records, payload: Ints) -> Bools:
    target, count, kind = header["target"], header["target_count"], header["kind"]
    named = np.where(target == int(Target.LIST), count >= 1, count == (target != int(Target.ALL)))
    fits = (payload >= 0) & (payload <= MAX_FRAGMENT_BYTES)
    return named & (target <= int(Target.LIST)) & (kind >= 1) & (kind <= MAX_PLAYER_KIND) & fits


def _check_fragment(header: Records) -> Bools:
    number, last = header["fragment"] & 15, header["fragment"] >> 4
    return (number <= last) & (last < MAX_SIGNAL_FRAGMENTS)


def _check_pages(source: Bytes, sections: Sections) -> tuple[Bools, Ints]:
    header, good = read_section_headers(source, sections, dtypes.PAGE_HEADER_DTYPE)
    good &= header["layer"] == 0
    end = sections.at + sections.length
    at = sections.at + dtypes.PAGE_HEADER.size + 2 * header["removed_count"].astype(np.int64)
    stride = np.zeros_like(at)
    groups = windows(source, dtypes.GROUP_HEADER_DTYPE)
    left = header["group_count"].astype(np.int64)
    active = (good & (left > 0)).nonzero()[0]
    while len(active):  # round k reads the k-th group of every page that has one: 255 rounds at most
        fits = at[active] + dtypes.GROUP_HEADER.size <= end[active]
        good[active[~fits]] = False
        active = active[fits]
        group = groups[at[active]]
        group_stride = group["stride"].astype(np.int64)
        good[active] &= (group["encoding"] == int(StateEncoding.WHOLE)) & (group_stride >= 1)
        stride[active] = np.maximum(stride[active], group_stride)
        at[active] += dtypes.GROUP_HEADER.size + group["count"].astype(np.int64) * (2 + 1 + group_stride)
        left[active] -= 1
        active = active[good[active] & (left[active] > 0)]
    return good & (at == end), stride


def _check_ranges(source: Bytes, sections: Sections) -> tuple[Bools, Ints]:
    header, good = read_section_headers(source, sections, dtypes.RANGE_HEADER_DTYPE)
    first, last, after = (header[name].astype(np.int64) for name in ("first", "last", "after"))
    good &= (after < first) & (first <= last)
    end = sections.at + sections.length
    at = sections.at + dtypes.RANGE_HEADER.size
    previous = first - 1
    entries = windows(source, dtypes.ENTRY_HEADER_DTYPE)
    active = (good & (at < end)).nonzero()[0]
    while len(active):  # round k reads the k-th entry of every range that has one: 109 rounds at most
        fits = at[active] + dtypes.ENTRY_HEADER.size <= end[active]
        good[active[~fits]] = False
        active = active[fits]
        entry = entries[at[active]]
        index = first[active] + ((entry["index"].astype(np.int64) - first[active]) & 0xFFFF)
        in_order = (previous[active] < index) & (index <= last[active])
        good[active] &= in_order & (entry["part"] & (PART_MORE - 1) < MAX_PARTS)
        previous[active] = index
        at[active] += dtypes.ENTRY_HEADER.size + entry["length"].astype(np.int64)
        active = active[good[active] & (at[active] < end[active])]
    return good & (at == end), np.zeros_like(at)


_DATA_CHECKS = {
    int(DataSection.STATE): _check_states,
    int(DataSection.LOG_BITS): _check_log_bits,
    int(DataSection.MESSAGE): _check_messages,
    int(DataSection.SIGNAL): _check_signals_up,
}
_UPDATE_CHECKS = {
    int(UpdateSection.PAGE): _check_pages,
    int(UpdateSection.LOG_RANGE): _check_ranges,
    int(UpdateSection.SIGNAL): _check_signals_down,
}
