"""Figures as the load prints them, made up."""

from typing import Any

from tools.bench.rows import Name, Spec


def figures_of(us: float = 5.0, connected: int = 64, **more: Any) -> dict[str, Any]:
    """Figures of one row. `more` replaces top-level keys; of `relay` and `load` it is merged in."""
    relay = {"cpu_percent": 20.0, "us_per_player_tick": us, "rss_mib": 50.0} | more.pop("relay", {})
    load = {"cpu_percent": 40.0, "bottlenecks": []} | more.pop("load", {})
    plain = {
        "players": {"connected": connected},
        "delivered_share": 0.999,
        "state_age_ms": {"p50": 20.0, "p99": 45.0},
        "bytes_per_player_s": {"up": 1800.0, "down": 6000.0},
        "passed": True,
        "failures": [],
    }
    return plain | more | {"relay": relay, "load": load}


class FakeMeasure:
    """Measures nothing: gives figures by who serves, and notes who was asked for."""

    def __init__(self, us: dict[Name, list[float]], **more: Any) -> None:
        self.us = us
        self.more = more
        self.asked: list[Spec] = []

    def __call__(self, spec: Spec) -> dict[str, Any]:
        """Measure one row: the next figure of its name, or the last one again."""
        self.asked.append(spec)
        left = self.us[spec.name]
        return figures_of(left.pop(0) if len(left) > 1 else left[0], spec.players, **self.more)
