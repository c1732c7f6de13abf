"""A load as the load generator would describe it, for the tests of everything that shows one."""

import copy
import math
from typing import Any

RAMP_UP_S, WARM_UP_S, SETTLING_S = 5, 3, 2
HOSTILE_NAME = "<script>alert('x')</script>&\"\x1b[31m\x00"
"""Ends tags, quotes and lines of a terminal, if it is let."""

_FIGURES: dict[str, Any] = {
    "players": {"wanted": 64, "connected": 64, "joined": 71, "left": 4, "crashed": 3, "moved": 2, "ended_by_relay": 0},
    "seconds": 60.0,
    "tick_rate": 30,
    "ticks": 1800,
    "tick_overruns": 2,
    "delivered_share": 0.99987,
    "superseded_share": 0.0012,
    "state_age_ms": {"p50": 17.24, "p95": 32.1, "p99": 35.62, "max": 61.9},
    "message_latency_ms": {"p50": 18.1, "p95": 33.4, "p99": 40.25, "max": 122.0},
    "signal_latency_ms": {"p50": 0.412, "p95": 0.9, "p99": 1.31, "max": 9.75},
    "join_ms": {"p50": 4.1, "p95": 9.9, "p99": 12.0, "max": 13.37},
    "states": {"published": 115200, "received": 806400, "wrong": 0},
    "messages": {
        "sent": 3840,
        "received": 30720,
        "resent": 11,
        "missing": 0,
        "duplicated": 0,
        "out_of_order": 0,
        "misdelivered": 0,
        "wrong": 0,
    },
    "signals": {"sent": 3840, "received": 26870, "lost": 10, "duplicated": 0, "misdelivered": 0, "wrong": 0},
    "converged": True,
    "unconverged_players": 0,
    "loss_percent": {"up": 0.0, "down": 1.02},
    "datagrams_per_s": {"up": 1921.4, "down": 1984.0},
    "bytes_per_s": {"up": 138240.0, "down": 519680.0},
    "bytes_per_player_s": {"up": 2160.0, "down": 8120.0},
    "relay": {"cpu_percent": 12.34, "us_per_player_tick": 64.27, "rss_mib": 61.5},
    "load": {"cpu_percent": 41.0, "bottlenecks": []},
    "cost": {"bytes_per_player_hour": 37_008_000.0, "month_gb": 1705.33},
    "settings": {
        "host": "127.0.0.1",
        "port": 24545,
        "rooms": 8,
        "players": 8,
        "rate": 30.0,
        "churn": None,
        "own": True,
    },
    "failures": [],
    "passed": True,
}


def sample_figures(**changes: Any) -> dict[str, Any]:
    """A load that passed, with some figures changed."""
    return copy.deepcopy(_FIGURES) | changes


def failed_figures() -> dict[str, Any]:
    """A load that failed, was held back and has hostile texts everywhere."""
    figures = sample_figures(passed=False, failures=[f"2 messages missing in room {HOSTILE_NAME}", "no convergence"])
    figures["messages"]["missing"] = 2
    figures["load"]["bottlenecks"] = ["receive buffers overflow; raise them: sysctl -w net.core.rmem_max=8388608"]
    figures["settings"][f"room {HOSTILE_NAME}"] = HOSTILE_NAME
    figures["converged"] = False
    return figures


def unmeasured_figures() -> dict[str, Any]:
    """A load that was over before it began, with a relay on another machine."""

    def emptied(value: Any) -> Any:
        return {key: emptied(inner) for key, inner in value.items()} if isinstance(value, dict) else None

    figures = emptied(sample_figures())
    return figures | {"relay": None, "settings": {}, "failures": [], "passed": False}


def keys_of(figures: dict[str, Any], prefix: str = "") -> set[str]:
    """Every dotted key of the figures."""
    found = set()
    for key, value in figures.items():
        found |= keys_of(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"}
    return found


def sample_series(seconds: int = 60) -> list[dict[str, Any]]:
    """A run, second by second; a few things were not measured in a few of them."""
    total = RAMP_UP_S + WARM_UP_S + seconds + SETTLING_S
    return [_second(t, total) for t in range(1, total + 1)]


def _second(t: int, total: int) -> dict[str, Any]:
    players = min(64, t * 64 // RAMP_UP_S)
    phase = "load" if t > RAMP_UP_S + WARM_UP_S else "warm-up" if t > RAMP_UP_S else "ramp-up"
    wave = math.sin(t / 5)
    return {
        "t": float(t),
        "phase": "settling" if t > total - SETTLING_S else phase,
        "players": players,
        "datagrams_up": players * 30.0 + 8 * wave,
        "datagrams_down": players * 31.0 - 5 * wave,
        "bytes_up": players * 2160.0 + 300 * wave,
        "bytes_down": players * 8120.0 + 2000 * wave,
        "state_age_p50_ms": None if t == 1 else 17.0 + wave,
        "state_age_p99_ms": None if t == 1 else 35.0 + 4 * wave,
        "message_latency_p99_ms": None if t % 17 == 0 else 40.0 + 12 * wave * wave,
        "signal_latency_p99_ms": 1.3 + wave / 10,
        "delivered_share": None if t == 1 else 1.0 - 0.002 * (t % 13 == 0),
        "loss_up_percent": 0.0,
        "loss_down_percent": 1.0 + wave / 5,
        "relay_cpu_percent": 12.0 + wave,
        "relay_rss_mib": 55.0 + t / 10,
        "load_cpu_percent": 40.0 + 3 * wave,
        "overruns": 1 if t % 29 == 0 else 0,
    }
