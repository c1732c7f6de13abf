"""Reference of state upstream: which writes count, and what the table then holds (SPEC 7)."""

from dataclasses import dataclass, field


@dataclass
class Entity:
    """One entity id of a room."""

    owner: int | None = None
    state: bytes = b""
    """Empty: not alive."""
    owned_from: int = 0
    """Log index of the entry that made its owner."""
    write_seq: int = 0
    changed_tick: int = 0
    removed_tick: int = 0
    sample_ms: int = 0


@dataclass
class Table:
    """One room's table."""

    entities: list[Entity]
    bad_entity: int = 0
    """States of ids outside the room."""
    not_owner: int = 0
    """States by somebody else than the owner."""
    page_ticks: dict[int, int] = field(default_factory=dict)
    """Page -> stamp of its newest change."""
    page_ids: int = 1

    def give(self, entity_id: int, session: int, log_index: int) -> None:
        """Make a session the owner; entry `log_index` tells it."""
        entity = self.entities[entity_id]
        if entity.owner != session:
            entity.owner, entity.owned_from, entity.write_seq = session, log_index, 0

    def write(
        self, session: int, entity_id: int, seq: int, log_cursor: int, state: bytes, sample_ms: int, stamp: int
    ) -> None:
        """Take one state; empty: the entity is removed. `stamp` is the tick of the next snapshot."""
        if entity_id >= len(self.entities):
            self.bad_entity += 1
            return
        entity = self.entities[entity_id]
        if entity.owner != session or log_cursor < entity.owned_from:
            self.not_owner += 1
            return
        if seq <= entity.write_seq:
            return
        entity.write_seq = seq
        if state:
            entity.state, entity.sample_ms, entity.changed_tick = state, sample_ms, stamp
        elif entity.state:
            entity.state, entity.removed_tick = b"", stamp
        else:
            return
        self.page_ticks[entity_id // self.page_ids] = stamp
