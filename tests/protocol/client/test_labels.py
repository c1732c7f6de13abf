"""Games, versions, tags and properties that a client names: checked, and encoded as SPEC 4 says."""

from typing import Any

import pytest

from protocol.client.labels import (
    label_options,
    properties_options,
    require_label,
    require_labels,
    require_properties,
    texts_options,
)
from protocol.constants import Option


@pytest.mark.parametrize("text", ["", "chess", "ä" * 4, "x" * 8])
def test_a_label_that_fits_is_taken(text: str) -> None:
    require_label("game", text, 8)
    assert len(text.encode()) <= 8


@pytest.mark.parametrize("text", ["x" * 9, "ä" * 5, "a\nb", "a\x7fb", "\x9f", "\ud800"])
def test_a_label_that_does_not_is_told_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"game is .*permitted: at most 8 bytes"):
        require_label("game", text, 8)


@pytest.mark.parametrize("texts", [["a"] * 5, [""], ["x" * 129], ["a\n"], "abc", ["x" * 128] * 2])
def test_a_list_of_labels_that_does_not_fit_is_told_by_name(texts: Any) -> None:
    require_labels("tags", ("duo", "x" * 128), 4, 128)
    with pytest.raises(ValueError, match=r"tags is .*permitted: at most 4 texts of 1 to 128 bytes"):
        require_labels("tags", texts, 4, 128)


@pytest.mark.parametrize(
    "properties",
    [{f"k{n}": 1 for n in range(9)}, {"": 1}, {"k" * 33: 1}, {"\ud800": 1}, {"a": "x" * 200, "b": "y" * 60}],
)
def test_properties_that_do_not_fit_are_told_by_name(properties: Any) -> None:
    require_properties("properties", {f"k{n}": n for n in range(8)})
    with pytest.raises(ValueError, match=r"properties is .*permitted: at most 8 keys"):
        require_properties("properties", properties)


def test_a_property_must_have_a_value() -> None:
    with pytest.raises(ValueError, match="'map' is None; permitted: bool"):
        require_properties("properties", {"map": None})
    with pytest.raises(TypeError, match="list"):
        require_properties("properties", {"map": []})  # type: ignore[dict-item]


def test_options_are_the_bytes_of_the_spec_and_what_is_empty_is_not_sent() -> None:
    assert label_options((Option.GAME, "chess"), (Option.GAME_VERSION, "")) == [(Option.GAME, b"chess")]
    assert texts_options((Option.TAGS, ["a", "duo"]), (Option.SHOWN, ())) == [(Option.TAGS, b"\1a\3duo")]
    assert properties_options({}) == []
    assert properties_options({"map": "sea", "on": True}) == [(Option.PROPERTIES, b"\3map\4\3sea\2on\1\1\1")]
