"""Properties: newest values and versions, as the log tells them."""

from typing import Any

import pytest

from protocol import schemas
from protocol.client.events import PropertyChanged
from protocol.client.properties import Properties
from protocol.constants import MAX_PLAYER_PROPERTIES, MAX_ROOM_PROPERTIES, NO_PLAYER, EntryKind
from protocol.properties import Value, encode_value
from protocol.records import Entry


def changed(index: int, key: str, value: Value, owner: int = NO_PLAYER, by: int = 2) -> Entry:
    kind, data = encode_value(value)
    fields = {"player_id": by, "owner": owner, "key": key.encode(), "type": kind, "value": data}
    payload = schemas.PROPERTY_CHANGED_PAYLOAD.build(fields)
    return Entry(index, EntryKind.PROPERTY_CHANGED, NO_PLAYER, 0, 0, payload)


def listed(*properties: tuple[int, int, str, Value]) -> Entry:
    """(version, owner, key, value) of each."""
    fields: list[dict[str, Any]] = []
    for version, owner, key, value in properties:
        kind, data = encode_value(value)
        fields.append({"version": version, "owner": owner, "key": key.encode(), "type": kind, "value": data})
    payload = schemas.PROPERTIES_PAYLOAD.build({"properties": fields})
    return Entry(1, EntryKind.PROPERTIES, NO_PLAYER, 0, 0, payload)


@pytest.fixture
def properties() -> Properties:
    return Properties(player_slots=8)


def test_a_property_is_set_changed_and_removed(properties: Properties) -> None:
    assert properties.apply(changed(5, "map", "cave")) == [PropertyChanged(NO_PLAYER, "map", "cave", 2)]
    assert (dict(properties.of_room), properties.version(NO_PLAYER, "map")) == ({"map": "cave"}, 5)
    properties.apply(changed(70000, "map", "hill"))
    assert (properties.of(NO_PLAYER)["map"], properties.version(NO_PLAYER, "map")) == ("hill", 70000)
    assert properties.apply(changed(70001, "map", None)) == [PropertyChanged(NO_PLAYER, "map", None, 2)]
    assert (dict(properties.of_room), properties.version(NO_PLAYER, "map")) == ({}, 0)
    assert properties.apply(changed(70002, "map", None)) == [PropertyChanged(NO_PLAYER, "map", None, 2)]


def test_properties_of_players_are_apart_and_go_with_them(properties: Properties) -> None:
    properties.apply(changed(5, "team", 1, owner=3))
    properties.apply(changed(6, "team", 2, owner=4))
    assert (properties.of(3), properties.of(4), properties.of(5)) == ({"team": 1}, {"team": 2}, {})
    properties.forget(3)
    properties.forget(7)
    assert (properties.of(3), properties.version(3, "team"), properties.version(4, "team")) == ({}, 0, 6)


def test_those_that_were_there_before_us_come_with_their_versions(properties: Properties) -> None:
    events = properties.apply(listed((5, NO_PLAYER, "map", "cave"), (70000, 3, "team", 1)))
    assert events == [PropertyChanged(NO_PLAYER, "map", "cave", NO_PLAYER), PropertyChanged(3, "team", 1, NO_PLAYER)]
    assert (properties.version(NO_PLAYER, "map"), properties.version(3, "team")) == (5, 70000)


@pytest.mark.parametrize(("owner", "limit"), [(NO_PLAYER, MAX_ROOM_PROPERTIES), (3, MAX_PLAYER_PROPERTIES)])
def test_more_than_an_owner_can_have_are_not_taken(properties: Properties, owner: int, limit: int) -> None:
    for number in range(limit):
        assert properties.apply(changed(number + 1, f"key {number}", number, owner=owner)) is not None
    assert properties.apply(changed(1000, "one more", 1, owner=owner)) is None
    assert properties.apply(listed((1001, owner, "and another", 1))) == []
    assert properties.apply(changed(1002, "key 0", "changed", owner=owner)) is not None
    assert len(properties.of(owner)) == limit


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (EntryKind.PROPERTY_CHANGED, b""),
        (EntryKind.PROPERTY_CHANGED, b"\x08\x00\xff\xff\x01a\x01\x01"),  # set by a player that cannot be
        (EntryKind.PROPERTY_CHANGED, b"\x01\x00\x08\x00\x01a\x01\x01"),  # of a player that cannot be
        (EntryKind.PROPERTY_CHANGED, b"\x01\x00\xff\xff\x00\x01\x01"),  # no key
        (EntryKind.PROPERTY_CHANGED, b"\x01\x00\xff\xff\x01a\x01\x02"),  # no bool
        (EntryKind.PROPERTIES, b"\x00"),
        (EntryKind.PROPERTIES, b"\x01\x00\x00\x00\xff\xff\x01a\x09\x00"),  # no type
    ],
)
def test_a_malformed_entry_changes_nothing(properties: Properties, kind: int, payload: bytes) -> None:
    assert properties.apply(Entry(1, kind, NO_PLAYER, 0, 0, payload)) is None
    assert [dict(properties.of(owner)) for owner in (*range(8), NO_PLAYER)] == [{}] * 9
