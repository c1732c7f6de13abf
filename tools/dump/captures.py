"""Capture files: pcap and pcapng of both byte orders, plain or gzipped, from files or from standard input.

scapy reads the files; here is only what it does not say: how far it is, whether the file broke off, and in which unit
its times are. A file may end anywhere, as after a crash: what is whole is used, and the rest is told in one line.
"""

import gzip
import io
import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple, cast

from tools.cli import UsageError

STANDARD_INPUT = "-"
"""Name of a capture that comes through a pipe: `ssh server tcpdump -w - udp | tickrelay dump -`."""
_GZIP_MAGIC = b"\x1f\x8b"
_PCAP_RECORD_BYTES = 16
"""Before each packet of a pcap file: two words of time, the bytes that are there, the bytes that there were."""
_PCAPNG_UNIT_BYTES = 4
"""Blocks of pcapng are padded to it."""


class Frame(NamedTuple):
    """One packet as the file has it."""

    time_s: float
    """Seconds since 1970."""
    link_type: int
    """One of https://www.tcpdump.org/linktypes.html; in pcapng each interface has its own."""
    data: bytes


class CaptureFile:
    """A capture that is read from begin to end, once."""

    def __init__(self, name: str) -> None:
        """Open a file, or standard input for "-".

        Raises: UsageError if it cannot be opened or is no capture.
        """
        self.notices: list[str] = []
        """A line for what kept us from reading all of it. Complete when the iteration is over."""
        self.name = name
        """As it was given."""
        self._raw, self._stream = _open(name)
        self._size = _size_of(self._raw)
        self._reader = self._open_reader()
        self._is_nano = getattr(self._reader, "nano", False)
        self._link_type = getattr(self._reader, "linktype", None)
        self._troubles: list[str] = []
        self._frames = self._read_pcapng() if self._link_type is None else self._read_pcap(self._link_type)
        self._first: Frame | None = None
        """What `first_time_s` has read; None if that was not asked for, or there is nothing."""

    def __enter__(self) -> "CaptureFile":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        self._raw.close()

    @property
    def share_read(self) -> float | None:
        """How much of the file has been read, 0 to 1; None where its size is not known, as of a pipe."""
        return self._raw.tell() / self._size if self._size else None

    @property
    def can_be_opened_again(self) -> bool:
        """Whether it has a name, and is no pipe that would have lost what was read."""
        return self.name != STANDARD_INPUT and self._raw.seekable()

    def first_time_s(self) -> float:
        """Read the time of the first packet, once, before the iteration. Returns: -inf if there is none."""
        with _ScapySays(self._troubles):
            self._first = next(self._frames, None)
        return -math.inf if self._first is None else self._first.time_s

    def __iter__(self) -> Iterator[Frame]:
        """Yield every packet that is whole; then `notices` tells if there was more. Raises: nothing."""
        troubles = self._troubles
        if self._first is not None:
            yield self._first
        with _ScapySays(troubles):
            yield from self._frames
        if self._size and self._raw.tell() < self._size:
            troubles.append(f"{self._size - self._raw.tell():,} bytes are left")
        if troubles:
            self.notices.append(f"{self.name} breaks off or is damaged ({troubles[0]}); what comes before was read")

    def _read_pcap(self, link_type: int) -> Iterator[Frame]:
        unit_s = 1e-9 if self._is_nano else 1e-6
        end = self._position()
        for data, about in self._packets():
            if len(data) < about.caplen:
                break
            end += _PCAP_RECORD_BYTES + about.caplen
            yield Frame(about.sec + about.usec * unit_s, link_type, data)
        if self._position() > end:
            self._troubles.append("it ends within a packet")

    def _read_pcapng(self) -> Iterator[Frame]:
        time_s = 0.0
        for data, about in self._packets():
            if about.tshigh is not None:  # a simple packet has no time of its own: it keeps the one before it
                time_s = ((about.tshigh << 32) | about.tslow) / about.tsresol
            yield Frame(time_s, about.linktype, data)
        if self._position() % _PCAPNG_UNIT_BYTES:  # scapy warns of all that is longer
            self._troubles.append("it ends within a block")

    def _packets(self) -> Iterator[tuple[bytes, Any]]:
        """Yield what scapy reads; what it raises on a damaged file is noted."""
        from scapy.error import Scapy_Exception

        try:
            # Not `yield from self._reader`: at a break that would close the reader, and with it our file.
            yield from iter(self._reader.__next__, None)
        except (Scapy_Exception, OSError, EOFError, ValueError, OverflowError) as error:
            self._troubles.append(str(error))

    def _position(self) -> int:
        return self._stream.tell() if self._stream.seekable() else 0

    def _open_reader(self) -> Any:
        try:
            from scapy.error import Scapy_Exception
            from scapy.utils import RawPcapReader
        except ImportError:
            raise UsageError("capture files need scapy: pip install 'tickrelay[all]'") from None
        try:
            with _ScapySays([]):
                return RawPcapReader(cast(Any, self._stream))  # it takes open files as well as names
        except (Scapy_Exception, OSError, EOFError) as error:
            raise UsageError(f"{self.name} is no pcap or pcapng file: {error}") from None


