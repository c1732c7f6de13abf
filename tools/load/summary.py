"""What a run has measured so far, as the plain object that `--json` prints and every view is made of."""

import sys
from collections import Counter
from itertools import pairwise
from typing import Any

from tools.load.run import Moment, Phase, Run

SECONDS_PER_HOUR = 3600
SECONDS_PER_MONTH = 30 * 24 * SECONDS_PER_HOUR
SATURATED_PERCENT = 90.0
"""CPU of one core from which a process may be what holds the figures back."""
NOBODY_LISTENS = "; the system says that nobody listens there: does the relay run, and on this port?"
LATE_SHARE = 0.01
"""Share of players' ticks that this process may leave out before the figures are its own and not the relay's."""


def figures_of(run: Run, *, is_over: bool) -> dict[str, Any]:
    """Describe a run, while it goes on or when it is over. See `tools.load.figures.ROWS` for each figure's meaning."""
    crowd, plan = run.crowd, run.plan
    figures: dict[str, Any] = {"players": _players(run), "settings": plan.settings}
    figures["join_ms"] = run.joining.times.summary()
    if crowd is not None:
        figures |= _checked(run)
        figures |= _measured(run)
    figures["unconverged_players"] = 0 if run.unconverged is None else len(run.unconverged)
    figures["converged"] = None if run.unconverged is None else not len(run.unconverged)
    figures.setdefault("load", {"cpu_percent": None})["bottlenecks"] = bottlenecks_of(run, figures)
    figures["failures"] = failures_of(run, figures, is_over)
    figures["passed"] = is_over and not figures["failures"]
    return figures


def _players(run: Run) -> dict[str, int]:
    ends = run.ends
    return {
        "wanted": run.plan.num_players,
        "connected": run.living(),
        "joined": 0 if run.crowd is None else run.crowd.people.used,
        "left": ends.left,
        "crashed": ends.crashed,
        "moved": ends.moved,
        "ended_by_relay": len(ends.by_relay),
    }


def _checked(run: Run) -> dict[str, Any]:
    """What was checked, from the first datagram on."""
    assert run.crowd is not None and run.acting is not None
    people, freshness, ledger = run.crowd.people, run.checks.freshness, run.checks.ledger
    used = people.used
    published = int(people.published[:used].sum())
    signals_received = ledger.signals["received"]
    return {
        "states": {"published": published, "received": freshness.num_received, "wrong": freshness.num_wrong},
        "messages": {
            "sent": int(people.said[:used].sum()),
            "received": ledger.messages["received"],
            "resent": run.crowd.uplink.messages_resent,
            **_counts(ledger.messages, "missing", "duplicated", "out_of_order", "misdelivered", "wrong"),
        },
        "signals": {
            "sent": int(people.signalled[:used].sum()),
            "received": signals_received,
            "lost": max(0, run.acting.signals_expected - signals_received),
            **_counts(ledger.signals, "duplicated", "misdelivered", "wrong"),
        },
    }


def _counts(counter: Counter[str], *names: str) -> dict[str, int]:
    return {name: counter[name] for name in names}


def _measured(run: Run) -> dict[str, Any]:
    """What is counted from the end of the warm-up to the end of the load."""
    freshness, ledger = run.checks.freshness, run.checks.ledger
    timed: dict[str, Any] = {
        "state_age_ms": freshness.age.summary(),
        "message_latency_ms": ledger.message_latency.summary(),
        "signal_latency_ms": ledger.signal_latency.summary(),
        "tick_rate": run.tick_rate,
        "delivered_share": freshness.delivered_share,
        "tick_overruns": freshness.ticks_left_out,
    }
    if run.begin is None:
        return timed
    end = run.end or run.moment(run.clock())
    measured: dict[str, Any] = (
        timed | between(run, run.begin, end) | {"superseded_share": _superseded(run, run.begin, end)}
    )
    if measured["relay"] is not None:
        measured["relay"]["us_per_player_tick_thirds"] = _thirds(run)
    return measured


