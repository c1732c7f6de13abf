"""The entities that we publish, on their way up (SPEC 7).

No history: an entity has one newest state with a version number. Each DATA carries what is not acknowledged; the
datagram remembers which versions it carried, and an acknowledgement of *any* datagram with the newest version settles
the entity. A removal is a state of no bytes. What is published after a removal is held back until the removal is
acknowledged: else a receiver could not tell the new life from the old.
"""

import struct
from collections.abc import Collection
from dataclasses import dataclass

from protocol.client.acks import StateVersion
from protocol.client.parcel import Parcel
from protocol.constants import DataSection
from protocol.dtypes import SECTION_HEADER, STATE_HEADER

_ID = struct.Struct("<H")
_SECTION_BYTES = SECTION_HEADER.size + STATE_HEADER.size
_MAX_COUNT = 255
"""`count` of a STATE section is a u8."""


@dataclass(slots=True)
class _Entity:
    entity_id: int
    state: bytes
    """Newest bytes; b"" = removed."""
    sample_ms: int
    """Server time of the sample, whole ms."""
    version: int
    """Unique over all entities and states of this session, so that no late ack can mean another state."""
    sent_seq: int = 0
    """Newest DATA that carried this entity, in any version; 0 = none."""
    held: tuple[bytes, int] | None = None
    """(state, sample_ms) published after a removal that is not acknowledged."""


class Uploads:
    """What we published, and what of it the server has not confirmed."""

    def __init__(self) -> None:
        self._entities: dict[int, _Entity] = {}
        self._unacked: dict[int, _Entity] = {}
        self._version = 0

    @property
    def entity_ids(self) -> Collection[int]:
        """Entities that we published and whose removal is not settled. A live view."""
        return self._entities.keys()

    @property
    def num_unacked(self) -> int:
        """Entities whose newest state or removal is not acknowledged."""
        return len(self._unacked)

    def publish(self, entity_id: int, state: bytes, sample_ms: int) -> None:
        """Take an entity's new state. The same bytes again are no news and cost nothing once acknowledged."""
        entity = self._entities.get(entity_id)
        if entity is None:
            entity = self._entities[entity_id] = _Entity(entity_id, b"", sample_ms, 0)
        elif not entity.state:
            entity.held = (state, sample_ms)
            return
        if entity.state != state:
            self._renew(entity, state)
        entity.sample_ms = sample_ms

    def remove(self, entity_id: int, *, is_there: bool) -> None:
        """Take an entity away; one that is removed already stays so.

        One that we never published is taken away if `is_there`: it came to us with the state that its former owner set.
        """
        entity = self._entities.get(entity_id)
        if entity is None:
            if is_there:
                entity = self._entities[entity_id] = _Entity(entity_id, b"", 0, 0)
                self._renew(entity, b"")
        else:
            entity.held = None
            if entity.state:
                self._renew(entity, b"")

    def forget(self, entity_id: int) -> None:
        """An entity is not ours any more: nothing of it is sent, not even a removal."""
        self._entities.pop(entity_id, None)
        self._unacked.pop(entity_id, None)

    def on_resumed(self) -> None:
        """Begin a new session: the newest state or removal of every entity is due again, for datagrams count anew."""
        for entity in self._entities.values():
            entity.sent_seq = 0
        self._unacked = dict(self._entities)

    def on_acked(self, states: list[StateVersion]) -> None:
        """The server has taken these versions; an older one than the newest settles nothing."""
        for entity_id, version in states:
            entity = self._unacked.get(entity_id)
            if entity is None or entity.version != version:
                continue
            del self._unacked[entity_id]
            if entity.state:
                continue
            if entity.held is None:
                del self._entities[entity_id]
            else:
                state, entity.sample_ms = entity.held
                entity.held = None
                self._renew(entity, state)

    def due(self) -> list[_Entity]:
        """List what one tick has to send, longest unsent first."""
        return sorted(self._unacked.values(), key=lambda entity: entity.sent_seq)

    def pack(self, todo: list[_Entity], parcel: Parcel, seq: int) -> list[_Entity]:
        """Put as many of `todo` as fit into the DATA with number `seq`, one section per stride.

        Returns: those that did not fit.
        """
        groups: dict[int, list[_Entity]] = {}
        rest = []
        room = parcel.room
        for entity in todo:
            stride = len(entity.state)
            group = groups.get(stride, [])
            cost = _ID.size + stride + (0 if group else _SECTION_BYTES)
            is_full = len(group) == _MAX_COUNT or (not group and len(groups) == parcel.sections_left)
            if cost > room or is_full:
                rest.append(entity)
                continue
            groups.setdefault(stride, group).append(entity)
            room -= cost
        for stride, group in groups.items():
            sample_ms = max(entity.sample_ms for entity in group)  # an unchanged older state is true then as well
            header = STATE_HEADER.encode(sample_ms & 0xFFFF, len(group), stride)
            parcel.add(DataSection.STATE, header + b"".join(_ID.pack(e.entity_id) + e.state for e in group))
            for entity in group:
                entity.sent_seq = seq
                parcel.states.append(StateVersion(entity.entity_id, entity.version))
        return rest

    def _renew(self, entity: _Entity, state: bytes) -> None:
        self._version += 1
        entity.version = self._version
        entity.state = state
        self._unacked[entity.entity_id] = entity
