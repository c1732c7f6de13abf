"""A crowd of players behind one socket, for measuring a relay: thousands of sessions in one process.

Players join one by one with the shared sans-IO client; then they play in numpy passes: everybody publishes one state a
tick and acknowledges what came. That is all they do: no messages, and what arrives is counted, not checked.
Linux only, for it reads and writes with `recvmmsg` and `sendmmsg`.
"""

import secrets
import socket
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.client import ClientConnection, ClientState, JoinMode, JoinRequest
from protocol.constants import DataSection, Kind, UpdateSection
from relay.batch import Batch
from relay.transport import libc

STATE_BYTES = 24
"""A position, a velocity: what the design's figures were measured with."""
JOINING_AT_ONCE = 64
BATCH_ROWS = 4096
SOCKET_BUFFER_BYTES = 4 << 20
_STATE_AT = dtypes.DATA_HEADER.size + dtypes.SECTION_HEADER.size + dtypes.STATE_HEADER.size
_DATA_BYTES = _STATE_AT + 2 + STATE_BYTES
_FIRST_SECTION = dtypes.UPDATE_HEADER.size
_LOG_INDEX_AT = _FIRST_SECTION + dtypes.SECTION_HEADER.size + 2 + 1 + 4
_LAST_AT = _FIRST_SECTION + dtypes.SECTION_HEADER.size + 4