def between(run: Run, begin: Moment, end: Moment) -> dict[str, Any]:
    """Describe traffic and processes between two moments."""
    seconds = max(end.at - begin.at, 1e-9)
    players = run.living() or run.plan.num_players
    rates = {
        name: {
            "up": round((getattr(end, f"{name}_up") - getattr(begin, f"{name}_up")) / seconds, 1),
            "down": round((getattr(end, f"{name}_down") - getattr(begin, f"{name}_down")) / seconds, 1),
        }
        for name in ("datagrams", "bytes")
    }
    bytes_per_player_s = {way: round(rate / players, 1) for way, rate in rates["bytes"].items()}
    per_hour = sum(bytes_per_player_s.values()) * SECONDS_PER_HOUR
    ticks = seconds * run.tick_rate
    expected = end.expected_down - begin.expected_down
    return {
        "seconds": round(seconds, 3),
        "ticks": round(ticks),
        "datagrams_per_s": rates["datagrams"],
        "bytes_per_s": rates["bytes"],
        "bytes_per_player_s": bytes_per_player_s,
        "loss_percent": {
            "up": _lost(end.decided_up - begin.decided_up, end.lost_up - begin.lost_up),
            "down": _lost(expected, expected - (end.received_down - begin.received_down)),
        },
        "relay": _relay(begin, end, ticks * players),
        "load": {"cpu_percent": round((end.cpu_s - begin.cpu_s) / seconds * 100, 1)},
        "cost": {
            "bytes_per_player_hour": round(per_hour),
            "month_gb": round(per_hour / SECONDS_PER_HOUR * SECONDS_PER_MONTH * run.plan.num_players / 1e9, 3),
        },
    }


def _lost(expected: int, lost: int) -> float | None:
    """Return the percentage that got lost."""
    return round(max(0, lost) / expected * 100, 3) if expected > 0 else None


def _superseded(run: Run, begin: Moment, end: Moment) -> float | None:
    published = end.published - begin.published
    return max(0.0, 1 - run.checks.freshness.changes / published) if published and run.phase is Phase.OVER else None


def _relay(begin: Moment, end: Moment, player_ticks: float) -> dict[str, float] | None:
    if begin.relay is None or end.relay is None:
        return None
    cpu_s, seconds = end.relay.cpu_s - begin.relay.cpu_s, end.relay.at - begin.relay.at
    return {
        "cpu_percent": round(cpu_s / max(seconds, 1e-9) * 100, 2),
        "us_per_player_tick": round(cpu_s * 1e6 / max(player_ticks, 1e-9), 3),
        "rss_mib": round(end.relay.rss_mib, 2),
    }


def _thirds(run: Run) -> list[float]:
    """Give the relay's cost in each third of the measured time, µs per player and tick: how steady it is."""
    costs = []
    for before, after in pairwise(run.thirds):
        player_ticks = (after.at - before.at) * run.tick_rate * run.plan.num_players
        costs.append(round((after.cpu_s - before.cpu_s) * 1e6 / max(player_ticks, 1e-9), 3))
    return costs


# --- what is wrong, and whose fault it is


def failures_of(run: Run, figures: dict[str, Any], is_over: bool) -> list[str]:
    """List everything that must not be, one line each."""
    found = []
    for kind, what in (("messages", "message"), ("states", "state"), ("signals", "signal")):
        for name in ("missing", "duplicated", "out_of_order", "misdelivered", "wrong"):
            count = figures.get(kind, {}).get(name, 0)
            if count:
                found.append(f"{_counted(count, what)} {name.replace('_', ' ')}")
    if run.crowd is not None:
        bad = run.crowd.downlink.dropped["bad_section"] + run.crowd.downlink.dropped["bad_ack"]
        if bad:
            found.append(f"{_counted(bad, 'datagram')} against the protocol")
    if run.unconverged is not None and len(run.unconverged):
        found.append(f"{_counted(len(run.unconverged), 'player')} did not come to the same table as the relay")
    for reason, count in Counter(run.ends.by_relay).items():
        found.append(f"{_counted(count, 'session')} ended that should have lasted: {reason}")
    if is_over and run.crowd is not None and run.joining.num_waiting and not run.plan.has_churn:
        found.append(f"{run.joining.num_waiting} of {run.plan.num_players} players could not join{_refusals(run)}")
    if is_over and run.crowd is None:
        errors = run.wire.counters["send_errors"] + run.wire.counters["receive_errors"]
        found.append(f"nobody could join{_refusals(run)}{NOBODY_LISTENS if errors else ''}")
    elif is_over and run.begin is None:
        found.append("it was ended before anything was measured")
    return found


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _refusals(run: Run) -> str:
    texts = ", ".join(f"{text} ({_counted(count, 'time')})" for text, count in run.joining.refusals.most_common(3))
    return f": {texts}" if texts else ""


