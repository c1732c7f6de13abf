"""Reference of Links: one datagram after the other, in plain Python, from the same random numbers."""

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from tools.lag.conditions import Conditions


@dataclass
class Lane:
    """What one lane remembers."""

    conditions: Conditions
    is_bad: bool = False
    free_at: float = -math.inf
    newest_due: float = -math.inf
    sent_at: float | None = None
    gap_s: float = 1 / 30


class ReferenceLinks:
    """Says of each datagram when it arrives, and when its copy does."""

    def __init__(self, conditions: list[Conditions], rng: np.random.Generator) -> None:
        self.rng = rng
        self.lanes = [Lane(of_lane) for of_lane in conditions]
        for lane in self.lanes:
            begin, end = chances(lane.conditions)
            lane.is_bad = rng.random() * (begin + end) < begin
        self.counts = dict.fromkeys(("lost", "duplicated", "reordered", "overflowed"), 0)

    def carry(self, lane_number: int, size_bytes: int, now: float) -> list[float]:
        """Return times of arrival: none, one, or two for a duplicate."""
        lane = self.lanes[lane_number]
        conditions = lane.conditions
        loss, jitter, copy, *holds = (float(value) for value in self.rng.random(7))
        if lane.sent_at is not None and now - lane.sent_at >= 0.001:
            lane.gap_s += (min(now - lane.sent_at, 0.5) - lane.gap_s) / 8
        lane.sent_at = now

        begins_at = max(now, lane.free_at)
        if conditions.bandwidth_kbit:
            if begins_at - now > 0.25:
                self.counts["overflowed"] += 1
                return []
            lane.free_at = begins_at + (size_bytes + 28) * 8 / (conditions.bandwidth_kbit * 1000)
            begins_at = lane.free_at

        begin, end = chances(conditions)
        lane.is_bad = loss < (1 - end if lane.is_bad else begin)
        if lane.is_bad:
            self.counts["lost"] += 1
            return []

        late_s = min(-math.log(1 - jitter), 8.0) * conditions.jitter_ms / 1000
        lane.newest_due = max(lane.newest_due, begins_at + conditions.latency_ms / 1000 + late_s)
        arrivals = [self._held(lane, holds[0], holds[1])]
        if copy < conditions.duplicate_percent / 100:
            self.counts["duplicated"] += 1
            arrivals.append(self._held(lane, holds[2], holds[3]))
        return arrivals

    def _held(self, lane: Lane, draw: float, draw_hold: float) -> float:
        if draw >= lane.conditions.reorder_percent / 100:
            return lane.newest_due
        self.counts["reordered"] += 1
        hold_s = lane.gap_s * (1.25 + 1.5 * draw_hold) + 3 * lane.conditions.jitter_ms / 1000
        return lane.newest_due + min(hold_s, 0.5)


def chances(conditions: Conditions) -> tuple[float, float]:
    """Return the chance that a burst of loss begins, and that it ends."""
    loss = conditions.loss_percent / 100
    if loss in (0, 1):
        return loss, 1 - loss
    end = min(1 / conditions.burst, 1 - loss)
    return end * loss / (1 - loss), end


def random_conditions(rng: Random) -> Conditions:
    """Make up conditions in which everything may happen, and often something does not."""

    def some(low: float, high: float) -> float:
        return rng.choice((0.0, rng.uniform(low, high)))

    return Conditions(
        latency_ms=some(1, 200),
        jitter_ms=some(1, 50),
        loss_percent=rng.choice((0.0, 100.0, rng.uniform(1, 60))),
        burst=rng.choice((1.0, rng.uniform(1, 10))),
        duplicate_percent=some(1, 50),
        reorder_percent=some(1, 50),
        bandwidth_kbit=some(20, 500),
    )
