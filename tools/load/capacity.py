"""Searching the largest load that is still served well: double until a limit breaks, then halve the rest."""

import dataclasses
from typing import Any

from tools.load.plan import Plan

CLOSE_ENOUGH = 0.05
"""The search ends when the best and the worst known differ by this share or by one room (chosen: runs differ more)."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What "served well" means."""

    min_delivered: float
    max_age_ms: float
    """p99 of the state age."""
    max_latency_ms: float
    """p99 of the message latency."""
    max_relay_cpu: float
    """Percent of a core."""

    def broken_by(self, figures: dict[str, Any]) -> list[str]:
        """Say which limits a run broke, in words; a run that failed or was held back by the generator broke one."""
        relay, age = figures.get("relay") or {}, figures.get("state_age_ms") or {}
        latency = figures.get("message_latency_ms") or {}
        found = [
            (figures.get("delivered_share"), self.min_delivered, "delivered share {:.4f} is below {:g}", -1),
            (age.get("p99"), self.max_age_ms, "state age p99 of {:.1f} ms is above {:g} ms", 1),
            (latency.get("p99"), self.max_latency_ms, "message latency p99 of {:.1f} ms is above {:g} ms", 1),
            (relay.get("cpu_percent"), self.max_relay_cpu, "relay CPU of {:.0f} % is above {:g} %", 1),
        ]
        texts = [
            text.format(value, limit)
            for value, limit, text, sign in found
            if value is not None and (value - limit) * sign > 0
        ]
        texts += [f"failed: {text}" for text in figures.get("failures", [])]
        return texts + [f"held back: {text}" for text in (figures.get("load") or {}).get("bottlenecks", [])]


class Search:
    """Chooses one plan after another. `next_plan`, run it, `note` its figures, until there is none."""

    def __init__(self, plan: Plan, limits: Limits, max_rooms: int) -> None:
        """Begin with the plan's own number of rooms."""
        self._plan = plan
        self._limits = limits
        self._max_rooms = max_rooms
        self._rooms = min(plan.rooms, max_rooms)
        self._worst: int | None = None
        self._number = 0
        self.best: int | None = None
        """Most rooms that were served well."""
        self.broken: list[str] = []
        """What broke at the fewest rooms that were not."""
        self.trials: list[dict[str, Any]] = []
        self.last_words = ""
        """How the last trial was."""

    def next_plan(self) -> Plan | None:
        """Return what to try next, with rooms of its own; None when the answer is known."""
        if self._rooms == 0:
            return None
        self._number += 1
        return dataclasses.replace(self._plan, rooms=self._rooms, code=f"CAP{self._number}")

    def note(self, figures: dict[str, Any]) -> None:
        """Take the figures of the last plan."""
        broken = self._limits.broken_by(figures)
        players = self._rooms * self._plan.players
        self.last_words = f"{players} players: {'; '.join(broken) or 'served well'}"
        self.trials.append({"players": players, "broken": broken, "figures": figures})
        if broken:
            self._worst, self.broken = self._rooms, broken
        else:
            self.best = self._rooms
        self._rooms = self._choose()

    def _choose(self) -> int:
        if self._worst is None:
            assert self.best is not None
            return min(self.best * 2, self._max_rooms) if self.best < self._max_rooms else 0
        low = self.best or 0
        if self._worst - low <= max(1, int(low * CLOSE_ENOUGH)):
            return 0
        return (low + self._worst) // 2

    def conclusion(self) -> str:
        """Say what was found, in a line or two."""
        if self.best is None:
            return f"capacity: not even {(self._worst or 0) * self._plan.players} players; {'; '.join(self.broken)}"
        players = self.best * self._plan.players
        if self._worst is None:
            return f"capacity: {players} players or more (the search ends there)"
        return f"capacity: {players} players; at {self._worst * self._plan.players}: {'; '.join(self.broken)}"

    def as_json(self) -> dict[str, Any]:
        """Return the result as a plain object."""
        players = None if self.best is None else self.best * self._plan.players
        return {"capacity_players": players, "broken_limits": self.broken, "trials": self.trials}
