"""A compiled floor to talk to, and the client that talks to it."""

import functools
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from protocol import dtypes, schemas
from protocol.constants import AckFlag, DataSection, Kind
from tools.bench.floor import Fill, NoFloorError, compile_floor, floor_command, read_port

SHARD = 9
TICK_RATE = 60
PATIENCE_S = 5.0


@functools.cache
def program() -> Path:
    """The compiled floor. Skips without a compiler; fails where one is required."""
    try:
        return compile_floor(Path(tempfile.mkdtemp(prefix="tickrelay-floor-")))
    except NoFloorError as error:
        if "cc" in os.environ.get("TICKRELAY_REQUIRE", "").replace(",", " ").split():
            pytest.fail(f"a C compiler is required here: {error}")
        pytest.skip(str(error))


@contextmanager
def floor(
    players: int = 8,
    per_room: int = 8,
    state_bytes: int = 24,
    tick_rate: int = TICK_RATE,
    seconds: float = 60,
    fill: Fill | None = None,
) -> Iterator["Floor"]:
    """Run a floor until the block ends."""
    command = floor_command(program(), 0, players, per_room, state_bytes, tick_rate, seconds, fill)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                # everybody's datagrams of a tick come here
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                sock.connect(("127.0.0.1", read_port(process)))
                yield Floor(process, sock, per_room)
        finally:
            process.kill()


class Floor:
    """A running floor and all its players, on one socket."""

    def __init__(self, process: "subprocess.Popen[str]", sock: socket.socket, per_room: int) -> None:
        self.process = process
        self.sock = sock
        self.per_room = per_room
        self.seq: dict[int, int] = {}
        """Player -> its newest seq."""

    def say(self, player: int, *sections: bytes, **fields: int) -> None:
        """Send one DATA."""
        self.seq[player] = fields.pop("seq", self.seq.get(player, 0) + 1)
        header = {"kind": Kind.DATA, "shard": SHARD, "seq": self.seq[player] & 0xFFFF, "session": player + 1}
        header |= {"ack": 0, "ack_bits": 0, "ack_delay": 0, "flags": AckFlag.NOTHING_RECEIVED}
        header |= {"log_cursor": 0, "reserved": 0} | fields
        self.sock.send(dtypes.DATA_HEADER.encode(**header) + b"".join(sections))

    def publish(self, player: int, state: bytes, sample_ms: int = 0, **fields: int) -> None:
        """Send one DATA with the player's state."""
        self.say(player, state_section(player % self.per_room, state, sample_ms), **fields)

    def hear(self, seconds: float = PATIENCE_S, player: int | None = None) -> Iterator[Any]:
        """Yield every UPDATE, or those of one player, parsed by the schema. Ends when nothing came for so long."""
        while True:
            self.sock.settimeout(seconds)
            try:
                data = self.sock.recv(2048)
            except TimeoutError:
                return
            if player is not None and int.from_bytes(data[4:12], "little") != player + 1:
                continue
            update = schemas.UPDATE.parse(data)
            assert len(data) <= 1160
            assert schemas.UPDATE.build(update) == data
            update.size = len(data)
            yield update

    def publish_until_whole(self, states: dict[int, bytes], player: int) -> list[Any]:
        """Publish all states again and again until one tick brought all of them to `player`. Returns: its UPDATEs.

        Not at once: the tick may fall between two of the datagrams.
        """
        deadline = time.monotonic() + PATIENCE_S
        got: list[Any] = []
        self._publish_all(states)
        for update in self.hear(0.5, player):
            if got and update.header.tick != got[0].header.tick:
                assert time.monotonic() < deadline, "no tick had all states"
                got = []
            if not got:  # a tick is under way: what is published now goes into the next
                self._publish_all(states)
            got.append(update)
            if len(states_of(got)) == len(states):
                return got
        raise AssertionError("it fell silent")

    def _publish_all(self, states: dict[int, bytes]) -> None:
        for sender, state in states.items():
            self.publish(sender, state)


def state_section(entity_id: int, state: bytes, sample_ms: int = 0) -> bytes:
    """Build a STATE section of one entity."""
    body = dtypes.STATE_HEADER.encode(sample_ms, 1, len(state)) + entity_id.to_bytes(2, "little") + state
    return dtypes.SECTION_HEADER.encode(DataSection.STATE, len(body)) + body


def states_of(updates: Sequence[Any]) -> list[tuple[int, bytes]]:
    """List (entity id, state) of all pages of some UPDATEs."""
    return [
        (entity_id, state)
        for update in updates
        for section in update.sections
        for group in section.body.groups
        for entity_id, state in zip(group.ids, group.states, strict=True)
    ]
