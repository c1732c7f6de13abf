"""The search for the largest load, with made-up figures."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.tools.load.samples import sample_figures, unmeasured_figures
from tools.load.capacity import Limits, Search
from tools.load.plan import Plan

LIMITS = Limits(min_delivered=0.99, max_age_ms=100.0, max_latency_ms=150.0, max_relay_cpu=90.0)


Judge = Callable[[int], dict[str, Any]]


def searched(judge: Judge, *, rooms: int = 1, max_rooms: int = 1000) -> tuple[Search, list[int]]:
    """Search with figures that depend on the rooms. Returns: the search, and what it tried."""
    search = Search(Plan(port=1, rooms=rooms, players=8), LIMITS, max_rooms)
    tried = []
    codes = set()
    while (plan := search.next_plan()) is not None:
        tried.append(plan.rooms)
        codes.add(plan.code)
        search.note(judge(plan.rooms))
        assert len(tried) < 40
    assert len(codes) == len(tried), "a trial must not meet the rooms of another"
    return search, tried


def breaks_above(rooms: int, **broken: Any) -> Judge:
    return lambda number: sample_figures(**broken) if number > rooms else sample_figures()


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 31, 100, 999])
def test_the_largest_load_is_found_as_closely_as_is_said(capacity: int) -> None:
    search, tried = searched(breaks_above(capacity, delivered_share=0.5))
    assert search.best is not None
    assert capacity * 0.95 - 1 <= search.best <= capacity
    assert len(tried) < 20
    assert f"capacity: {search.best * 8} players; at " in search.conclusion()
    assert "delivered share 0.5000 is below 0.99" in search.conclusion()


def test_a_search_that_breaks_nothing_ends_at_its_end() -> None:
    search, tried = searched(lambda rooms: sample_figures(), max_rooms=10)
    assert tried == [1, 2, 4, 8, 10] and search.best == 10
    assert search.conclusion() == "capacity: 80 players or more (the search ends there)"


def test_a_search_that_begins_too_high_goes_down() -> None:
    search, tried = searched(breaks_above(3, delivered_share=0.5), rooms=16)
    assert tried[0] == 16 and search.best == 3


def test_where_nothing_is_served_well_it_says_what_broke_the_least() -> None:
    search, tried = searched(lambda rooms: sample_figures(delivered_share=0.1))
    assert tried == [1] and search.best is None
    assert search.conclusion() == "capacity: not even 8 players; delivered share 0.1000 is below 0.99"
    assert search.as_json()["capacity_players"] is None


def test_more_rooms_than_permitted_are_never_tried() -> None:
    _, tried = searched(lambda rooms: sample_figures(), rooms=50, max_rooms=20)
    assert tried == [20]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"delivered_share": 0.98}, "delivered share 0.9800 is below 0.99"),
        ({"state_age_ms": {"p99": 100.5}}, "state age p99 of 100.5 ms is above 100 ms"),
        ({"message_latency_ms": {"p99": 151.0}}, "message latency p99 of 151.0 ms is above 150 ms"),
        ({"relay": {"cpu_percent": 95.0}}, "relay CPU of 95 % is above 90 %"),
        ({"failures": ["3 messages missing"]}, "failed: 3 messages missing"),
        ({"load": {"bottlenecks": ["this process used 99 %"]}}, "held back: this process used 99 %"),
    ],
)
def test_every_limit_is_named_by_what_broke_it(changes: dict[str, Any], text: str) -> None:
    assert LIMITS.broken_by(sample_figures(**changes)) == [text]


def test_at_its_limit_nothing_is_broken() -> None:
    figures = sample_figures(
        delivered_share=0.99,
        state_age_ms={"p99": 100.0},
        message_latency_ms={"p99": 150.0},
        relay={"cpu_percent": 90.0},
    )
    assert LIMITS.broken_by(figures) == []


def test_what_was_not_measured_breaks_nothing() -> None:
    assert LIMITS.broken_by(unmeasured_figures() | {"load": None}) == []
    assert LIMITS.broken_by({}) == []


def test_every_trial_is_told() -> None:
    search, tried = searched(breaks_above(3, delivered_share=0.5))
    told = search.as_json()
    assert [trial["players"] for trial in told["trials"]] == [rooms * 8 for rooms in tried]
    assert told["capacity_players"] == 24 and told["broken_limits"] == ["delivered share 0.5000 is below 0.99"]
    assert search.last_words.startswith(f"{tried[-1] * 8} players: ")