def connect(address: tuple[str, int]) -> socket.socket:
    """Open a non-blocking socket to a relay, with large buffers where the system permits."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
    sock.connect(address)
    sock.setblocking(False)
    return sock


def join_players(sock: socket.socket, num_players: int, per_room: int, rooms: str = "CROWD") -> list[Any]:
    """Join players into rooms of `per_room`, whose codes begin with `rooms`, some at a time.

    Returns: the fields of each WELCOME (SPEC 4).
    Raises: RuntimeError if one does not get in.
    """
    joined: list[Any] = []
    while len(joined) < num_players:
        numbers = range(len(joined), min(num_players, len(joined) + JOINING_AT_ONCE))
        joined += _join_some(sock, [request_of(number, per_room, rooms) for number in numbers])
    return joined


def request_of(number: int, per_room: int, rooms: str) -> JoinRequest:
    """Build the join of one player of the crowd."""
    return JoinRequest(
        mode=JoinMode.JOIN_OR_CREATE,
        code=f"{rooms}-{number // per_room}",
        name=f"player {number}",
        max_players=per_room,
        max_state_bytes=STATE_BYTES,
        deadline_s=30.0,
    )


def _join_some(sock: socket.socket, requests: list[JoinRequest]) -> list[Any]:
    """Run the handshakes of a few players over one socket; answers find theirs by nonce."""
    attempts = {}
    for request in requests:
        nonce = secrets.randbits(64)
        attempts[nonce] = ClientConnection(request, nonce=nonce, now=time.monotonic())
    welcomes: dict[int, Any] = {}
    while len(welcomes) < len(attempts):
        for nonce, attempt in attempts.items():
            if nonce not in welcomes:
                for datagram in attempt.poll(time.monotonic()):
                    sock.send(datagram)
                if attempt.state is ClientState.CLOSED:
                    raise RuntimeError(f"a player could not join: {attempt.take_events()}")
        time.sleep(0.001)
        _hand_out(sock, attempts, welcomes)
    return list(welcomes.values())


def _hand_out(sock: socket.socket, attempts: dict[int, ClientConnection], welcomes: dict[int, Any]) -> None:
    """Give the answers that have come to the attempts they are for, and keep each WELCOME."""
    while True:
        try:
            data = sock.recv(2048)
        except (BlockingIOError, ConnectionRefusedError):
            return
        nonce = int.from_bytes(data[2:10], "little")
        if data[0] in (Kind.CHALLENGE, Kind.WELCOME, Kind.REFUSE) and nonce in attempts:
            attempts[nonce].receive(data, time.monotonic())
            if data[0] == Kind.WELCOME:
                welcomes[nonce] = dtypes.WELCOME_FIELDS.decode(data)


class Crowd:
    """Joined players as columns. Axis: P players, ordered by session id."""

    def __init__(self, sock: socket.socket, players: list[Any]) -> None:
        """Take over what `join_players` returned."""
        calls = libc.find_mmsg_calls()
        if calls is None:
            raise RuntimeError("a crowd needs 64-bit Linux")
        players = sorted(players, key=lambda player: player.session)
        self._sock, self._calls = sock, calls
        self.session = np.array([player.session for player in players], np.uint64)
        self._cursor = np.array([player.log_index for player in players], np.int64)
        self._newest = np.zeros(len(players), np.int64)
        self._mask = np.zeros(len(players), np.uint64)
        self._data = np.zeros((len(players), _DATA_BYTES), np.uint8)
        self._header = np.zeros(len(players), dtypes.DATA_HEADER_DTYPE)
        self._header["kind"], self._header["session"] = Kind.DATA, self.session
        self._header["shard"] = [player.shard for player in players]
        section = dtypes.SECTION_HEADER.encode(DataSection.STATE, _DATA_BYTES - dtypes.DATA_HEADER.size - 3)
        state = dtypes.STATE_HEADER.encode(0, 1, STATE_BYTES)
        self._data[:, dtypes.DATA_HEADER.size : _STATE_AT] = np.frombuffer(section + state, np.uint8)
        ids = np.array([player.player_id for player in players], "<u2")
        self._data[:, _STATE_AT : _STATE_AT + 2] = ids.view(np.uint8).reshape(-1, 2)
        self._out = datagrams_to_send(self._data)
        self._batch = Batch(BATCH_ROWS)
        self._in = _receive_headers(self._batch)
        self.snapshots = 0
        """UPDATEs received that held a page."""
        self.newest_tick = 0

    def __len__(self) -> int:
        """Return P."""
        return len(self.session)

    def publish(self, rng: np.random.Generator) -> None:
        """Everybody publishes new bytes and acknowledges what has come."""
        header = self._header
        header["seq"] += 1
        header["ack"], header["ack_bits"] = self._newest & 0xFFFF, self._mask >> np.uint64(1) & np.uint64(0xFFFFFFFF)
        header["flags"] = self._newest == 0
        header["log_cursor"] = self._cursor
        self._data[:, : dtypes.DATA_HEADER.size] = header.view(np.uint8).reshape(len(header), -1)
        self._data[:, _STATE_AT + 2 :] = rng.integers(0, 256, (len(self), STATE_BYTES), np.uint8)
        send_all(self._calls, self._sock, self._out[0])

    def receive(self) -> int:
        """Read everything that has arrived. Returns how many datagrams."""
        total = 0
        while True:
            got = self._calls.recv(self._sock.fileno(), self._in[0].ctypes.data, libc.MAX_CALL)
            if got <= 0:
                return total
            total += got
            self._batch.length[:got] = self._in[0]["length"][:got]
            self._take(self._batch.data[:got])

    def _take(self, data: npt.NDArray[np.uint8]) -> None:
        """Note arrivals, log positions and snapshots."""
        data = data[data[:, 0] == Kind.UPDATE]
        header = data[:, :_FIRST_SECTION].copy().view(dtypes.UPDATE_HEADER_DTYPE)[:, 0]
        who = np.searchsorted(self.session, header["session"])
        known = who < len(self)
        known[known] = self.session[who[known]] == header["session"][known]
        data, header, who = data[known], header[known], who[known]
        if not len(who):
            return
        seq = self._newest[who] + (header["seq"].astype(np.int64) - self._newest[who] + 32768 & 0xFFFF) - 32768
        before = self._newest.copy()
        np.maximum.at(self._newest, who, seq)
        self._mask <<= (self._newest - before).astype(np.uint64)
        np.bitwise_or.at(self._mask, who, np.uint64(1) << (self._newest[who] - seq).astype(np.uint64))
        kind = data[:, _FIRST_SECTION]
        for section, at in ((UpdateSection.PAGE, _LOG_INDEX_AT), (UpdateSection.LOG_RANGE, _LAST_AT)):
            some = kind == section
            index = data[some, at : at + 4].copy().view("<u4")[:, 0].astype(np.int64)
            np.maximum.at(self._cursor, who[some], index)
        self.snapshots += int(np.count_nonzero(kind == UpdateSection.PAGE))
        self.newest_tick = max(self.newest_tick, int(header["tick"].max()))


def datagrams_to_send(
    rows: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.uint64]]:
    """Point mmsghdrs at the rows of an array, (n, bytes), on a connected socket. Returns headers and their iovecs."""
    iovec = np.empty((len(rows), 2), np.uint64)
    iovec[:, 0], iovec[:, 1] = libc.row_pointers(rows), rows.shape[1]
    headers = libc.new_headers(len(rows))
    headers["iovec"], headers["num_iovecs"] = libc.row_pointers(iovec), 1
    return headers, iovec


def _receive_headers(batch: Batch) -> tuple[npt.NDArray[np.void], npt.NDArray[np.uint64]]:
    return datagrams_to_send(batch.data)


def send_all(calls: libc.MmsgCalls, sock: socket.socket, headers: npt.NDArray[np.void]) -> int:
    """Send datagrams in calls of up to 1,024. Returns how many the kernel took; what it refuses is lost."""
    sent = 0
    for start in range(0, len(headers), libc.MAX_CALL):
        count = min(libc.MAX_CALL, len(headers) - start)
        sent += max(0, calls.send(sock.fileno(), headers.ctypes.data + start * libc.MMSGHDR.itemsize, count))
    return sent
