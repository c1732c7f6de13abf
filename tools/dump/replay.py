"""`--replay`: find a player's uploads in a capture, and play them to a relay over a socket.

A rotated capture may be several files. Without the one that has the handshake, name and room are not known.
"""

import argparse
import contextlib
import secrets
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from protocol.client import JoinMode, JoinRequest
from protocol.client.names import is_name
from protocol.constants import MAX_DATAGRAM_BYTES, Kind
from protocol.dtypes import DATA_HEADER, UPDATE_HEADER
from protocol.sequence import extend
from tools.cli import EXIT_FAILED, UsageError
from tools.dump.captures import in_time_order
from tools.dump.datagrams import Direction
from tools.dump.fields import id_text
from tools.dump.filters import Keep, build_filter
from tools.dump.packets import PacketReader
from tools.dump.recognise import Recogniser
from tools.dump.replay_session import ReplaySession
from tools.dump.sessions import Seen, Session, Sessions
from tools.dump.streams import UNKNOWN_BASE
from tools.dump.uploads import Recording, build_recording, room_options
from tools.ping import parse_address

BATCH = 4096
"""Datagrams that are read at once."""
MAX_PLAYERS_NAMED = 8
"""Players that are listed if one must be chosen."""
MAX_WAIT_S = 0.2
FALLBACK_NAME = "replay"
_CUT_SHORT = "were cut by the capture: it must be made again, with whole packets (tcpdump -s 0)"


class CutCapture(Exception):
    """The capture has no upload whole. The text is the line that is shown."""


@dataclass
class _Found:
    """What a capture has of one session."""

    uploads: list[tuple[float, int, bytes]] = field(default_factory=list)
    """(seconds since 1970, extended seq, datagram)."""
    num_cut: int = 0
    """Uploads of which the capture has only the begin: played, they would be malformed ones that nobody sent."""
    tick: tuple[float, int] | None = None
    """(seconds since 1970, tick) of the first UPDATE or WELCOME."""


def run_replay(options: argparse.Namespace) -> int:
    """Play a captured player. Returns: the exit code. Raises: UsageError."""
    host, port = parse_address(options.to)
    try:
        recording = read_recording(options)
    except CutCapture as error:
        print(f"tickrelay dump: {error}", file=sys.stderr)
        return EXIT_FAILED
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except socket.gaierror as error:
        print(f"tickrelay dump: {host} has no address: {error.strerror}; is the name right?", file=sys.stderr)
        return EXIT_FAILED
    replay = ReplaySession(
        recording, _request(recording, options), nonce=secrets.randbits(64), speed=options.speed, now=time.monotonic()
    )
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(address)
        except OSError as error:
            print(f"tickrelay dump: cannot reach {options.to}: {error.strerror}", file=sys.stderr)
            return EXIT_FAILED
        try:
            _play(sock, replay, recording, options.speed)
        except KeyboardInterrupt:
            for data in replay.close():  # or the player would stand in the room until the relay misses it
                with contextlib.suppress(OSError):
                    sock.send(data)
            raise
    tail = f"; {replay.num_updates} datagrams came back"
    print(f"tickrelay dump: {replay.ended}{tail if replay.welcome is not None else ''}", file=sys.stderr)
    return 0 if replay.is_done else EXIT_FAILED


def read_recording(options: argparse.Namespace) -> Recording:
    """Read the capture and choose the one session that the filters let pass.

    Raises: UsageError if it is not one; CutCapture if none of its uploads is whole.
    """
    begin_s = 0.0
    keep = build_filter(options, lambda: begin_s)
    packets, recogniser, sessions = PacketReader(), Recogniser(options.port), Sessions()
    found: dict[Session | None, _Found] = {}
    for capture in in_time_order(options.replay):
        batch = []
        with capture:
            for frame in capture:
                datagram = packets.read(frame)
                if datagram is None or not recogniser.is_ours(datagram):
                    continue
                begin_s = begin_s or datagram.time_s
                batch.append(datagram)
                if len(batch) == BATCH:
                    _collect(sessions.read(batch).seen, found, keep)
                    batch = []
        _collect(sessions.read(batch).seen, found, keep)
        for notice in capture.notices:
            print(f"tickrelay dump: {notice}", file=sys.stderr)
    name = options.replay[0] if len(options.replay) == 1 else f"a capture of {len(options.replay)} files"
    return _choose(found, name)


