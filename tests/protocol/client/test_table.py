"""Table: pages bring it forward, the game sees what it may see."""

import pytest

from protocol.client.events import StateChanged
from protocol.client.table import Table
from protocol.records import Page, RoomShape

SHAPE = RoomShape(player_slots=8, num_ids=32, page_ids=16, max_state_bytes=32)


def page(
    states: dict[int, bytes], since: int = 0, removed: tuple[int, ...] = (), number: int = 0, age: int = 0
) -> Page:
    return Page(number, since, 0, removed, [(entity_id, age, state) for entity_id, state in states.items()])


def apply(table: Table, tick: int, *pages: Page) -> StateChanged | None:
    assert table.fits(tick, list(pages))
    return table.apply(tick, list(pages))


class Announced:
    """A table, and the players whom it was told of; an entity's owner has its number."""

    def __init__(self) -> None:
        self.players = {2, 3}
        self.table = Table(SHAPE, 30, lambda entity_id: entity_id % 8 in self.players)


@pytest.fixture
def room() -> Announced:
    """Players 2 and 3 are announced."""
    return Announced()


@pytest.fixture
def table(room: Announced) -> Table:
    return room.table


def test_states_are_shown_with_their_sample_time(table: Table) -> None:
    event = apply(table, 300, page({2: b"a", 10: b"b"}, age=50))
    assert event == StateChanged(300, ((2, b"a", pytest.approx(9.9)), (10, b"b", pytest.approx(9.9))), ())  # type: ignore[arg-type]
    assert table.states == {2: b"a", 10: b"b"}


def test_a_section_that_is_not_newer_is_ignored(table: Table) -> None:
    apply(table, 5, page({2: b"new"}))
    assert apply(table, 5, page({2: b"same"})) is None
    assert apply(table, 4, page({})) is None  # a late full section must not remove what lives
    assert table.states == {2: b"new"}


def test_a_section_built_on_a_tick_that_we_lack_does_not_fit(table: Table) -> None:
    apply(table, 5, page({2: b"a"}))
    assert table.fits(7, [page({}, since=5)])
    assert not table.fits(7, [page({}, since=5), page({}, since=1, number=1)])
    assert not table.fits(7, [page({}, since=6)])
    assert table.fits(5, [page({}, since=6)])  # not newer: ignored, so it cannot be wrong


def test_a_full_section_removes_what_does_not_stand_in_it(table: Table) -> None:
    apply(table, 5, page({2: b"a", 3: b"b", 10: b"c"}), page({18: b"d"}, number=1))
    assert apply(table, 6, page({3: b"b"})) == StateChanged(6, (), (2, 10))
    assert table.states == {3: b"b", 18: b"d"}


def test_a_partial_section_removes_only_what_it_lists(table: Table) -> None:
    apply(table, 5, page({2: b"a", 3: b"b"}))
    assert apply(table, 6, page({}, since=5, removed=(2, 11))) == StateChanged(6, (), (2,))
    assert table.states == {3: b"b"}


def test_an_id_that_was_removed_and_lives_again_is_told_as_both(table: Table) -> None:
    apply(table, 5, page({2: b"a"}))
    event = apply(table, 6, page({2: b"a"}, since=5, removed=(2,)))
    assert event is not None
    assert event.removed == (2,) and [change[:2] for change in event.changed] == [(2, b"a")]
    event = apply(table, 7, page({2: b"a"}, removed=(2,)))
    assert event is not None and event.removed == (2,)


def test_a_state_that_is_repeated_is_no_change(table: Table) -> None:
    apply(table, 5, page({2: b"a"}))
    assert apply(table, 6, page({2: b"a"}, since=4)) is None
    assert apply(table, 7, page({2: b"a"})) is None


def test_what_we_publish_is_in_the_table_and_not_in_the_events(table: Table) -> None:
    table.claim(2)
    assert apply(table, 5, page({2: b"mine"})) is None
    assert (table.states, set(table.claimed)) == ({2: b"mine"}, {2})
    assert apply(table, 6, page({}, since=5, removed=(2,))) is None
    assert table.states == {}


def test_what_we_begin_to_publish_is_not_told_of_any_more(table: Table) -> None:
    apply(table, 5, page({2: b"theirs"}))
    table.claim(2)
    assert apply(table, 6, page({2: b"mine"}, since=5)) is None
    assert apply(table, 7, page({}, since=6, removed=(2,))) is None


def test_what_we_give_up_is_shown(table: Table) -> None:
    table.claim(2)
    table.claim(3)
    apply(table, 30, page({2: b"mine"}))
    table.give_up(2)
    table.give_up(3)
    assert table.show(31) == StateChanged(31, ((2, b"mine", 1.0),), ())
    assert table.show(31) is None


def test_what_is_withheld_may_be_claimed(room: Announced, table: Table) -> None:
    apply(table, 5, page({4: b"a"}))
    table.claim(4)
    room.players.add(4)
    assert table.show(6) is None


def test_states_of_a_player_not_yet_announced_are_shown_with_the_announcement(room: Announced, table: Table) -> None:
    assert apply(table, 30, page({4: b"a", 12: b"b", 5: b"x"})) is None
    assert apply(table, 60, page({4: b"c"}, since=30)) is None
    room.players.add(4)
    assert table.show(61) == StateChanged(61, ((4, b"c", 2.0), (12, b"b", 1.0)), ())
    room.players.add(6)
    assert table.show(61) is None
    assert apply(table, 90, page({}, since=60, removed=(4, 12))) == StateChanged(90, (), (4, 12))


def test_a_withheld_state_that_goes_before_its_player_is_announced_is_never_told(room: Announced, table: Table) -> None:
    apply(table, 30, page({4: b"a"}))
    assert apply(table, 31, page({}, since=30, removed=(4,))) is None
    room.players.add(4)
    assert table.show(32) is None


def test_entities_of_a_player_who_left_are_removed_by_a_page(room: Announced, table: Table) -> None:
    apply(table, 5, page({2: b"a"}))
    room.players.discard(2)
    assert apply(table, 6, page({10: b"late"}, since=5)) is None
    assert apply(table, 7, page({}, since=6, removed=(2, 10))) == StateChanged(7, (), (2,))


def test_a_slot_that_is_given_out_again_starts_withheld(room: Announced, table: Table) -> None:
    apply(table, 5, page({2: b"old"}))
    room.players.discard(2)
    assert apply(table, 9, page({2: b"new"}, since=5, removed=(2,))) == StateChanged(9, (), (2,))
    room.players.add(2)
    assert table.show(10) == StateChanged(10, ((2, b"new", pytest.approx(0.3)),), ())  # type: ignore[arg-type]


def test_pages_that_were_applied_are_known_until_a_new_session_begins(table: Table) -> None:
    assert table.has_all([]) and not table.has_all([0])
    apply(table, 5, page({2: b"a"}))
    assert table.has_all([0]) and not table.has_all([0, 1])
    table.on_resumed()
    assert not table.has_all([0])
    assert not table.fits(6, [page({}, since=5)])


def test_after_a_resume_only_what_differs_is_told(table: Table) -> None:
    apply(table, 5, page({2: b"a", 3: b"b", 10: b"c"}))
    table.on_resumed()
    event = apply(table, 9, page({2: b"a", 3: b"new"}))
    assert event is not None
    assert ([change[:2] for change in event.changed], event.removed) == ([(3, b"new")], (10,))
