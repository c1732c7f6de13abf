"""The uploads of a captured session, and how they are rewritten for another session (SPEC 5, 7, 9, 10).

Bytes of the game, and everything malformed, stay as they are: that is what a bug report is about. What names the old
session, its room, its log or its time is translated.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from construct import ConstructError

from protocol import schemas
from protocol.client.handshake import Welcome
from protocol.constants import MAX_ENTITIES_PER_PLAYER, SAMPLE_CLAMP_MS, DataSection, RoomFlag, SignalFlag
from protocol.dtypes import DATA_HEADER, MESSAGE_HEADER, SECTION_HEADER, SIGNAL_UP_HEADER, STATE_HEADER
from protocol.sequence import extend
from tools.dump.sessions import Session
from tools.dump.stats import DEFAULT_TICK_RATE


class Upload(NamedTuple):
    """One captured DATA."""

    at_s: float
    """When it was seen, seconds after the first."""
    seq: int
    """Counted from 1 for the lowest number captured."""
    data: bytes


@dataclass
class Recording:
    """All that is needed to play a session again."""

    name: str
    """Of the player; empty if it is not known."""
    uploads: list[Upload]
    """In the order in which they were seen; doubled and late ones too."""
    welcome: Any = None
    """Fields of its WELCOME; None if that was not captured."""
    clock: tuple[float, int] | None = None
    """(seconds after the first upload, tick of the relay then); None if no tick was captured."""
    entity_ids: list[int] = field(default_factory=list)
    """All that it published, ascending."""
    max_stride: int = 0
    """Longest state, bytes."""
    first_message: int | None = None
    """Lowest message id, its low 16 bits; None without messages."""

    @property
    def duration_s(self) -> float:
        """From the first upload to the last."""
        return self.uploads[-1].at_s if self.uploads else 0.0


def build_recording(
    session: Session, uploads: list[tuple[float, int, bytes]], tick: tuple[float, int] | None
) -> Recording:
    """Build a recording from what was captured.

    Args:
        session: Whose.
        uploads: (seconds since 1970, extended seq, datagram) of every DATA with a whole header, at least one.
        tick: (seconds since 1970, tick) of one UPDATE or of WELCOME.
    """
    begin_s, lowest = uploads[0][0], min(seq for _, seq, _ in uploads)
    recording = Recording(
        session.name,
        [Upload(time_s - begin_s, seq - lowest + 1, data) for time_s, seq, data in uploads],
        session.welcome,
        None if tick is None else (tick[0] - begin_s, tick[1]),
    )
    ids: set[int] = set()
    for upload in recording.uploads:
        for kind, body in split_sections(upload.data)[0]:
            if kind == DataSection.STATE and len(body) >= STATE_HEADER.size:
                header = STATE_HEADER.decode(body)
                recording.max_stride = max(recording.max_stride, header.stride)
                ids.update(entity_id for entity_id, _ in _states(body))
            elif kind == DataSection.MESSAGE and len(body) >= MESSAGE_HEADER.size:
                number = MESSAGE_HEADER.decode(body).message_id
                first = number if recording.first_message is None else recording.first_message
                recording.first_message = min(first, extend(number, first)) & 0xFFFF
    recording.entity_ids = sorted(ids)
    return recording


def split_sections(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Cut a DATA into its sections. Returns: (type, body) of each, and what follows the last whole one."""
    sections = []
    at = DATA_HEADER.size
    while at + SECTION_HEADER.size <= len(data):
        kind, length = SECTION_HEADER.decode(data, at)
        begin = at + SECTION_HEADER.size
        if begin + length > len(data):
            break
        sections.append((kind, data[begin : begin + length]))
        at = begin + length
    return sections, data[at:]


def _states(body: bytes) -> list[tuple[int, bytes]]:
    """Cut a STATE section into (entity id, state); as many as are whole."""
    header = STATE_HEADER.decode(body)
    size = 2 + header.stride
    places = range(STATE_HEADER.size, min(STATE_HEADER.size + header.count * size, len(body)) - size + 1, size)
    return [(int.from_bytes(body[at : at + 2], "little"), body[at + 2 : at + size]) for at in places]