def in_time_order(names: Sequence[str]) -> Iterator[CaptureFile]:
    """Open captures one after the other, in the order of their first packets.

    Their names do not tell it: of rotated files the newest has no number, and a shell has game.10 before game.2. In
    another order sessions would end before they begin.

    Raises: UsageError before the first is yielded, if one cannot be opened or is no capture.
    """
    if len(names) == 1:
        yield CaptureFile(names[0])  # a pipe whose first packet is yet to come is shown from then on
        return
    begins: list[tuple[float, int]] = []
    pipes: dict[int, CaptureFile] = {}
    for place, name in enumerate(names):
        capture = CaptureFile(name)
        begins.append((capture.first_time_s(), place))
        if capture.can_be_opened_again:
            capture.close()  # hundreds of rotated files are more than a process may have open
        else:
            pipes[place] = capture
    for _, place in sorted(begins):
        yield pipes.get(place) or CaptureFile(names[place])


def _open(name: str) -> tuple[IO[bytes], IO[bytes]]:
    """Open a capture. Returns: the file, and what to read of it: the same, or what gzip makes of it."""
    try:
        raw = _standard_input() if name == STANDARD_INPUT else open(name, "rb")  # noqa: SIM115  the CaptureFile closes it
        is_zipped = raw.peek(len(_GZIP_MAGIC))[: len(_GZIP_MAGIC)] == _GZIP_MAGIC
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None
    return raw, cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if is_zipped else raw


def _standard_input() -> io.BufferedReader:
    if sys.stdin is None:
        raise UsageError("standard input is closed; permitted: a pipe or a file as in: tickrelay dump - < FILE")
    return cast("io.BufferedReader", sys.stdin.buffer)


def _size_of(raw: IO[bytes]) -> int:
    """Return the bytes of a file, 0 for a pipe."""
    return os.fstat(raw.fileno()).st_size if raw.seekable() else 0


class _ScapySays(logging.Handler):
    """Collects what scapy would print: with a damaged file it warns, and ends as if the file did."""

    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self._said = said
        self._logger = logging.getLogger("scapy.runtime")

    def __enter__(self) -> None:
        logger = self._logger
        self._before = logger.propagate, logger.handlers, logger.filters
        # Its own filter would swallow what it has said a moment ago, of another file perhaps.
        logger.propagate, logger.handlers, logger.filters = False, [self], []

    def __exit__(self, *_: object) -> None:
        self._logger.propagate, self._logger.handlers, self._logger.filters = self._before

    def emit(self, record: logging.LogRecord) -> None:
        """Note a warning."""
        self._said.append(record.getMessage())
