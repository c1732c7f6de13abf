"""Capture files: pcap and pcapng of both byte orders, plain or gzipped, from a file or from standard input.

scapy reads the files; here is only what it does not say: how far it is, whether the file broke off, and in which unit
its times are. A file may end anywhere, as after a crash: what is whole is used, and the rest is told in one line.
"""

import gzip
import logging
import os
import sys
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, cast

from tools.cli import UsageError

STANDARD_INPUT = "-"
"""Name of a capture that comes through a pipe: `ssh server tcpdump -w - udp | tickrelay dump -`."""
_GZIP_MAGIC = b"\x1f\x8b"
_PCAP_RECORD_BYTES = 16
"""Before each packet of a pcap file: two words of time, the bytes that are there, the bytes that there were."""


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
        """One line for each thing that kept us from reading all of it. Complete when the iteration is over."""
        self._name = name
        self._raw, self._stream = _open(name)
        self._size = _size_of(self._raw)
        self._reader = self._open_reader()
        self._is_nano = getattr(self._reader, "nano", False)
        self._link_type = getattr(self._reader, "linktype", None)

    def __enter__(self) -> "CaptureFile":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._stream.close()
        self._raw.close()

    @property
    def share_read(self) -> float | None:
        """How much of the file has been read, 0 to 1; None where its size is not known, as of a pipe."""
        return self._raw.tell() / self._size if self._size else None

    def __iter__(self) -> Iterator[Frame]:
        """Yield every packet that is whole; then `notices` tells why there are not more. Raises: nothing."""
        with _ScapySays(self.notices, self._name):
            if self._link_type is None:
                yield from self._read_pcapng()
            else:
                yield from self._read_pcap(self._link_type)
        if not self.notices and self._size and self._raw.tell() < self._size:
            self.notices.append(f"{self._name}: {self._size - self._raw.tell():,} bytes at its end cannot be read")

    def _read_pcap(self, link_type: int) -> Iterator[Frame]:
        unit_s = 1e-9 if self._is_nano else 1e-6
        end = self._position()
        for data, about in self._packets():
            if len(data) < about.caplen:
                break
            end += _PCAP_RECORD_BYTES + about.caplen
            yield Frame(about.sec + about.usec * unit_s, link_type, data)
        if self._position() > end:
            self.notices.append(f"{self._name}: it ends within a packet; all before it was read")

    def _read_pcapng(self) -> Iterator[Frame]:
        time_s = 0.0
        for data, about in self._packets():
            if about.tshigh is not None:  # a simple packet has no time of its own: it keeps the one before it
                time_s = ((about.tshigh << 32) | about.tslow) / about.tsresol
            yield Frame(time_s, about.linktype, data)

    def _packets(self) -> Iterator[tuple[bytes, Any]]:
        """Yield what scapy reads; what it raises on a damaged file is a notice."""
        from scapy.error import Scapy_Exception

        try:
            yield from self._reader
        except (Scapy_Exception, OSError, EOFError, ValueError, OverflowError) as error:
            self.notices.append(f"{self._name}: {error}; all before it was read")

    def _position(self) -> int:
        return self._stream.tell() if self._stream.seekable() else 0

    def _open_reader(self) -> Any:
        try:
            from scapy.error import Scapy_Exception
            from scapy.utils import RawPcapReader
        except ImportError:
            raise UsageError("capture files need scapy: pip install 'tickrelay[all]'") from None
        said: list[str] = []
        try:
            with _ScapySays(said, self._name):
                return RawPcapReader(self._stream)
        except (Scapy_Exception, OSError, EOFError) as error:
            raise UsageError(f"{self._name} is no pcap or pcapng file: {error}") from None


def _open(name: str) -> tuple[IO[bytes], IO[bytes]]:
    """Open a capture. Returns: the file, and what to read of it: the same, or what gzip makes of it."""
    if name == STANDARD_INPUT:
        return sys.stdin.buffer, sys.stdin.buffer
    try:
        raw = open(name, "rb")  # noqa: SIM115  its life is that of the CaptureFile
        is_zipped = raw.peek(len(_GZIP_MAGIC))[: len(_GZIP_MAGIC)] == _GZIP_MAGIC
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None
    return raw, cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if is_zipped else raw


def _size_of(raw: IO[bytes]) -> int:
    """Return the bytes of a file, 0 for a pipe."""
    return os.fstat(raw.fileno()).st_size if raw.seekable() else 0


class _ScapySays(logging.Handler):
    """Collects what scapy would print: with a damaged file it warns, and ends as if the file did."""

    def __init__(self, notices: list[str], name: str) -> None:
        super().__init__()
        self._notices = notices
        self._name = name
        self._logger = logging.getLogger("scapy.runtime")

    def __enter__(self) -> None:
        self._propagated, self._handlers = self._logger.propagate, self._logger.handlers[:]
        self._logger.propagate, self._logger.handlers = False, [self]

    def __exit__(self, *_: object) -> None:
        self._logger.propagate, self._logger.handlers = self._propagated, self._handlers

    def emit(self, record: logging.LogRecord) -> None:
        """Note a warning, each text once."""
        text = f"{self._name}: {record.getMessage()}"
        if text not in self._notices:
            self._notices.append(text)
