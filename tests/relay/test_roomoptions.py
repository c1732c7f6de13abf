"""Options of JOIN and LIST: what a room's creator may choose and what can be looked for."""

import pytest

from protocol.constants import GAME_BYTES, GAME_VERSION_BYTES, MAX_SHOWN, MAX_TAGS, ROOM_NAME_BYTES, TAG_BYTES, Option
from relay.config import RelayConfig
from relay.roomoptions import Given, Refused, RoomOptions, read_properties, read_room_options
from tests.relay.finding import LISTED, properties, texts

CONFIG = RelayConfig()
LABELS = [(Option.GAME, GAME_BYTES), (Option.GAME_VERSION, GAME_VERSION_BYTES), (Option.ROOM_NAME, ROOM_NAME_BYTES)]
LISTS = [(Option.TAGS, MAX_TAGS, TAG_BYTES), (Option.SHOWN, MAX_SHOWN, 32)]


def read(*options: tuple[int, bytes]) -> RoomOptions | Refused:
    return read_room_options(dict(options), CONFIG)


def test_labels_tags_and_shown_properties_are_read() -> None:
    chosen = read(
        LISTED,
        (Option.GAME, b"chess"),
        (Option.GAME_VERSION, b"1.2"),
        (Option.ROOM_NAME, "Zur Schönen Aussicht".encode()),
        (Option.TAGS, texts(b"a", b"b")),
        (Option.SHOWN, texts(b"map")),
        (Option.PROPERTIES, properties(map=b"sea")),
    )
    assert isinstance(chosen, RoomOptions)
    assert (chosen.game, chosen.version, chosen.name.decode()) == (b"chess", b"1.2", "Zur Schönen Aussicht")
    assert (chosen.tags, chosen.shown, chosen.flags) == ((b"a", b"b"), (b"map",), 2)
    assert chosen.properties == (Given(b"map", 4, b"sea"),)


@pytest.mark.parametrize(("option", "longest"), LABELS)
def test_a_label_has_a_longest_size_and_no_control_characters(option: Option, longest: int) -> None:
    assert isinstance(read((option, b"x" * longest)), RoomOptions)
    for wrong in (b"x" * (longest + 1), b"\n", b"\xff", "\x9f".encode()):
        assert isinstance(read((option, wrong)), Refused)


@pytest.mark.parametrize(("option", "most", "longest"), LISTS)
def test_lists_have_a_most_and_their_texts_a_longest(option: Option, most: int, longest: int) -> None:
    assert isinstance(read((option, texts(*[b"x" * longest] * most)[:255])), RoomOptions | Refused)
    assert isinstance(read((option, texts(*[b"x"] * most))), RoomOptions)
    for wrong in (texts(*[b"x"] * (most + 1)), texts(b"x" * (longest + 1)), texts(b""), texts(b"\n"), b"\5x"):
        assert isinstance(read((option, wrong)), Refused)


@pytest.mark.parametrize(
    "wrong",
    [
        b"\1",
        properties(**{f"k{n}": b"" for n in range(MAX_SHOWN + 1)}),
        properties(a=b"1") + properties(a=b"2"),
        properties(a=b"\xff"),
        b"\1k\0\0",  # none
        b"\0\4\1x",  # no key
    ],
)
def test_properties_that_are_none_are_refused(wrong: bytes) -> None:
    assert read_properties({Option.PROPERTIES: wrong}) is None
    assert isinstance(read((Option.PROPERTIES, wrong)), Refused)


def test_who_gives_none_has_none() -> None:
    chosen = read()
    assert isinstance(chosen, RoomOptions)
    assert (chosen.game, chosen.tags, chosen.shown, chosen.properties, chosen.flags) == (b"", (), (), (), 0)
