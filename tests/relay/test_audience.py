"""Audiences: one bit per player id, whatever kind of target asked for it."""

import numpy as np
import pytest

from protocol import dtypes
from protocol.constants import MAX_SLOTS, DataSection, Target
from relay.audience import EVERYBODY, WORDS, Audience, includes, only, read_audiences
from relay.columns import windows
from relay.ingress import Sections
from tests.relay.bench import ids

EDGES = [0, 1, 62, 63, 64, 65, 127, 128, 510, 511]


def members(audience: Audience) -> set[int]:
    """List who is in an audience, by asking for every player id."""
    everyone = np.arange(MAX_SLOTS)
    return set(np.flatnonzero(includes(audience[None, :], np.zeros(MAX_SLOTS, np.int64), everyone)).tolist())


def read(*targets: tuple[int, list[int]], signals: bool = False) -> Audience:
    """Read the audiences of sections that lie one behind another, with a byte between them."""
    dtype = dtypes.SIGNAL_UP_HEADER_DTYPE if signals else dtypes.MESSAGE_HEADER_DTYPE
    at, lengths, source = [], [], b""
    for target, players in targets:
        header = np.zeros(1, dtype)
        header["kind"], header["target"], header["target_count"] = 1, target, len(players)
        body = header.tobytes() + ids(players) + b"payload"
        at.append(len(source))
        lengths.append(len(body))
        source += body + b"\xff"
    source_bytes = np.frombuffer(source + bytes(16), np.uint8)
    kind = DataSection.SIGNAL if signals else DataSection.MESSAGE
    n = len(targets)
    sections = Sections(
        np.zeros(n, np.int64), np.full(n, int(kind)), np.array(at, np.int64), np.array(lengths, np.int64)
    )
    return read_audiences(source_bytes, sections, windows(source_bytes, dtype)[sections.at])


@pytest.mark.parametrize("player_id", EDGES)
def test_an_audience_of_one_holds_nobody_else(player_id: int) -> None:
    assert members(only(player_id)) == {player_id}


def test_everybody_is_every_slot_that_a_room_can_have() -> None:
    assert EVERYBODY.shape == (WORDS,)
    assert members(EVERYBODY) == set(range(MAX_SLOTS))


def test_pairs_are_asked_for_each_its_own_audience() -> None:
    audience = np.stack([only(63), only(64), EVERYBODY])
    which = np.array([0, 0, 1, 1, 2, 2, 0])
    player_id = np.array([63, 64, 63, 64, 0, 511, 511])
    assert includes(audience, which, player_id).tolist() == [True, False, False, True, True, True, False]


@pytest.mark.parametrize("signals", [False, True])
def test_every_target_names_whom_it_says(signals: bool) -> None:
    everyone = set(range(MAX_SLOTS))
    audience = read(
        (Target.ALL, []),
        (Target.ALL_BUT, [63]),
        (Target.ONE, [64]),
        (Target.LIST, EDGES),
        (Target.LIST, [5]),
        signals=signals,
    )
    assert [members(one) for one in audience] == [everyone, everyone - {63}, {64}, set(EDGES), {5}]


@pytest.mark.parametrize("player_id", EDGES)
def test_all_but_one_is_right_at_the_edges_of_words(player_id: int) -> None:
    [audience] = read((Target.ALL_BUT, [player_id]))
    assert members(audience) == set(range(MAX_SLOTS)) - {player_id}


@pytest.mark.parametrize("player_id", [512, 513, 1024, 65535])
def test_an_id_that_nobody_can_have_names_nobody(player_id: int) -> None:
    one, but, listed = read((Target.ONE, [player_id]), (Target.ALL_BUT, [player_id]), (Target.LIST, [player_id, 7]))
    assert members(one) == set()
    assert members(but) == set(range(MAX_SLOTS))
    assert members(listed) == {7}


def test_an_id_that_stands_twice_is_one_receiver() -> None:
    [audience] = read((Target.LIST, [63, 63, 64, 63]))
    assert members(audience) == {63, 64}


def test_a_list_of_255_is_read_whole() -> None:
    [audience] = read((Target.LIST, list(range(0, 510, 2))))
    assert members(audience) == set(range(0, 510, 2))


def test_no_sections_have_no_audiences() -> None:
    nothing = np.zeros(0, np.int64)
    header = np.zeros(0, dtypes.MESSAGE_HEADER_DTYPE)
    assert read_audiences(np.zeros(16, np.uint8), Sections(nothing, nothing, nothing, nothing), header).shape == (
        0,
        WORDS,
    )
