"""Running tshark with the dissector over datagrams, and reading back every field that it found."""

import os
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from protocol.constants import DEFAULT_PORT

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "tools/wireshark/tickrelay.lua"
_PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)
"""Magic, version 2.4, zone, accuracy, snap length, link type RAW."""
_PLAYER_PORT = 40_000


@dataclass
class Dissected:
    """What tshark made of one datagram."""

    fields: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Filter name without "tickrelay." -> (what is shown, the bytes in hex), in order of the bytes."""
    experts: dict[str, str] = field(default_factory=dict)
    """Name of an expert info of ours, without "tickrelay." -> its message."""
    protocols: str = ""
    """raw:ip:udp:tickrelay"""
    is_malformed: bool = False
    """Wireshark itself gave up, or Lua raised an error."""


def find_tshark() -> str:
    """Return the command, or skip the test with one line (fail where CI demands tshark)."""
    found = shutil.which("tshark")
    if found is None:
        text = "no tshark: install Debian's package `tshark`"
        if "tshark" in os.environ.get("TICKRELAY_REQUIRE", "").replace(",", " ").split():
            pytest.fail(text)
        pytest.skip(text)
    return found


def packet(payload: bytes, source: int = _PLAYER_PORT, target: int = DEFAULT_PORT) -> bytes:
    """Put IPv4 and UDP headers before a payload; checksum 0 is "none" to UDP, and tshark checks none of IP's."""
    udp = struct.pack(">HHHH", source, target, 8 + len(payload), 0) + payload
    loopback = bytes([127, 0, 0, 1])
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + 2 * loopback + udp


def write_pcap(path: Path, packets: Iterable[bytes], snap_bytes: int = 65_535) -> None:
    """Write a classic capture file of raw IP, each packet a second after the one before it."""
    records = (
        struct.pack("<IIII", second, 0, min(len(data), snap_bytes), len(data)) + data[:snap_bytes]
        for second, data in enumerate(packets)
    )
    path.write_bytes(_PCAP_HEADER + b"".join(records))


def run(tshark: str, folder: Path, *arguments: str) -> str:
    """Run tshark with the dissector. Returns: its output; Lua must have said nothing on stderr."""
    # a home of its own: the user's may hold preferences, and an installed copy of the dissector
    environment = os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}
    command = [tshark, *arguments, "-X", f"lua_script:{SCRIPT}"]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False, env=environment)
    errors = done.stderr.decode()
    assert done.returncode == 0 and "lua" not in errors.lower(), errors
    return done.stdout.decode()


def read_capture(tshark: str, capture: Path, *arguments: str) -> str:
    """Run tshark over a capture file. Returns: its output."""
    return run(tshark, capture.parent, "-r", str(capture), "-n", *arguments)


def dissect(tshark: str, folder: Path, packets: Sequence[bytes], *arguments: str) -> list[Dissected]:
    """Dissect packets (see `packet`), in order, in one capture."""
    capture = folder / "datagrams.pcap"
    write_pcap(capture, packets)
    return read_pdml(read_capture(tshark, capture, "-T", "pdml", *arguments))


def dissect_payloads(tshark: str, folder: Path, payloads: Iterable[bytes]) -> list[Dissected]:
    """Dissect payloads sent to the relay's port."""
    return dissect(tshark, folder, [packet(payload) for payload in payloads])


def read_pdml(text: str) -> list[Dissected]:
    """Read tshark's PDML: one `Dissected` per packet."""
    return [_read_packet(element) for element in ElementTree.fromstring(text)]


def _read_packet(element: "ElementTree.Element[str]") -> Dissected:
    result = Dissected()
    for item in element.iter("field"):
        name = item.get("name", "")
        if name == "frame.protocols":
            result.protocols = item.get("show", "")
        if name == "_ws.expert":
            _read_expert(item, result)
        elif name.startswith("tickrelay.") and not _is_expert(item):
            shown = (item.get("show", ""), item.get("value", ""))
            result.fields.setdefault(name.removeprefix("tickrelay."), []).append(shown)
    # an expert info of the group "malformed" brings a hidden one along
    gave_up = [item for item in element.iter("proto") if item.get("name") == "_ws.malformed" and not item.get("hide")]
    texts = [item.get("showname", "") + item.get("show", "") for item in element.iter("field")]
    result.is_malformed = bool(gave_up) or any("Lua Error" in text for text in texts)
    return result


def _is_expert(item: "ElementTree.Element[str]") -> bool:
    """An expert info stands in the tree under its own name too, without a place in the bytes."""
    return item.get("size") == "0" and item.get("pos") == "0" and item.get("value") == ""


def _read_expert(item: "ElementTree.Element[str]", result: Dissected) -> None:
    children = {child.get("name", ""): child for child in item}
    for name in children:
        if name.startswith("tickrelay."):
            result.experts[name.removeprefix("tickrelay.")] = children["_ws.expert.message"].get("show", "")
