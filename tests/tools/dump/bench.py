"""Makes a large capture and measures `tickrelay dump --stats` on it.

    python -m tests.tools.dump.bench [--datagrams N] [--folder FOLDER]

A short game of eight players is played for real; then it is copied: each copy has sessions, nonces and addresses of its
own, and all copies go on at the same time, as the rooms of a relay do.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from protocol.constants import Kind
from tests.tools.dump.made import Framed, Game, Packet, chatter, framed, write_pcap, write_pcapng

NUM_PLAYERS = 8
SECONDS = 60.0
"""Of the game that is copied: about 30,000 datagrams."""
MAX_SECONDS, MAX_MIB = 20.0, 300.0
"""What the issue permits for 1,000,000 datagrams."""
_RUN_AND_TELL_MEMORY = """
import sys
from tools.cli import main
code = main(sys.argv[1:])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(code)
"""
"""The process tells of itself: what the system says of children has the memory of whoever started them in it."""
_ID_OFFSETS = {Kind.DATA: (4,), Kind.UPDATE: (4,), Kind.WELCOME: (2, 10), Kind.BYE: (2,), Kind.RESET: (2,)}
"""Where the ids of 64 bits stand; in all other kinds a nonce stands at 2, behind the magic at 6."""


def many_rooms(num_datagrams: int) -> Iterator[Framed]:
    """Yield frames of at least so many datagrams, in order of time."""
    capture = Game(NUM_PLAYERS, loss_up=0.01, loss_down=0.01).run(SECONDS, chatter).capture
    for packet in capture:
        for copy in range(-(-num_datagrams // len(capture))):
            yield framed([_copied(packet, copy)])[0]


def _copied(packet: Packet, copy: int) -> Packet:
    data = bytearray(packet.data)
    default = (6,) if data[0] in (Kind.HELLO, Kind.PING) else (2,)
    for at in _ID_OFFSETS.get(Kind(data[0]), default):
        data[at + 5] ^= copy & 0xFF
        data[at + 6] ^= copy >> 8
    source, target = (
        end if end[0] == "10.0.0.9" else (f"10.1.{copy >> 8}.{copy & 255}", end[1]) for end in packet[1:3]
    )
    return Packet(packet.time_s + copy * 1e-5, source, target, bytes(data))


def measure(path: Path, *arguments: str) -> tuple[float, float, str]:
    """Run the command on a capture. Returns: seconds of wall clock, MiB of memory at most, and what it printed."""
    command = [sys.executable, "-c", _RUN_AND_TELL_MEMORY, "dump", str(path), *arguments]
    before = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.monotonic() - before
    mib = int(done.stderr.rpartition("VmHWM:")[2].split()[0]) / 1024
    return seconds, mib, done.stdout + done.stderr


def main() -> int:
    """Make the captures, measure, and say whether it is within the limits. Returns: the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datagrams", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="keep the captures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        is_fine = True
        for name, write in (("large.pcap", write_pcap), ("large.pcapng", write_pcapng)):
            path = folder / name
            if not path.exists():
                write(path, many_rooms(options.datagrams), 1)
            seconds, mib, shown = measure(path, "--stats")
            print(f"{name}: {path.stat().st_size / 2**20:.0f} MiB, --stats took {seconds:.1f} s and {mib:.0f} MiB")
            print(shown.splitlines()[1])
            is_fine &= seconds < MAX_SECONDS and mib < MAX_MIB
        print(f"limits for 1,000,000 datagrams: {MAX_SECONDS:.0f} s, {MAX_MIB:.0f} MiB")
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
