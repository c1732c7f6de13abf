"""The report of a load: one HTML page that needs nothing else, to be kept, printed or sent to somebody.

Nothing in it asks the network for anything, and a policy in the page forbids it. All text passes `escape` on its way
into the page: settings and failures may hold what somebody else named.
"""

import html
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.cli import UsageError
from tools.load.charts import CHARTS, Chart, draw_chart
from tools.load.figures import (
    NOT_MEASURED,
    ROWS,
    Figures,
    Row,
    Unit,
    bottlenecks_of,
    cost_line,
    failures_of,
    format_setting,
    format_value,
    get,
    groups,
    is_wrong,
    printable,
    to_number,
    verdict,
)
from tools.load.report_style import STYLE

TILE_KEYS = (
    "players.connected",
    "delivered_share",
    "state_age_ms.p99",
    "message_latency_ms.p99",
    "messages.missing",
    "loss_percent.down",
    "relay.cpu_percent",
    "relay.us_per_player_tick",
)
"""What is read first."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
MISSING = "--report needs matplotlib, which draws the charts: pip install 'tickrelay[all]'"

Series = Sequence[Mapping[str, Any]]


def check_report(path: Path | str) -> None:
    """Check before the run what would else fail after it.

    Raises: UsageError where matplotlib is missing, or the path can not be a file.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(MISSING)
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"--report {path}: is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise UsageError(f"--report {path}: there is no folder {path.parent}")


def write_report(path: Path | str, figures: Figures, series: Series, *, date: str = "") -> None:
    """Write the page.

    Args:
        path: Where to; replaced if it exists.
        figures: The finished load.
        series: Its seconds; may be empty.
        date: When it was, for people. Without it, the same load gives the same bytes at any time.
    Raises: UsageError where matplotlib is missing; OSError if the file can not be written.
    """
    Path(path).write_text(build_report(figures, series, date=date), encoding="utf-8", newline="\n")


def build_report(figures: Figures, series: Series, *, date: str = "") -> str:
    """Build the page. Arguments and errors are those of `write_report`. Returns: HTML."""
    result = verdict(figures)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>tickrelay load: {result}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        "<main>",
        _verdict(figures, result, date),
        _bottlenecks(figures),
        _tiles(figures),
        _charts(figures, series),
        _tables(figures),
        _settings(get(figures, "settings") or {}),
        "</main>",
        "<footer>Made by <code>tickrelay load --report</code>. "
        "The keys are those of <code>tickrelay load --json</code>.</footer>",
        "</body>",
        "</html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def escape(text: Any) -> str:
    """Make any text safe between tags and in attributes."""
    return html.escape(printable(str(text)), quote=True)


def _verdict(figures: Figures, result: str, date: str) -> str:
    lines = [
        f'<section class="card verdict {result.lower()}" aria-labelledby="report-heading">',
        '<h1 id="report-heading">tickrelay load report</h1>',
        f"<p><strong>{result}</strong></p>",
        f"<p>{escape(_summary(figures))}</p>",
    ]
    failures = failures_of(figures)
    if failures:
        lines.append(_list(failures))
    cost = cost_line(figures)
    if cost:
        lines.append(f"<p>{escape(cost[0].upper() + cost[1:])}.</p>")
    if date:
        lines.append(f'<p class="muted">{escape(date)}</p>')
    return "\n".join([*lines, "</section>"])


def _summary(figures: Figures) -> str:
    """Say in one sentence what was run; only what is known."""
    players, seconds, rate = (to_number(get(figures, key)) for key in ("players.wanted", "seconds", "tick_rate"))
    parts = [
        "" if players is None else f"{players:,.0f} {'player' if players == 1 else 'players'}",
        "" if seconds is None else f"measured for {format_value(seconds, Unit.S)}",
        "" if rate is None else f"at {rate:g} ticks per second",
    ]
    return ", ".join(part for part in parts if part) or "Nothing was measured"


