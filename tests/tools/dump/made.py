"""Captures for the tests: real clients and a real engine in virtual time, seen at the relay's network card.

Also the frames of every link layer around a datagram, and files of both formats.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from protocol.client import ClientConnection, JoinMode, JoinRequest, Target
from protocol.client.handshake import ClientState
from relay.addresses import pack_address
from relay.batch import Batch
from relay.config import RelayConfig
from relay.engine import Engine

RELAY = ("10.0.0.9", 24545)
BEGIN_S = 1_700_000_000.0
"""When captures begin, seconds since 1970."""
STEP_S = 1 / 120
TICK_STEPS = 4
"""30 ticks a second."""
DELAY_STEPS = 3
"""From a client to the relay and back, each: 25 ms."""


class Packet(NamedTuple):
    """One datagram that passed the relay's network card."""

    time_s: float
    source: tuple[str, int]
    target: tuple[str, int]
    data: bytes


@dataclass(eq=False)
class Bot:
    """One player, and what is under way to it."""

    name: str
    address: tuple[str, int]
    connection: ClientConnection
    inbox: list[tuple[int, bytes]] = field(default_factory=list)
    """(step of arrival, datagram)."""


class Game:
    """A room, its players and a relay."""

    def __init__(
        self,
        num_players: int = 2,
        *,
        seed: int = 1,
        loss_up: float = 0.0,
        loss_down: float = 0.0,
        code: str = "LOBBY",
        config: RelayConfig | None = None,
    ) -> None:
        """Begin with nobody.

        Args:
            loss_up: Share lost before the relay's network card: never in the capture.
            loss_down: Share lost behind it: in the capture, but never acknowledged.
        """
        self.rng = Random(seed)
        self.engine = Engine(config or RelayConfig(), bytes(range(32)), Random(seed + 1))
        self.capture: list[Packet] = []
        self.loss_up, self.loss_down = loss_up, loss_down
        self.step = 0
        self._at_relay: list[tuple[int, tuple[str, int], bytes]] = []
        self._batch = Batch(256)
        self.bots = [self._bot(number, code) for number in range(num_players)]
        self.by_address = {pack_address(*bot.address): bot for bot in self.bots}

    def _bot(self, number: int, code: str) -> Bot:
        name, address = (
            ("Ada", "Bob", "Cem", "Dan", "Eve", "Fay", "Gus", "Hal")[number % 8],
            ("10.0.1.1", 40_000 + number),
        )
        request = JoinRequest(mode=JoinMode.JOIN_OR_CREATE, name=name, code=code, max_state_bytes=24)
        return Bot(name, address, ClientConnection(request, nonce=self.rng.getrandbits(64), now=self.now))

    @property
    def now(self) -> float:
        """Monotonic seconds of the virtual clock."""
        return self.step * STEP_S

    def run(self, seconds: float, act: Callable[["Game", Bot], None] | None = None) -> "Game":
        """Play on; `act` is called for each bot that is in the room, once a tick."""
        for _ in range(round(seconds / STEP_S)):
            self.step += 1
            self._move()
            is_tick = self.step % TICK_STEPS == 0
            for bot in self.bots:
                if act is not None and is_tick and bot.connection.state is ClientState.JOINED:
                    act(self, bot)
                send = bot.connection.tick if is_tick else bot.connection.poll
                self.send_up(bot, send(self.now))
                bot.connection.take_events()
            outgoing = self.engine.tick(self.now) if is_tick else self.engine.flush(self.now)
            for address, data in outgoing.datagrams():
                self._send_down(self.by_address[address], data)
        return self

    def send_up(self, bot: Bot, datagrams: Iterable[bytes]) -> None:
        """Send datagrams to the relay."""
        for data in datagrams:
            if self.rng.random() >= self.loss_up:
                self._at_relay.append((self.step + DELAY_STEPS, bot.address, data))

    def _send_down(self, bot: Bot, data: bytes) -> None:
        self.capture.append(Packet(BEGIN_S + self.now, RELAY, bot.address, data))
        if self.rng.random() >= self.loss_down:
            bot.inbox.append((self.step + DELAY_STEPS, data))

    def _move(self) -> None:
        """Let arrive what is due."""
        due = [entry for entry in self._at_relay if entry[0] <= self.step]
        self._at_relay = [entry for entry in self._at_relay if entry[0] > self.step]
        self._batch.clear()
        for _, address, data in due:
            self.capture.append(Packet(BEGIN_S + self.now, address, RELAY, data))
            self._batch.append(data, pack_address(*address))
        if due:
            self.engine.receive(self._batch, self.now)
        for bot in self.bots:
            for entry in [entry for entry in bot.inbox if entry[0] <= self.step]:
                bot.inbox.remove(entry)
                bot.connection.receive(entry[1], self.now)

    def leave(self, bot: Bot) -> None:
        """Say goodbye; run on a little, so that it arrives."""
        bot.connection.close(self.now)


def chatter(game: Game, bot: Bot) -> None:
    """Do what players do: move, talk, call."""
    number = game.step // TICK_STEPS
    bot.connection.publish(0, b"%-12d" % number, game.now)
    if number % 10 == 0:
        bot.connection.send_message(b"hello %d from %s" % (number, bot.name.encode()))
    if number % 15 == 0:
        bot.connection.send_signal(b"signal", target=Target.ALL, newest_first=True)


def ordinary_capture(seconds: float = 2.0, **options: Any) -> list[Packet]:
    """Two players join, play, and leave."""
    game = Game(**options).run(seconds, chatter)
    for bot in game.bots:
        game.leave(bot)
    return game.run(0.2).capture


# --- Frames


def ip4_bytes(host: str) -> bytes:
    return bytes(map(int, host.split(".")))