class Rewriter:
    """Translates uploads of one recording for the session that a WELCOME gave us."""

    def __init__(self, recording: Recording, welcome: Welcome) -> None:
        self._recording = recording
        self._welcome = welcome
        old = recording.welcome
        if old is not None:
            self._first_message = (old.message_id + 1) & 0xFFFF
        else:
            self._first_message = recording.first_message or 1
        self._local = {entity_id: rank for rank, entity_id in enumerate(recording.entity_ids)}

    def rewrite_sections(self, upload: Upload, server_ms: int) -> bytes:
        """Translate what follows the header of an upload. `server_ms`: time of the new relay, ms since its epoch."""
        sections, rest = split_sections(upload.data)
        parts = []
        for kind, body in sections:
            if kind == DataSection.LOG_BITS:
                continue  # it acknowledges entries of another log
            if kind == DataSection.STATE and len(body) >= STATE_HEADER.size:
                body = self._rewrite_states(body, upload.at_s, server_ms)
            elif kind == DataSection.MESSAGE and len(body) >= MESSAGE_HEADER.size:
                body = self._rewrite_message(body)
            elif kind == DataSection.SIGNAL and len(body) >= SIGNAL_UP_HEADER.size:
                body = self._rewrite_signal(body)
            parts.append(SECTION_HEADER.encode(kind, len(body)) + body)
        return b"".join(parts) + rest

    def _rewrite_states(self, body: bytes, at_s: float, server_ms: int) -> bytes:
        header = STATE_HEADER.decode(body)
        states = _states(body)
        sample_ms = (server_ms - self._age_ms(header.sample_ms, at_s)) & 0xFFFF
        rest = body[STATE_HEADER.size + len(states) * (2 + header.stride) :]
        ids = b"".join(self.entity_id(entity_id).to_bytes(2, "little") + state for entity_id, state in states)
        return STATE_HEADER.encode(sample_ms, header.count, header.stride) + ids + rest

    def _age_ms(self, sample_ms: int, at_s: float) -> int:
        """Tell how old a sample was when its upload was seen; 0 where the old relay's time is not known."""
        if self._recording.clock is None:
            return 0
        clock_at_s, tick = self._recording.clock
        old = self._recording.welcome
        tick_rate = old.tick_rate if old is not None and old.tick_rate else DEFAULT_TICK_RATE
        old_ms = int(tick * 1000 / tick_rate + (at_s - clock_at_s) * 1000)
        return min(max(old_ms - extend(sample_ms, old_ms), 0), SAMPLE_CLAMP_MS)

    def entity_id(self, old_id: int) -> int:
        """Translate an entity id: the same local index, our player id. Without the old WELCOME local indexes are made
        up in the order of the ids.
        """
        old, new = self._recording.welcome, self._welcome
        if old is None or not old.player_slots:
            local, player_id = self._local.get(old_id, 0), new.player_id
        else:
            local, player_id = divmod(old_id, old.player_slots)
            player_id = new.player_id if player_id == old.player_id else player_id
        return int((local * new.player_slots + player_id) & 0xFFFF)

    def _rewrite_message(self, body: bytes) -> bytes:
        header = MESSAGE_HEADER.decode(body)
        message_id = self._message_id(header.message_id)
        rest = self._targets(body, MESSAGE_HEADER.size, header.target_count)
        ids_bytes = 2 * header.target_count
        if not header.more:
            rest = rest[:ids_bytes] + self._rewrite_request(header.kind, rest[ids_bytes:])
        return MESSAGE_HEADER.encode(*header._replace(message_id=message_id)) + rest

    def _rewrite_request(self, kind: int, payload: bytes) -> bytes:
        """Translate the players and entities that a request names; any other message stays as it is.

        Log indexes stay: what was entry 7 there need not be it here, so a relay may refuse what names one.
        """
        schema = schemas.REQUEST_PAYLOADS.get(kind)
        old = self._recording.welcome
        if schema is None:
            return payload
        try:
            value = schema.parse(payload)
        except ConstructError:
            return payload
        for name in {"player_id", "owner"} & set(value):
            value[name] = self._welcome.player_id if old is not None and value[name] == old.player_id else value[name]
        if "entity_id" in value:
            value["entity_id"] = self.entity_id(value.entity_id)
        built: bytes = schema.build(value)
        return built

    def _rewrite_signal(self, body: bytes) -> bytes:
        header = SIGNAL_UP_HEADER.decode(body)
        if header.flags & SignalFlag.AFTER_LOG and header.after_message:
            header = header._replace(after_message=self._message_id(header.after_message))
        return SIGNAL_UP_HEADER.encode(*header) + self._targets(body, SIGNAL_UP_HEADER.size, header.target_count)

    def _message_id(self, old_id: int) -> int:
        return int((old_id - self._first_message + self._welcome.message_id + 1) & 0xFFFF)

    def _targets(self, body: bytes, at: int, count: int) -> bytes:
        """Translate our own player id among the targets; the others' stay, whoever has them in the new room."""
        end = at + 2 * count
        old = self._recording.welcome
        if old is None or end > len(body):
            return body[at:]
        ids = [int.from_bytes(body[i : i + 2], "little") for i in range(at, end, 2)]
        new_ids = [self._welcome.player_id if player_id == old.player_id else player_id for player_id in ids]
        return b"".join(player_id.to_bytes(2, "little") for player_id in new_ids) + body[end:]


def room_options(recording: Recording) -> dict[str, Any]:
    """Tell what room the recording needs: the options of a JOIN that creates it."""
    old = recording.welcome
    if old is None:
        return {
            "entities_per_player": min(max(1, len(recording.entity_ids)), MAX_ENTITIES_PER_PLAYER),
            "max_state_bytes": max(1, recording.max_stride),
        }
    return {
        "max_players": old.max_players,
        "entities_per_player": old.entities_per_player,
        "max_state_bytes": old.max_state_bytes,
        "anyone_sets": bool(old.room_flags & RoomFlag.ANYONE_SETS),
    }