def _bottlenecks(figures: Figures) -> str:
    bottlenecks = bottlenecks_of(figures)
    if not bottlenecks:
        return ""
    return (
        '<section class="card note"><h2>The load generator was held back</h2>\n'
        f"<p>The relay may be better than these figures.</p>\n{_list(bottlenecks)}</section>"
    )


def _list(texts: Iterable[str]) -> str:
    return "<ul>\n" + "\n".join(f"<li>{escape(text)}</li>" for text in texts) + "\n</ul>"


def _tiles(figures: Figures) -> str:
    rows = {row.key: row for row in ROWS}
    tiles = []
    for key in TILE_KEYS:
        row = rows[key]
        tiles.append(
            f'<div class="card{" wrong" if is_wrong(row, figures) else ""}"><dt>{escape(_tile_heading(row))}</dt>'
            f"<dd>{escape(format_value(get(figures, key), row.unit))}</dd><dd><code>{escape(key)}</code></dd></div>"
        )
    return '<dl class="tiles">\n' + "\n".join(tiles) + "\n</dl>"


def _tile_heading(row: Row) -> str:
    text = (
        f"{row.group} {row.heading}" if row.group in ("Players", "Messages") and " " not in row.heading else row.heading
    )
    return text[0].upper() + text[1:]


# --- Charts


def _charts(figures: Figures, series: Series) -> str:
    lines = ["<h2>Second by second</h2>"]
    if any(item.get("phase") not in ("load", None) for item in series):
        lines.append('<p class="muted">Shaded: before and after the load proper (ramp-up, warm-up, settling).</p>')
    rate = to_number(get(figures, "tick_rate"))
    tick_ms = 1000 / rate if rate else None
    lines.append('<div class="charts">')
    lines += [_figure(chart, series, tick_ms) for chart in CHARTS]
    return "\n".join([*lines, "</div>"])


def _figure(chart: Chart, series: Series, tick_ms: float | None) -> str:
    try:
        svg = draw_chart(chart, series, tick_ms)
    except ImportError:
        raise UsageError(MISSING) from None
    return (
        f'<figure class="card"><figcaption><h3>{escape(chart.title)}</h3>'
        f"<p>{escape(chart.explanation)}</p></figcaption>\n"
        f"{svg or '<p>Not measured.</p>'}</figure>"
    )


# --- Tables


def _tables(figures: Figures) -> str:
    return "\n".join(["<h2>Every figure</h2>", *(_table(group, rows, figures) for group, rows in groups().items())])


def _table(group: str, rows: list[Row], figures: Figures) -> str:
    lines = [
        f'<div class="card scroll"><table><caption>{escape(group)}</caption>',
        '<thead><tr><th scope="col">Figure</th><th scope="col" class="number">Value</th>'
        '<th scope="col" class="keys">Key in --json</th><th scope="col" class="explanation">Meaning</th></tr></thead>',
        "<tbody>",
    ]
    for row in rows:
        mark = ' class="wrong"' if is_wrong(row, figures) else ""
        lines.append(
            f'<tr{mark}><th scope="row">{escape(row.heading)}</th>'
            f'<td class="number">{escape(format_value(get(figures, row.key), row.unit))}</td>'
            f'<td class="keys"><code>{escape(row.key)}</code></td>'
            f'<td class="muted explanation">{escape(row.explanation)}</td></tr>'
        )
    return "\n".join([*lines, "</tbody></table></div>"])


def _settings(settings: Mapping[str, Any]) -> str:
    lines = [
        "<h2>Settings of the run</h2>",
        '<div class="card scroll"><table><caption>Options</caption>',
        '<thead><tr><th scope="col">Option</th><th scope="col">Value</th></tr></thead>',
        "<tbody>",
    ]
    for name, value in settings.items():
        lines.append(f'<tr><th scope="row">{escape(name)}</th><td>{escape(format_setting(value))}</td></tr>')
    if not settings:
        lines.append(f'<tr><th scope="row">none</th><td>{NOT_MEASURED}</td></tr>')
    return "\n".join([*lines, "</tbody></table></div>"])
