"""Percentiles from buckets, against those of sorted values."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tools.load.histogram import BUCKET_MS, MAX_MS, PERCENTILES, Histogram

SECONDS = st.lists(st.floats(0, 9.9), min_size=1, max_size=200)


@given(SECONDS, st.integers(0, 200))
def test_percentiles_are_exact_to_a_bucket(seconds: list[float], cut: int) -> None:
    histogram = Histogram()
    histogram.add(np.array(seconds[:cut]))
    histogram.add(np.array(seconds[cut:]))
    ordered = sorted(second * 1000 for second in seconds)
    summary = histogram.summary()
    for percent in PERCENTILES:
        wanted = ordered[math.ceil(len(ordered) * percent / 100) - 1]
        found = summary[f"p{percent}"]
        assert found is not None and wanted - 0.001 <= found <= wanted + BUCKET_MS + 0.001
    assert summary["max"] == round(ordered[-1], 3)
    assert len(histogram) == len(seconds)


def test_of_nothing_there_are_no_percentiles() -> None:
    histogram = Histogram()
    histogram.add(np.zeros(0))
    assert len(histogram) == 0
    assert histogram.summary() == {"p50": None, "p95": None, "p99": None, "max": None}


def test_what_is_below_zero_counts_as_zero_and_what_is_too_long_keeps_its_maximum() -> None:
    histogram = Histogram()
    histogram.add_one(-0.5)
    assert histogram.summary() == {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
    histogram.add_one(2 * MAX_MS / 1000)
    summary = histogram.summary()
    assert summary["max"] == 2 * MAX_MS
    assert summary["p99"] is not None and summary["p99"] >= MAX_MS


def test_it_can_be_cleared_and_used_again() -> None:
    histogram = Histogram()
    histogram.add(np.array([0.1, 0.2]))
    histogram.clear()
    assert len(histogram) == 0 and histogram.summary()["max"] is None
    histogram.add_one(0.003)
    assert histogram.summary() == {"p50": 3.0, "p95": 3.0, "p99": 3.0, "max": 3.0}