def _collect(all_seen: list[Seen], found: dict[Session | None, _Found], keep: Keep | None) -> None:
    """Add the uploads of every session that the filter lets pass, and the first tick of each session. Those that were
    cut within their header are nobody's.
    """
    for seen in all_seen:
        session, data = seen.session, seen.datagram.data
        if seen.kind == Kind.DATA and seen.direction is Direction.UP:
            if session is None or keep is None or keep(seen):
                _add_upload(found.setdefault(session, _Found()), seen)
        elif session is not None and seen.kind == Kind.UPDATE and len(data) >= UPDATE_HEADER.size:
            of = found.setdefault(session, _Found())
            of.tick = of.tick or (seen.datagram.time_s, UPDATE_HEADER.decode(data).tick)


def _add_upload(of: _Found, seen: Seen) -> None:
    data = seen.datagram.data
    if seen.datagram.missing_bytes:
        of.num_cut += 1
    elif len(data) >= DATA_HEADER.size:
        low = DATA_HEADER.decode(data).seq
        near = of.uploads[-1][1] if of.uploads else low + UNKNOWN_BASE
        of.uploads.append((seen.datagram.time_s, extend(low, near), data))


def _choose(found: dict[Session | None, _Found], name: str) -> Recording:
    nobodys = found.pop(None, _Found())
    players = {session: of for session, of in found.items() if session is not None and (of.uploads or of.num_cut)}
    if not players and nobodys.num_cut:
        raise CutCapture(f"all {nobodys.num_cut:,} uploads {_CUT_SHORT}")
    if not players:
        raise UsageError(f"{name} holds no uploads of a player that the filters let pass")
    if len(players) > 1:
        named = [f"{session.name or '-'} {id_text(session.session)}" for session in players]
        more = f" and {len(named) - MAX_PLAYERS_NAMED} more" if len(named) > MAX_PLAYERS_NAMED else ""
        raise UsageError(
            f"{name} holds {len(players)} players; permitted: one, chosen by --session or --player: "
            f"{', '.join(named[:MAX_PLAYERS_NAMED])}{more}"
        )
    session, of = next(iter(players.items()))
    if not of.uploads:
        raise CutCapture(f"all {of.num_cut:,} uploads {_CUT_SHORT}")
    if of.num_cut:
        print(f"tickrelay dump: {of.num_cut:,} uploads were cut by the capture and left out", file=sys.stderr)
    return build_recording(session, of.uploads, of.tick)


def _request(recording: Recording, options: argparse.Namespace) -> JoinRequest:
    """Build the wish for a fresh room with the old one's limits. Raises: UsageError for a wrong code."""
    name = recording.name if is_name(recording.name) else FALLBACK_NAME
    mode = JoinMode.JOIN_OR_CREATE if options.code else JoinMode.CREATE
    limits: dict[str, Any] = room_options(recording)
    try:
        return JoinRequest(mode=mode, name=name, code=options.code, client_name="tickrelay-replay", **limits)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _play(sock: socket.socket, replay: ReplaySession, recording: Recording, speed: float) -> None:
    """Play to the end, over a connected socket."""
    is_announced = False
    while True:
        now = time.monotonic()
        for data in replay.poll(now):
            with contextlib.suppress(OSError):  # an ICMP answer to an earlier one: the relay may be about to start
                sock.send(data)
        if replay.ended:
            return
        if replay.welcome is not None and not is_announced:
            is_announced = True
            print(
                f"tickrelay dump: playing {len(recording.uploads)} uploads of {recording.name or 'a player'} "
                f"({recording.duration_s / speed:.1f} s) as {id_text(replay.welcome.session)} into room "
                f"{replay.welcome.code}",
                file=sys.stderr,
            )
        wait_s = min(MAX_WAIT_S, max(0.0, replay.next_at() - time.monotonic()))
        if select.select([sock], [], [], wait_s)[0]:
            with contextlib.suppress(OSError):
                replay.receive(sock.recv(MAX_DATAGRAM_BYTES + 1), time.monotonic())