def udp(packet: Packet) -> bytes:
    """A UDP header and payload."""
    return struct.pack(">HHHH", packet.source[1], packet.target[1], 8 + len(packet.data), 0) + packet.data


def ipv4(
    packet: Packet, payload: bytes | None = None, *, offset: int = 0, more: bool = False, protocol: int = 17
) -> bytes:
    """An IPv4 packet; `payload` instead of the whole UDP datagram makes it a fragment at `offset` bytes."""
    body = udp(packet) if payload is None else payload
    fragment = (0x2000 if more else 0) | offset // 8
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 77, fragment, 64, protocol, 0)
    return header + ip4_bytes(packet.source[0]) + ip4_bytes(packet.target[0]) + body


def ip6_bytes(host: str) -> bytes:
    """An IPv6 address that has the IPv4 one in it."""
    return bytes.fromhex("fd00" + "00" * 10) + ip4_bytes(host)


def ipv6(
    packet: Packet, payload: bytes | None = None, *, offset: int = 0, more: bool = False, options: bool = False
) -> bytes:
    """An IPv6 packet; with a fragment header if `payload` is given, with hop-by-hop options if asked."""
    body, next_header = udp(packet), 17
    if payload is not None:
        body, next_header = struct.pack(">BBHI", 17, 0, offset | more, 77) + payload, 44
    if options:
        body, next_header = struct.pack(">BB6x", next_header, 0) + body, 0
    header = struct.pack(">IHBB", 0x60000000, len(body), next_header, 64)
    return header + ip6_bytes(packet.source[0]) + ip6_bytes(packet.target[0]) + body


def ethertype(ip: bytes) -> bytes:
    return b"\x08\x00" if ip[0] >> 4 == 4 else b"\x86\xdd"


LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "Ethernet": (1, lambda ip: bytes(12) + ethertype(ip) + ip),
    "Ethernet, padded": (1, lambda ip: (bytes(12) + ethertype(ip) + ip).ljust(400, b"\xee")),
    "Ethernet, one VLAN tag": (1, lambda ip: bytes(12) + b"\x81\x00\x00\x05" + ethertype(ip) + ip),
    "Ethernet, two VLAN tags": (1, lambda ip: bytes(12) + b"\x88\xa8\x00\x05\x81\x00\x00\x06" + ethertype(ip) + ip),
    "PPPoE": (
        1,
        lambda ip: (
            bytes(12) + b"\x88\x64\x11\x00\x00\x01\x00\x00" + (b"\x00\x21" if ip[0] >> 4 == 4 else b"\x00\x57") + ip
        ),
    ),
    "loopback, little-endian": (0, lambda ip: struct.pack("<I", 2 if ip[0] >> 4 == 4 else 30) + ip),
    "loopback, big-endian": (0, lambda ip: struct.pack(">I", 2 if ip[0] >> 4 == 4 else 24) + ip),
    "OpenBSD loopback": (108, lambda ip: struct.pack(">I", 2 if ip[0] >> 4 == 4 else 24) + ip),
    "Linux cooked": (113, lambda ip: bytes(14) + ethertype(ip) + ip),
    "Linux cooked 2": (276, lambda ip: ethertype(ip) + bytes(18) + ip),
    "raw IP": (101, lambda ip: ip),
    "raw IP, old number": (12, lambda ip: ip),
    "raw IPv4 or 6": (228, lambda ip: ip),
}
"""Name -> link type, and how it frames an IP packet."""


# --- Files


class Framed(NamedTuple):
    """One record of a capture file."""

    time_s: float
    frame: bytes


def framed(packets: Sequence[Packet], link: str = "Ethernet", ip: Callable[[Packet], bytes] = ipv4) -> list[Framed]:
    """Put packets into frames of a link layer."""
    return [Framed(packet.time_s, LINKS[link][1](ip(packet))) for packet in packets]


def write_pcap(
    path: Path, records: Iterable[Framed], link_type: int = 1, *, order: str = "<", nano: bool = False
) -> Path:
    """Write a pcap file of either byte order, with times in µs or ns."""
    units_per_s = 10**9 if nano else 10**6
    with path.open("wb") as file:
        magic = 0xA1B23C4D if nano else 0xA1B2C3D4
        file.write(struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65_535, link_type))
        for record in records:
            time = round(record.time_s * units_per_s)
            size = len(record.frame)
            file.write(struct.pack(order + "IIII", *divmod(time, units_per_s), size, size) + record.frame)
    return path


def pcapng_block(kind: int, body: bytes, order: str = "<") -> bytes:
    """One block of a pcapng file."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + size + body + size


def pcapng_begin(link_types: Sequence[int] = (101,), order: str = "<", resolution: int | None = None) -> bytes:
    """A section header and an interface for each link type."""
    options = b"" if resolution is None else struct.pack(order + "HHB3xHH", 9, 1, resolution, 0, 0)
    text = pcapng_block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    for link_type in link_types:
        text += pcapng_block(1, struct.pack(order + "HHI", link_type, 0, 0) + options, order)
    return text


def pcapng_packet(record: Framed, interface: int = 0, order: str = "<", units_per_s: int = 1_000_000) -> bytes:
    """An enhanced packet block."""
    time = round(record.time_s * units_per_s)
    size = len(record.frame)
    head = struct.pack(order + "IIIII", interface, time >> 32, time & 0xFFFFFFFF, size, size)
    return pcapng_block(6, head + record.frame + bytes(-size % 4), order)


def write_pcapng(path: Path, records: Iterable[Framed], link_type: int = 101) -> Path:
    """Write a pcapng file with one interface."""
    with path.open("wb") as file:
        file.write(pcapng_begin([link_type]))
        file.writelines(map(pcapng_packet, records))
    return path
