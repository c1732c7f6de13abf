"""Events: values that nobody can change on the way to the game."""

import dataclasses
import typing

import pytest

from protocol.client import events


def test_every_event_is_immutable_and_listed_in_the_union() -> None:
    classes = {value for value in vars(events).values() if dataclasses.is_dataclass(value)}
    assert set(typing.get_args(events.Event)) == classes
    assert len(classes) == 20


def test_an_event_cannot_be_changed() -> None:
    event = events.PlayerJoined(1, "ann")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.name = "bob"  # type: ignore[misc]
