"""The charts of a load: inline SVG whose colours are CSS variables of the page, so they follow light, dark and print.

matplotlib draws with marker colours that stand for roles; afterwards they become `var(--...)`. What it adds for
stand-alone files (metadata, a style sheet, an id on every group) goes away: a page has many charts in one document,
where ids must be unique and a style sheet would reach everything.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from tools.load.figures import Unit, format_value, to_number

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
SIZE_INCHES = (5.8, 2.6)
"""At 72 units per inch: the view box. The page scales it to its column."""
FONT_SIZE = 10
MAX_POINTS_WITH_MARKS = 90
"""A run this short gets a dot per second, without which a second between two gaps would not be seen."""
MINUTES_FROM_S = 600
"""Longer runs have minutes below their charts."""
LOAD_PHASE = "load"

_LINE_1, _LINE_2, _TEXT, _GRID, _TICK, _SHADE = "#c0de01", "#c0de02", "#c0de03", "#c0de04", "#c0de05", "#c0de06"
COLOR_VARIABLES = {
    _LINE_1: "--line-1",
    _LINE_2: "--line-2",
    _TEXT: "--muted",
    _GRID: "--grid",
    _TICK: "--tick",
    _SHADE: "--shade",
}
"""Marker colour -> variable that the page defines."""

Series = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    key: str
    """Its name in the series."""
    label: str


@dataclass(frozen=True)
class Chart:
    """What one chart shows."""

    name: str
    """Unique in the page; letters and dashes."""
    title: str
    unit: Unit
    lines: tuple[Line, ...]
    explanation: str
    """One sentence below the title."""
    has_tick: bool = False
    """Whether the time of one tick is drawn as a line across."""


_UP_DOWN = "up: from the players to the relay; down: from the relay to the players."

CHARTS: tuple[Chart, ...] = (
    Chart("players", "Players", Unit.COUNT, (Line("players", "connected"),), "Players in a room."),
    Chart(
        "delivered", "Delivered share", Unit.SHARE, (Line("delivered_share", "delivered"),),
        "Of the ticks in which something changed for a receiver, those in which all of it arrived in that tick. "
        "The axis does not begin at 0.",
    ),
    Chart(
        "state-age", "State age", Unit.MS, (Line("state_age_p50_ms", "p50"), Line("state_age_p99_ms", "p99")),
        "From the sender's clock to the receiver: half (p50) and 99 of 100 (p99) took no longer.", has_tick=True,
    ),
    Chart(
        "latency", "Latency of messages and signals, p99", Unit.MS,
        (Line("message_latency_p99_ms", "messages"), Line("signal_latency_p99_ms", "signals")),
        "From sending to handing over: 99 of 100 took no longer.",
    ),
    Chart(
        "datagrams", "Datagrams per second", Unit.PER_S, (Line("datagrams_up", "up"), Line("datagrams_down", "down")),
        _UP_DOWN,
    ),
    Chart(
        "bytes", "Bytes per second", Unit.BYTES_PER_S, (Line("bytes_up", "up"), Line("bytes_down", "down")), _UP_DOWN
    ),
    Chart(
        "loss", "Loss", Unit.PERCENT, (Line("loss_up_percent", "up"), Line("loss_down_percent", "down")),
        f"From gaps in the sequence of datagrams. {_UP_DOWN}",
    ),
    Chart(
        "overruns", "Tick overruns", Unit.COUNT, (Line("overruns", "overruns"),),
        "Ticks of the relay that took longer than their time.",
    ),
    Chart(
        "cpu", "CPU", Unit.CPU_PERCENT,
        (Line("relay_cpu_percent", "relay"), Line("load_cpu_percent", "load generator")),
        "Of one core. A load generator near 100 % measures itself, not the relay.",
    ),
    Chart("memory", "Memory of the relay", Unit.MIB, (Line("relay_rss_mib", "resident"),), "Resident memory."),
)  # fmt: skip


def draw_chart(chart: Chart, series: Series, tick_ms: float | None = None) -> str:
    """Draw a chart.

    Args:
        chart: One of CHARTS.
        series: The seconds of the run. What is None or missing is a gap.
        tick_ms: The time of one tick, for charts that show it.
    Returns: an `<svg>` element; empty if nothing of it was measured. The same for the same input.
    Raises: ImportError where matplotlib is missing.
    """
    columns = [[_value(chart, item.get(line.key)) for item in series] for line in chart.lines]
    if all(value is None for column in columns for value in column):
        return ""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a matplotlibrc of whoever runs this must not show
        matplotlib.rcParams.update(_style(chart.name))
        raw = _render(chart, series, columns, tick_ms)
    return _clean(raw, chart, describe(chart, series))


def describe(chart: Chart, series: Series) -> str:
    """Say in words what a chart shows, for whoever does not see it."""
    sentences = [chart.explanation]
    for line in chart.lines:
        values = [number for item in series if (number := to_number(item.get(line.key))) is not None]
        if not values:
            sentences.append(f"{line.label}: not measured.")
            continue
        low, high, last = (format_value(value, chart.unit) for value in (min(values), max(values), values[-1]))
        sentences.append(f"{line.label}: lowest {low}, highest {high}, at the end {last}.")
    return " ".join(sentences)


def _value(chart: Chart, value: Any) -> float | None:
    number = to_number(value)
    return number * 100 if number is not None and chart.unit is Unit.SHARE else number


def _style(salt: str) -> dict[Any, Any]:
    return {
        "svg.hashsalt": salt,  # ids come from it: unique between charts, the same in every run
        "svg.fonttype": "none",  # text stays text: small, searchable, in the reader's font
        "font.family": "DejaVu Sans",  # comes with matplotlib, so all measure alike
        "font.size": FONT_SIZE,
        "axes.edgecolor": _GRID,
        "axes.spines.left": False,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "axes.labelcolor": _TEXT,
        "grid.color": _GRID,
        "grid.linewidth": 0.8,
        "xtick.color": _TEXT,
        "ytick.color": _TEXT,
        "ytick.major.size": 0,
        "text.color": _TEXT,
        "lines.linewidth": 1.8,
        "legend.frameon": False,
        "legend.fontsize": FONT_SIZE,
    }


def _render(chart: Chart, series: Series, columns: list[list[float | None]], tick_ms: float | None) -> bytes:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    scale, time_label = (60, "minutes") if _times(series)[-1] > MINUTES_FROM_S else (1, "seconds")
    times = [t / scale for t in _times(series)]
    _draw_lines(axes, chart, times, columns)
    reference = tick_ms if chart.has_tick else None
    if reference is not None:
        axes.axhline(reference, color=_TICK, linewidth=1.2, linestyle=":", label=f"one tick ({reference:.3g} ms)")
    for start, end in shaded_spans(series):
        axes.axvspan(start / scale, end / scale, facecolor=_SHADE, edgecolor="none", linewidth=0, zorder=0)
    _set_axes(axes, chart, times, [value for column in columns for value in column if value is not None], reference)
    axes.set_xlabel(f"{time_label} since the start")
    if len(chart.lines) > 1 or reference is not None:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, handlelength=2.2)
    target = io.BytesIO()
    figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    return target.getvalue()


def _times(series: Series) -> list[float]:
    """Read when each item was; an item without a time follows the one before by a second."""
    times: list[float] = []
    for item in series:
        t = to_number(item.get("t"))
        times.append(t if t is not None else (times[-1] if times else 0.0) + 1.0)
    return times


def _draw_lines(axes: Any, chart: Chart, times: list[float], columns: list[list[float | None]]) -> None:
    marker = "o" if len(times) <= MAX_POINTS_WITH_MARKS else None
    # Told apart by dashes as well as by colour, for print and for eyes that do not tell these colours apart.
    for line, column, color, dashes in zip(chart.lines, columns, (_LINE_1, _LINE_2), ("-", (0, (4, 1.6)))):
        values = [float("nan") if value is None else value for value in column]
        axes.plot(
            times, values, color=color, linestyle=dashes, marker=marker, markersize=2.2, markeredgewidth=0,
            label=line.label,
        )  # fmt: skip


def shaded_spans(series: Series) -> list[tuple[float, float]]:
    """Find when it was not the load proper. Returns: (start, end) in seconds, touching ones joined."""
    spans: list[tuple[float, float]] = []
    previous = 0.0
    for item, t in zip(series, _times(series)):
        if item.get("phase") not in (LOAD_PHASE, None):
            start = spans.pop()[0] if spans and spans[-1][1] == previous else previous
            spans.append((start, t))
        previous = t
    return spans


def _set_axes(axes: Any, chart: Chart, times: list[float], values: list[float], reference: float | None) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlim(0, max(times[-1], 1e-9))
    if chart.unit is Unit.SHARE:
        # From 0 a thousandth, which matters, would be a fifth of a pixel.
        missing = max(100 - min(values), 0.0)
        axes.set_ylim(100 - max(missing * 1.15, 1.0), 100 + max(missing * 0.03, 0.03))
    else:
        top = max([*values, reference or 0.0])
        axes.set_ylim(0, top * 1.12 if top > 0 else 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=chart.unit is Unit.COUNT, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _AXIS_TEXTS[chart.unit](value)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _prefixed(value: float, unit: str) -> str:
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g} {prefix}{unit}"
    return f"{value:g} {unit}".strip()


_AXIS_TEXTS: dict[Unit, Callable[[float], str]] = {
    Unit.COUNT: lambda value: f"{value:,.0f}",
    Unit.PER_S: lambda value: _prefixed(value, ""),
    Unit.MS: lambda value: f"{value:,g} ms",
    Unit.SHARE: lambda value: f"{value:g} %",
    Unit.PERCENT: lambda value: f"{value:g} %",
    Unit.CPU_PERCENT: lambda value: f"{value:g} %",
    Unit.BYTES_PER_S: lambda value: _prefixed(value, "B/s"),
    Unit.MIB: lambda value: f"{value:,g} MiB",
}
"""Written at the grid lines. Those are round numbers, so they need no fixed number of digits."""


# --- From a file of matplotlib to a part of a page


def _clean(raw: bytes, chart: Chart, description: str) -> str:
    root = ElementTree.fromstring(raw)
    _rename(root)
    _drop(root, {"metadata", "style"})
    used = set(re.findall(r"(?:url\(#|href=\")#?([\w-]+)", ElementTree.tostring(root, encoding="unicode")))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
    view_box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib |= {
        "xmlns": SVG_NAMESPACE,
        "viewBox": view_box,
        "role": "img",
        "aria-labelledby": f"{chart.name}-title {chart.name}-desc",
        "stroke-linejoin": "round",
    }
    for position, (tag, text) in enumerate((("title", chart.title), ("desc", description))):
        element = ElementTree.Element(tag, {"id": f"{chart.name}-{tag}"})
        element.text = text
        root.insert(position, element)
    text = ElementTree.tostring(root, encoding="unicode").replace("'DejaVu Sans'", "system-ui, sans-serif")
    for color, variable in COLOR_VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    return "\n".join(line.strip() for line in text.split("\n") if line.strip())


def _rename(root: ElementTree.Element) -> None:
    """Take the namespaces out of all names; the root says the only one that is left."""
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}


def _drop(parent: ElementTree.Element, tags: set[str]) -> None:
    for child in list(parent):
        if child.tag in tags:
            parent.remove(child)
        else:
            _drop(child, tags)
