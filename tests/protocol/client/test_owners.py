"""Owners: the player with an entity's number, unless it was handed over."""

import pytest

from protocol import schemas
from protocol.client.events import EntityOwnerChanged
from protocol.client.owners import Owners
from protocol.constants import NO_PLAYER, EntryKind
from protocol.records import Entry


def entry(kind: int, payload: bytes) -> Entry:
    return Entry(1, kind, NO_PLAYER, 0, 0, payload)


def give(entity_id: int, owner: int) -> Entry:
    payload = schemas.ENTITY_OWNER_PAYLOAD.build({"entity_id": entity_id, "owner": owner})
    return entry(EntryKind.ENTITY_OWNER, payload)


@pytest.fixture
def owners() -> Owners:
    return Owners(player_slots=8, num_ids=32)


def test_an_entity_belongs_to_the_player_with_its_number(owners: Owners) -> None:
    assert [owners.owner_of(entity_id) for entity_id in (1, 9, 31)] == [1, 1, 7]


def test_an_entity_is_handed_over_and_back(owners: Owners) -> None:
    assert owners.apply(give(9, 3)) == [EntityOwnerChanged(9, 3)]
    assert (owners.owner_of(9), owners.owner_of(1)) == (3, 1)
    assert owners.apply(give(9, NO_PLAYER)) == [EntityOwnerChanged(9, NO_PLAYER)]
    assert owners.owner_of(9) == NO_PLAYER
    assert owners.apply(give(9, 1)) == [EntityOwnerChanged(9, 1)]
    assert owners.on_joined(1) == []


def test_what_was_handed_over_before_us_is_told(owners: Owners) -> None:
    fields = [{"entity_id": 2, "owner": 5}, {"entity_id": 9, "owner": NO_PLAYER}]
    payload = schemas.OWNERS_PAYLOAD.build({"owners": fields})
    events = owners.apply(entry(EntryKind.OWNERS, payload))
    assert events == [
        EntityOwnerChanged(2, 5),
        EntityOwnerChanged(9, NO_PLAYER),
    ]
    assert (owners.owner_of(2), owners.owner_of(9)) == (5, NO_PLAYER)


def test_what_was_handed_over_to_who_leaves_falls_back(owners: Owners) -> None:
    for entity_id, owner in ((9, 3), (10, 3), (17, 4), (25, NO_PLAYER)):
        owners.apply(give(entity_id, owner))
    assert owners.on_left(3) == [EntityOwnerChanged(9, 1), EntityOwnerChanged(10, 2)]
    assert [owners.owner_of(entity_id) for entity_id in (9, 10, 17, 25)] == [1, 2, 4, NO_PLAYER]


def test_who_joins_takes_back_the_ids_with_its_number(owners: Owners) -> None:
    for entity_id, owner in ((9, 3), (10, 3), (17, NO_PLAYER)):
        owners.apply(give(entity_id, owner))
    assert owners.on_joined(1) == [EntityOwnerChanged(9, 1), EntityOwnerChanged(17, 1)]
    assert [owners.owner_of(entity_id) for entity_id in (9, 10, 17)] == [1, 3, 1]


@pytest.mark.parametrize(
    "bad",
    [
        entry(EntryKind.ENTITY_OWNER, b"\x01\x00"),
        entry(EntryKind.OWNERS, b"\x01\x00\x02"),
        entry(EntryKind.OWNERS, b"\x01\x00\x02\x00\x20\x00\x01\x00"),
        give(32, 1),
        give(1, 8),
    ],
)
def test_a_malformed_entry_or_one_about_what_cannot_be_changes_nothing(owners: Owners, bad: Entry) -> None:
    assert owners.apply(bad) is None
    assert [owners.owner_of(entity_id) for entity_id in range(32)] == [entity_id % 8 for entity_id in range(32)]
