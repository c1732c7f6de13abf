"""Capture files read by a library that had no part in writing them, and a bench whose traffic is captured."""

import io
import struct
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pcapng
from pcapng.blocks import EnhancedPacket

from relay.batch import Batch, Outgoing
from relay.capture.blocks import Blocks, Staging, build_file_head
from relay.capture.pieces import Pieces
from relay.capture.recorder import Recorder
from tests.relay.bench import Bench, Datagram

HEAD = build_file_head("tickrelay test", "a comment")
EPOCH_S = 1_700_000_000.0
RELAY = ("10.9.9.9", 24_545)
KEY = bytes(range(32))


class Packet(NamedTuple):
    """One captured datagram."""

    at_s: float
    source: tuple[str, int]
    target: tuple[str, int]
    payload: bytes

    @property
    def is_sent(self) -> bool:
        """Whether the relay sent it."""
        return self.source[1] == RELAY[1]


class Memory:
    """Takes the place of files."""

    def __init__(self) -> None:
        self.blocks = b""
        self.is_closed = False

    def write(self, blocks: memoryview) -> None:
        self.blocks += bytes(blocks)

    def close(self) -> None:
        self.is_closed = True


def read(data: bytes) -> list[Packet]:
    """Read a capture file whole. Raises: what the library raises if anything is not as it must be."""
    blocks = pcapng.FileScanner(io.BytesIO(data))
    return [unpack(block.packet_data, block.timestamp) for block in blocks if isinstance(block, EnhancedPacket)]


def read_file(path: Path) -> list[Packet]:
    return read(path.read_bytes())


def unpack(packet: bytes, at_s: float) -> Packet:
    """Read the headers of a raw IP packet, and check every length and checksum in them."""
    if packet[0] >> 4 == 4:
        assert packet[0] == 0x45 and checksum(packet[:20]) == 0
        (length,) = struct.unpack_from(">H", packet, 2)
        source, target, protocol, udp = packet[12:16], packet[16:20], packet[9], packet[20:]
    else:
        (length,) = struct.unpack_from(">H", packet, 4)
        length += 40
        source, target, protocol, udp = packet[8:24], packet[24:40], packet[6], packet[40:]
        assert checksum(source + target + struct.pack(">II", len(udp), protocol) + udp) == 0
    assert length == len(packet) and protocol == 17
    source_port, target_port, udp_length, udp_sum = struct.unpack_from(">HHHH", udp)
    assert udp_length == len(udp) and (udp_sum == 0) == (len(source) == 4)
    return Packet(at_s, (str(ip_address(source)), source_port), (str(ip_address(target)), target_port), udp[8:])


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071), word by word. Of bytes that hold a right one: 0."""
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class CapturedBench(Bench):
    """A bench whose engine is captured, and which remembers what was really received and sent."""

    def __init__(self, is_compiled: bool = False, **recording: Any) -> None:
        self.memory = Memory()
        self.recorder = Recorder(self.memory, KEY, **recording)  # type: ignore[arg-type]
        self.truth: list[tuple[bytes, bytes, bool]] = []
        """(payload, the player's address, sent by the relay) of every datagram, in order."""
        super().__init__()
        self.recorder.begin(self.engine.world, RELAY, EPOCH_S, is_compiled)

    def receive(self, *datagrams: Datagram) -> None:
        super().receive(*datagrams)
        batch = Batch(max(1, len(datagrams)))
        for payload, address in datagrams:
            batch.append(payload, address)
        self.recorder.on_received(batch, self.now)
        batch.data[:] = 0xEE  # it is used again at once
        batch.length[:] = 7
        batch.address[:] = 0
        self.truth += [(payload, address, False) for payload, address in datagrams]

    def keep(self, outgoing: Outgoing) -> int:
        self.recorder.on_sent(outgoing, self.now)
        self.truth += [(payload, address, True) for address, payload in outgoing.datagrams()]
        return super().keep(outgoing)

    def captured(self) -> list[Packet]:
        """End the capture and read it."""
        self.recorder.close()
        return read(HEAD + self.memory.blocks)


def fill(stage: Staging, payloads: list[bytes], addresses: list[bytes], is_sent: bool = False, at_us: int = 0) -> bool:
    """Add payloads to a stage as one batch."""
    data = np.frombuffer(b"".join(payloads) or b"-", np.uint8)
    length = np.array([len(payload) for payload in payloads])
    pointer = data.ctypes.data + length.cumsum() - length
    pieces = Pieces(np.column_stack([pointer, length]), np.arange(len(payloads) + 1))
    return stage.add(pieces, np.frombuffer(b"".join(addresses), np.uint32).reshape(-1, 7), is_sent, at_us)


def payloads_of(blocks: Blocks) -> list[bytes]:
    """Cut the payloads out of blocks."""
    places = zip(blocks.payload_at.tolist(), blocks.length.tolist(), strict=True)
    return [blocks.buffer[at : at + length].tobytes() for at, length in places]


def play(bench: Bench, rooms: int = 2, players: int = 3, rounds: int = 6, seed: int = 1) -> list[list[Any]]:
    """Let rooms of players send states, messages and signals of random lengths."""
    rng = Random(1_000 + seed)  # not the engine's, or words would be its secrets
    members = [bench.join_all(players, code=f"ROOM{n}") for n in range(rooms)]
    for _ in range(rounds):
        bench.receive(
            *[
                client.data(
                    client.state(rng.randbytes(8)),
                    client.message(b"a message " + rng.randbytes(rng.randint(0, 90))),
                    client.signal(b"a signal " + rng.randbytes(rng.randint(0, 90))),
                )
                for room in members
                for client in room
            ]
        )
        bench.tick()
        bench.receive(*[client.listen() for room in members for client in room])
    return members
