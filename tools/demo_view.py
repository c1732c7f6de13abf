"""What the demo shows: a live table and maps where rich is installed and there is a terminal, else plain lines."""

from dataclasses import dataclass
from typing import Any

MAP_COLUMNS = 27
MAP_ROWS = 9
"""Characters are about twice as high as wide, so this is a square."""


@dataclass(frozen=True)
class RoomView:
    """One room, as its first bot sees it."""

    code: str
    players: int
    round_trip_ms: float | None
    messages: int
    last_words: str
    positions: list[tuple[str, float, float]]
    """(name, x, y), each -1 ... 1."""


@dataclass(frozen=True)
class View:
    """Everything that is shown at one moment."""

    elapsed_s: float
    rooms: list[RoomView]
    players: int
    in_per_s: float
    """Datagrams per second that the relay received."""
    out_per_s: float
    """Datagrams per second that the relay sent."""
    round_trip_ms: float | None
    tick_ms: float
    load_percent: int
    tick_rate: int


def plain_line(view: View) -> str:
    """Write a moment as one line."""
    return (
        f"{view.elapsed_s:4.0f} s  rooms {len(view.rooms)}  players {view.players}  "
        f"datagrams/s {view.in_per_s:.0f} in {view.out_per_s:.0f} out  round trip {_ms(view.round_trip_ms)}  "
        f"tick {view.tick_ms:.2f} ms  load {view.load_percent} %"
    )


def draw_map(positions: list[tuple[str, float, float]]) -> str:
    """Draw a room: the first letter of each name where its player is."""
    rows = [["·" if (row + column) % 6 == 0 else " " for column in range(MAP_COLUMNS)] for row in range(MAP_ROWS)]
    for name, x, y in positions:
        if -1.0 <= x <= 1.0 and -1.0 <= y <= 1.0:
            rows[round((y + 1) / 2 * (MAP_ROWS - 1))][round((x + 1) / 2 * (MAP_COLUMNS - 1))] = name[:1]
    return "\n".join("".join(row) for row in rows)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


class PlainScreen:
    """Prints one line a second."""

    interval_s = 1.0

    def __enter__(self) -> "PlainScreen":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def show(self, view: View) -> None:
        """Print a line; flushed, for whoever reads a pipe."""
        print(plain_line(view), flush=True)


class LiveScreen:
    """Redraws a table and a map of each room. Raises: ImportError where rich is missing."""

    interval_s = 0.2

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(auto_refresh=False, transient=False)

    def __enter__(self) -> "LiveScreen":
        """Take over the terminal."""
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Give the terminal back; the last picture stays."""
        self._live.__exit__(*error)

    def show(self, view: View) -> None:
        """Draw a moment."""
        self._live.update(_picture(view), refresh=True)


def _picture(view: View) -> Any:
    from rich.columns import Columns
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"tickrelay demo, {view.elapsed_s:.0f} s (Ctrl-C ends it)", title_justify="left")
    for heading in ("room", "players", "round trip", "messages"):
        table.add_column(heading, justify="left" if heading == "room" else "right")
    table.add_column("last words", min_width=32, no_wrap=True)
    for room in view.rooms:
        table.add_row(room.code, str(room.players), _ms(room.round_trip_ms), str(room.messages), Text(room.last_words))
    relay = Text(
        f"relay: {view.players} players, {view.in_per_s:.0f} datagrams/s in, {view.out_per_s:.0f} out, "
        f"tick {view.tick_ms:.2f} ms at {view.tick_rate} ticks/s, load {view.load_percent} %"
    )
    maps = Columns([Panel(Text(draw_map(room.positions)), title=room.code, expand=False) for room in view.rooms])
    return Group(table, relay, maps)


def open_screen(is_terminal: bool) -> PlainScreen | LiveScreen:
    """Choose: live on a terminal with rich, plain lines otherwise."""
    if is_terminal:
        try:
            return LiveScreen()
        except ImportError:
            print("(install rich for a live table: pip install 'tickrelay[all]')")
    return PlainScreen()
