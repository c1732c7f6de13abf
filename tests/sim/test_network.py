"""The made-up network does what its conditions say, and the same for the same seed."""

from itertools import pairwise

from tests.sim.network import PERFECT, STANDARD, Conditions, Link


def fates(seed: int, conditions: Conditions, count: int = 5000) -> list[list[tuple[float, bytes]]]:
    link = Link(seed, conditions)
    return [link.fate(n.to_bytes(4, "little"), n / 30) for n in range(count)]


def test_a_perfect_network_delivers_everything_in_order_after_20_ms() -> None:
    for n, copies in enumerate(fates(1, PERFECT, 100)):
        assert copies == [(n / 30 + 0.020, n.to_bytes(4, "little"))]


def test_the_same_seed_gives_the_same_fates_and_another_one_others() -> None:
    assert fates(7, STANDARD) == fates(7, STANDARD)
    assert fates(7, STANDARD) != fates(8, STANDARD)


def test_shares_and_delays_are_those_of_the_conditions() -> None:
    result = fates(3, STANDARD)
    lost = sum(not copies for copies in result) / len(result)
    doubled = sum(len(copies) == 2 for copies in result) / len(result)
    delays = [arrival - n / 30 for n, copies in enumerate(result) for arrival, _ in copies]
    assert 0.08 < lost < 0.12
    assert 0.035 < doubled < 0.065
    assert min(delays) >= 0.019
    assert max(delays) <= 0.251


def test_reordered_datagrams_overtake_or_are_overtaken() -> None:
    firsts = [copies[0][0] for copies in fates(5, Conditions(reordering=0.2)) if copies]
    swapped = sum(later < earlier for earlier, later in pairwise(firsts)) / len(firsts)
    assert 0.05 < swapped < 0.3


def test_a_burst_loses_everything_for_a_while() -> None:
    result = fates(6, Conditions(burst=0.01, burst_s=1.0))
    runs = "".join("." if copies else "x" for copies in result).split(".")
    assert max(map(len, runs)) >= 30


def test_damage_flips_bits_and_cuts() -> None:
    corrupt = [copies[0][1] for copies in fates(9, Conditions(corruption=1.0), 100)]
    cut = [copies[0][1] for copies in fates(9, Conditions(truncation=1.0), 100)]
    assert all(len(payload) == 4 for payload in corrupt)
    assert sum(payload != n.to_bytes(4, "little") for n, payload in enumerate(corrupt)) > 90
    assert {len(payload) for payload in cut} == {0, 1, 2, 3, 4}


def test_a_blocked_link_loses_everything_and_a_filter_just_what_it_names() -> None:
    link = Link(0, PERFECT)
    link.drop_if = lambda payload: payload == b"b"
    assert [bool(link.fate(payload, 0.0)) for payload in (b"a", b"b", b"c")] == [True, False, True]
    link.blocked = True
    assert link.fate(b"a", 0.0) == []


def test_weather_by_the_slot_does_not_depend_on_earlier_traffic() -> None:
    weather = Conditions(loss=0.5, slot_s=1.0)
    busy, quiet = Link(4, weather), Link(4, weather)
    for n in range(500):
        busy.fate(b"x", n / 100)
    for second in range(5, 50):
        assert bool(busy.fate(b"x", float(second))) == bool(quiet.fate(b"x", float(second)))
