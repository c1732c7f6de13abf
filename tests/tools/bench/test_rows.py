"""What is measured: the promised rows, in the promised time."""

import pytest

from tools.bench.rows import (
    DURATION_S,
    MAX_DEFAULT_S,
    Name,
    Spec,
    default_specs,
    full_specs,
    has_floor,
    idle_specs,
    planned_s,
    planned_total_s,
)


def sizes(specs: list[Spec]) -> set[tuple[str, int]]:
    return {(str(spec.name), spec.players) for spec in specs}


def test_a_run_without_options_has_the_promised_rows() -> None:
    promised = {(name, players) for name in ("floor", "compiled") for players in (64, 500, 4000)}
    promised |= {(name, players) for name in ("batch", "uvloop", "asyncio") for players in (64, 500)}
    assert sizes(default_specs()) == promised
    assert len(default_specs()) == len(promised)


def test_a_run_without_options_fits_its_time_with_a_tenth_to_spare() -> None:
    assert planned_total_s(default_specs(), rounds=1) <= 0.9 * MAX_DEFAULT_S


def test_every_row_is_measured_for_ten_seconds_at_least() -> None:
    assert all(spec.duration_s >= 10 and planned_s(spec) > spec.duration_s for spec in full_specs())
    assert DURATION_S >= 10


def test_a_full_run_has_the_default_one_in_it_and_no_row_twice() -> None:
    full = full_specs()
    assert full[: len(default_specs())] == default_specs()
    assert len(set(full)) == len(full)
    assert set(idle_specs()) < set(full)


def test_a_full_run_has_the_promised_shapes() -> None:
    batch = [spec for spec in full_specs() if spec.name is Name.COMPILED]
    assert any(spec.players == 8000 and spec.tick_rate == spec.state_rate == 10 for spec in batch)
    assert any(spec.per_room == 2 and spec.num_rooms == 1000 for spec in batch)
    assert any(spec.per_room == 64 and spec.num_rooms == 1 for spec in batch)
    assert {spec.players for spec in batch if spec.messages == 5} == {1000, 3000}
    drop_in = [spec for spec in batch if (spec.signals, spec.messages, spec.payload_bytes) == (30, 2, 64)]
    assert {(spec.players, spec.state_rate, spec.aim) for spec in drop_in} == {(1000, 0, "others"), (2000, 0, "others")}
    (stormy,) = [spec for spec in batch if spec.weather]
    assert stormy.players == 1000 and stormy.floor() in full_specs()
    assert any(spec.joins_per_s == 2000 for spec in batch)
    same = {(name, 2000) for name in (Name.FLOOR, Name.COMPILED, Name.BATCH, Name.UVLOOP)}
    assert same <= {(spec.name, spec.players) for spec in full_specs()}
    assert {spec.name for spec in full_specs()} == set(Name)


def test_every_plain_row_of_the_compiled_stages_has_a_floor_beside_it() -> None:
    specs = full_specs()
    for spec in specs:
        if spec.name is Name.COMPILED and has_floor(spec):
            place = specs.index(spec) + (1 if spec.has_words else -1)  # of words the floor sends what a relay has sent
            assert spec.weather or specs.index(spec.floor()) == place


def test_no_floor_row_asks_for_what_the_floor_cannot_do() -> None:
    assert all(has_floor(spec) for spec in full_specs() if spec.name is Name.FLOOR)


def test_rows_of_one_name_and_size_differ_in_their_words() -> None:
    labels = [(spec.name, spec.players, spec.shape) for spec in full_specs()]
    assert len(set(labels)) == len(labels)
    assert all(spec.shape == "" for spec in default_specs())


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (Spec(name=Name.BATCH, players=8), ""),
        (Spec(name=Name.BATCH, players=8, per_room=2), "rooms of 2"),
        (Spec(name=Name.BATCH, players=8, per_room=2, tick_rate=10), "rooms of 2, 10 Hz"),
        (Spec(name=Name.BATCH, players=8, per_room=2, title="tea"), "tea"),
    ],
)
def test_the_shape_is_told_in_words(spec: Spec, shape: str) -> None:
    assert spec.shape == shape


def test_idle_rows_are_idle_and_others_are_not() -> None:
    assert all(spec.is_idle and not has_floor(spec) for spec in idle_specs())
    assert not any(spec.is_idle for spec in default_specs())


def test_the_last_room_is_filled_up() -> None:
    assert Spec(name=Name.BATCH, players=500).num_rooms == 63
    assert Spec(name=Name.BATCH, players=0).num_rooms == 0


def test_a_longer_measurement_is_planned_longer() -> None:
    specs = default_specs()
    assert planned_total_s(specs, rounds=3) == pytest.approx(3 * planned_total_s(specs, rounds=1))