def bottlenecks_of(run: Run, figures: dict[str, Any]) -> list[str]:
    """List what held the load generator itself back, with the remedy."""
    found = []
    overflow = run.wire.receive_overflow()
    if overflow:
        size = run.wire.receive_buffer_bytes() // 1024
        found.append(
            f"{overflow} datagrams were lost in this process's socket buffers of {size} KiB: "
            f"{'raise net.core.rmem_max (sysctl -w net.core.rmem_max=8388608), or ' if sys.platform == 'linux' else ''}"
            "let fewer players share a socket (--per-socket)"
        )
    if run.wire.counters["send_overflow"]:
        found.append(
            f"{run.wire.counters['send_overflow']} datagrams did not fit into a send buffer: raise net.core.wmem_max"
        )
    cpu = figures.get("load", {}).get("cpu_percent")
    if cpu is not None and cpu > SATURATED_PERCENT:
        found.append(f"this process used {cpu:.0f} % of its core: run fewer players, or several loads on other cores")
    if run.acting is not None and run.begin is not None:
        ticks = max(1.0, figures.get("seconds", 0) * run.plan.rate * run.plan.num_players)
        if run.acting.late_ticks > LATE_SHARE * ticks:
            found.append(
                f"{run.acting.late_ticks} of the players' ticks were left out, because this process was late: run "
                "fewer players, or keep other work off its core"
            )
    waiting = [way for way in (run.up, run.down) if way is not None and way.overflowed]
    if waiting:
        found.append("the simulated network held too many datagrams: use less latency, or fewer players")
    return found


def series_item(run: Run, before: Moment, now: Moment, elapsed_s: float) -> dict[str, Any]:
    """Describe the last second."""
    traffic = between(run, before, now)
    freshness, ledger = run.checks.freshness, run.checks.ledger
    pairs = now.pairs - before.pairs
    relay = traffic["relay"] or {}
    item = {
        "t": round(elapsed_s),
        "phase": run.phase.value,
        "players": run.living(),
        "datagrams_up": traffic["datagrams_per_s"]["up"],
        "datagrams_down": traffic["datagrams_per_s"]["down"],
        "bytes_up": traffic["bytes_per_s"]["up"],
        "bytes_down": traffic["bytes_per_s"]["down"],
        "state_age_p50_ms": freshness.recent_age.summary()["p50"],
        "state_age_p99_ms": freshness.recent_age.summary()["p99"],
        "message_latency_p99_ms": ledger.recent_messages.summary()["p99"],
        "signal_latency_p99_ms": ledger.recent_signals.summary()["p99"],
        "delivered_share": (now.delivered - before.delivered) / pairs if pairs else None,
        "loss_up_percent": traffic["loss_percent"]["up"],
        "loss_down_percent": traffic["loss_percent"]["down"],
        "relay_cpu_percent": relay.get("cpu_percent"),
        "relay_rss_mib": relay.get("rss_mib"),
        "load_cpu_percent": traffic["load"]["cpu_percent"],
        "overruns": now.left_out - before.left_out,
    }
    for recent in (freshness.recent_age, ledger.recent_messages, ledger.recent_signals):
        recent.clear()
    return item
