"""Reference of a page's bytes: a PAGE section, built from plain values (SPEC 8)."""

from protocol import schemas
from protocol.constants import UpdateSection
from tests.reference.states import Entity


def ids_of_page(page: int, page_ids: int, num_ids: int) -> range:
    """List the entity ids of one page."""
    return range(page * page_ids, min((page + 1) * page_ids, num_ids))


def changes_since(entities: list[Entity], ids: range, since: int) -> tuple[set[int], set[int]]:
    """Tell what a receiver who has a page up to `since` lacks of it: (states, removals)."""
    states = {id_ for id_ in ids if entities[id_].state and entities[id_].changed_tick > since}
    return states, {id_ for id_ in ids if entities[id_].removed_tick > since}


def age_of(entity: Entity, tick: int, period_s: float) -> int:
    """Tell how old a sample is at a tick, in steps of 2 ms, 255 at most."""
    return max(0, min(255, int((tick * period_s * 1000 - entity.sample_ms) // 2)))


def build_page(
    entities: list[Entity], page: int, page_ids: int, since: int, tick: int, period_s: float, log_index: int
) -> bytes:
    """Build the PAGE section for receivers who have this page up to `since` (0: nothing of it)."""
    states, removed = changes_since(entities, ids_of_page(page, page_ids, len(entities)), since)
    groups = []
    for stride in sorted({len(entities[id_].state) for id_ in states}):
        ids = sorted(id_ for id_ in states if len(entities[id_].state) == stride)
        groups.append(
            {
                "header": {"encoding": 0, "count": len(ids), "stride": stride},
                "ids": ids,
                "ages": [age_of(entities[id_], tick, period_s) for id_ in ids],
                "states": [entities[id_].state for id_ in ids],
            }
        )
    listed = sorted(removed) if since else []  # a whole page tells of removals by what is absent
    header = {"page": page, "layer": 0, "since": since, "log_index": log_index}
    header |= {"removed_count": len(listed), "group_count": len(groups)}
    body = schemas.PAGE_SECTION.build({"header": header, "removed": listed, "groups": groups})
    return schemas.SECTION_HEADER.build({"type": UpdateSection.PAGE, "length": len(body)}) + body
