"""Durations counted in buckets, so that millions of them cost no memory and give percentiles at any time."""

import math

import numpy as np
import numpy.typing as npt

BUCKET_MS = 0.05
"""Width of a bucket: percentiles are exact to this, and a hundredth of what anybody feels."""
MAX_MS = 10_000.0
"""What takes longer is counted in the last bucket; the maximum is kept exactly."""
PERCENTILES = (50, 95, 99)


class Histogram:
    """Durations in milliseconds."""

    def __init__(self) -> None:
        self._counts = np.zeros(int(MAX_MS / BUCKET_MS) + 1, np.int64)
        self._max_ms = 0.0

    def __len__(self) -> int:
        """Return how many were added."""
        return int(self._counts.sum())

    def add(self, seconds: npt.NDArray[np.float64]) -> None:
        """Add durations in seconds, (n,). Below 0, which the steps of two clocks can make of nothing, counts as 0."""
        if not len(seconds):
            return
        milliseconds = np.maximum(seconds * 1000, 0.0)
        bucket = np.minimum(milliseconds / BUCKET_MS, len(self._counts) - 1).astype(np.int64)
        low = int(bucket.min())
        counts = np.bincount(bucket - low)
        self._counts[low : low + len(counts)] += counts
        self._max_ms = max(self._max_ms, float(milliseconds.max()))

    def add_one(self, seconds: float) -> None:
        """Add one duration in seconds."""
        self.add(np.array([seconds]))

    def summary(self) -> dict[str, float | None]:
        """Return p50, p95, p99 and max in milliseconds; None each if nothing was added."""
        total = len(self)
        if not total:
            return {**{f"p{percent}": None for percent in PERCENTILES}, "max": None}
        reached = np.cumsum(self._counts)
        values: dict[str, float | None] = {}
        for percent in PERCENTILES:
            bucket = int(np.searchsorted(reached, math.ceil(total * percent / 100)))
            values[f"p{percent}"] = round(min((bucket + 1) * BUCKET_MS, self._max_ms), 3)
        values["max"] = round(self._max_ms, 3)
        return values

    def clear(self) -> None:
        """Forget everything."""
        self._counts[:] = 0
        self._max_ms = 0.0
