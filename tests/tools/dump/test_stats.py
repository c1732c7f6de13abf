"""The sums of --stats, held against plain counting with the codec."""

import io
import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from protocol.constants import Kind
from protocol.drops import DropReason
from tests.tools.dump.made import Game, Packet, chatter, ordinary_capture
from tests.tools.dump.reading import Collector, run_views
from tools.dump.fields import id_text
from tools.dump.sessions import Seen
from tools.dump.stats import StatsView, figures_of, tables_of
from tools.dump.tally import PLAYER_COLUMNS, SECTION_NAMES, Tally
from tools.dump.views import object_of


def busy_capture(seed: int = 1) -> list[Packet]:
    """Loss on both sides, copies, overtaking, and damage."""
    game = Game(3, seed=seed, loss_up=0.1, loss_down=0.1).run(3.0, chatter)
    packets = list(game.capture)
    for i in range(50, len(packets) - 5, 37):
        packets[i], packets[i + 3] = packets[i + 3], packets[i]
        packets.insert(i + 4, packets[i])
        broken = bytearray(packets[i + 5].data)
        # count of a STATE, or `first` of a LOG_RANGE: the sections stay whole
        broken[-1 if len(broken) < 40 else 31 if broken[0] == Kind.DATA else 37] ^= 0x41
        packets[i + 5] = packets[i + 5]._replace(data=bytes(broken))
    return packets


def tally_of(packets: Sequence[Packet], keep: Any = None, batch: int = 50) -> tuple[Tally, list[Seen]]:
    """Sums over packets, and what was seen of those that `keep` lets pass."""
    tally, collector = Tally(), Collector()
    run_views(packets, _Filtered(tally, keep), _Filtered(collector, keep), batch=batch)
    return tally, collector.seen


class _Filtered:
    """Hands a batch on with a filter's verdicts."""

    def __init__(self, view: Any, keep: Any) -> None:
        self._view, self._keep = view, keep

    def take(self, batch: Any, kept: Any) -> None:
        self._view.take(batch, None if self._keep is None else [self._keep(one) for one in batch.seen])

    def finish(self) -> None:
        """Nothing."""


def slow_sections(seen: Sequence[Seen]) -> Counter[tuple[str, str, str]]:
    """Count sections and bytes with the codec, one by one."""
    sums: Counter[tuple[str, str, str]] = Counter()
    for one in seen:
        value = one.value()
        if isinstance(value, DropReason) or one.kind not in (Kind.DATA, Kind.UPDATE) or one.problem is not None:
            continue
        at = 26 if one.kind == Kind.DATA else 32
        for section in value.sections:
            size = 3 + int.from_bytes(one.datagram.data[at + 1 : at + 3], "little")
            name = SECTION_NAMES[Kind(one.kind)](section.type).name
            sums[one.kind_name, name, "count"] += 1
            sums[one.kind_name, name, "bytes"] += size
            at += size
    return sums


KEEPS = {"all": None, "some": lambda seen: seen.datagram.number % 3 > 0, "none": lambda seen: False}


@pytest.mark.parametrize("keep", KEEPS.values(), ids=KEEPS)
@pytest.mark.parametrize("batch", [1, 50, 10_000])
def test_sums_are_those_of_counting_one_by_one(keep: Any, batch: int) -> None:
    tally, seen = tally_of(busy_capture(), keep, batch)
    figures = figures_of(tally)
    assert figures["datagrams"] == len(seen) and figures["bytes"] == sum(len(one.datagram.data) for one in seen)
    kinds = Counter((one.kind_name, one.direction.value) for one in seen)
    assert {(k["kind"], k["direction"]): k["datagrams"] for k in figures["kinds"]} == kinds
    sections = slow_sections(seen)
    assert {(s["kind"], s["section"], w): s[w] for s in figures["sections"] for w in ("count", "bytes")} == sections
    assert figures["dropped"] == Counter(one.dropped.name for one in seen if one.dropped)
    assert figures["problems"] == Counter(one.problem.reason.name for one in seen if one.problem and one.problem.reason)
    for player in figures["players"]:
        own = [one for one in seen if one.session is not None and object_of(one)["session"] == player["session"]]
        for way in ("up", "down"):
            mine = [one for one in own if one.direction.value == way]
            assert player[way]["datagrams"] == len(mine)
            assert player[way]["bytes"] == sum(len(one.datagram.data) for one in mine)


def test_pages_are_those_of_counting_one_by_one() -> None:
    tally, seen = tally_of(busy_capture(2))
    for player in figures_of(tally)["players"]:
        ages, full, delta = [], [], []
        for one in seen:
            if one.kind != Kind.UPDATE or one.problem or object_of(one)["session"] != player["session"]:
                continue
            value: Any = one.value()
            for section in value.sections:
                if section.type == 1:
                    size = 16 + 2 * len(section.body.removed)
                    size += sum(3 + g.header.count * (3 + g.header.stride) for g in section.body.groups)
                    since = section.body.header.since
                    (delta if since else full).append(size)
                    ages += [value.header.tick - since] if since else []
        pages = player["pages"]
        assert (pages["full"], pages["delta"]) == (len(full), len(delta))
        row = next(row for session, row in tally.rows.items() if id_text(session.session) == player["session"])
        sums = dict(zip(PLAYER_COLUMNS, tally.players[row].tolist()))
        assert (sums["full_bytes"], sums["delta_bytes"]) == (sum(full), sum(delta))
        assert pages["delta_share"] == pytest.approx(len(delta) / (len(full) + len(delta)))
        assert pages["baseline_age_ms"] == pytest.approx(sum(ages) / len(ages) * 1000 / 30)
        assert pages["delta_to_full_bytes"] == pytest.approx(sum(delta) / len(delta) / (sum(full) / len(full)))


def test_loss_is_what_the_network_lost_on_each_side_of_the_capture() -> None:
    tally, _ = tally_of(Game(4, seed=9, loss_up=0.08, loss_down=0.15).run(20.0, chatter).capture)
    for player in figures_of(tally)["players"]:
        assert 4 < player["up"]["loss_percent"] < 13 and 9 < player["down"]["loss_percent"] < 21
        assert player["down"]["missing"] == 0 < player["up"]["missing"]
        assert player["round_trip_ms"]["to_client"]["p50"] == pytest.approx(50, abs=6)
        assert player["round_trip_ms"]["to_relay"]["p50"] < 5


def test_bandwidth_counts_the_headers_around_the_payload() -> None:
    tally, seen = tally_of(ordinary_capture(num_players=1))
    (player,) = figures_of(tally)["players"]
    down = [one for one in seen if one.direction.value == "down" and one.session is not None]
    own = [one.datagram.time_s for one in seen if one.session is not None]
    seconds = own[-1] - own[0]
    wanted = sum(len(one.datagram.data) + 28 for one in down) * 8 / 1000 / seconds
    assert player["down"]["wire_kbit_per_s"] == pytest.approx(wanted)


SNAP_BYTES = 20 + 8 + 54
"""Headers of IPv4 and UDP, and what is left of the payload: more than the header of a DATA or an UPDATE."""


def test_what_a_capture_cut_counts_as_it_was_sent_and_is_not_malformed() -> None:
    packets = ordinary_capture()
    tallies = [Tally(), Tally()]
    run_views(packets, tallies[0])  # type: ignore[arg-type]
    run_views(packets, tallies[1], snap_bytes=SNAP_BYTES)  # type: ignore[arg-type]
    whole, cut = map(figures_of, tallies)
    assert cut["bytes"] == whole["bytes"] and cut["kinds"] == whole["kinds"]
    assert cut["cut"] == sum(len(packet.data) > 54 for packet in packets) > 0 == whole["cut"]
    assert cut["problems"] == {} and cut["dropped"] == whole["dropped"]
    # Sections of a datagram that is cut between two of them are not all of its sections.
    uncut = [packet for packet in packets if len(packet.data) <= 54]
    assert cut["sections"] == figures_of(tally_of(uncut)[0])["sections"]


def test_a_cut_capture_is_said_to_be_one_in_a_line_of_its_own() -> None:
    stream = io.StringIO()
    view = StatsView(stream, as_json=False, skipped=Counter)
    run_views(ordinary_capture(), view, snap_bytes=SNAP_BYTES).finish()
    assert " datagrams were cut by the capture: " in stream.getvalue() and "Malformed" not in stream.getvalue()


def test_the_rate_of_a_player_is_over_the_time_of_that_player() -> None:
    first = ordinary_capture(num_players=1)
    later = [packet._replace(time_s=packet.time_s + 60.0) for packet in ordinary_capture(num_players=1, seed=5)]
    both, alone = figures_of(tally_of(first + later)[0]), figures_of(tally_of(first)[0])
    session = alone["players"][0]["session"]
    of_one, _ = tally_of(first + later, lambda seen: seen.session is not None and object_of(seen)["session"] == session)
    (filtered,) = [one for one in figures_of(of_one)["players"] if one["session"] == session]
    for player in (both["players"][0], filtered):
        for way in ("up", "down"):
            rate = alone["players"][0][way]["wire_kbit_per_s"]
            assert rate > 5 and player[way]["wire_kbit_per_s"] == pytest.approx(rate)


@cache
def lossy_capture() -> list[Packet]:
    return Game(3, seed=9, loss_up=0.08, loss_down=0.15).run(20.0, chatter).capture


def test_only_players_that_the_filter_leaves_are_listed_with_the_same_figures() -> None:
    packets = lossy_capture()
    whole = figures_of(tally_of(packets)[0])["players"]
    (ada,) = figures_of(tally_of(packets, lambda seen: seen.player == "Ada")[0])["players"]
    assert len(whole) == 3 and ada == next(player for player in whole if player["player"] == "Ada")


@pytest.mark.parametrize("batch", [1, 10_000])
def test_of_a_time_loss_and_round_trips_are_those_of_that_time(batch: int) -> None:
    packets = lossy_capture()
    begin_s = packets[0].time_s + 10.0
    tally, seen = tally_of(packets, lambda one: one.datagram.time_s >= begin_s, batch)
    for player in figures_of(tally)["players"]:
        own = [one for one in seen if one.session is not None and object_of(one)["session"] == player["session"]]
        for way, other in (("up", "down"), ("down", "up")):
            mine = [one for one in own if one.direction.value == way and one.seq is not None and one.dropped is None]
            seqs = [one.seq for one in mine if one.seq is not None]
            assert player[way]["missing"] == pytest.approx(max(seqs) - min(seqs) + 1 - len(set(seqs)), abs=1)
            trips = [one for one in own if one.direction.value == other and one.round_trip_s is not None]
            toward = {"up": "to_relay", "down": "to_client"}[way]
            assert player["round_trip_ms"][toward]["samples"] == len(trips)
        assert 3 < player["up"]["loss_percent"] < 15 and 7 < player["down"]["loss_percent"] < 24


def test_loss_is_not_told_of_what_a_filter_tore_apart() -> None:
    tally, _ = tally_of(lossy_capture(), lambda seen: seen.kind == Kind.DATA)
    for player in figures_of(tally)["players"]:
        assert player["up"]["loss_percent"] is player["up"]["missing"] is player["down"]["loss_percent"] is None
        assert player["round_trip_ms"]["to_relay"]["samples"] == 0 < player["round_trip_ms"]["to_client"]["samples"]


def test_nothing_at_all_gives_empty_tables() -> None:
    figures = figures_of(Tally())
    assert (figures["datagrams"], figures["seconds"], figures["players"]) == (0, 0.0, [])
    assert tables_of(figures | {"skipped": {}}) == []


def shown(as_json: bool) -> str:
    stream = io.StringIO()
    view = StatsView(stream, as_json=as_json, skipped=lambda: Counter({"not UDP": 3}))
    run_views(busy_capture(), view).finish()
    return stream.getvalue()


def test_the_tables_have_kinds_sections_players_and_what_was_dropped_and_skipped() -> None:
    text = shown(as_json=False)
    for words in ("kind       way ", "LOG_RANGE", "3 players (up / down", "Ada", "LOBBY", "BAD_SECTION", "DUPLICATE"):
        assert words in text, words
    assert "Skipped" in text and "not UDP" in text and "a capture does not show: budgets" in text


def test_as_json_it_is_one_object_in_one_line() -> None:
    text = shown(as_json=True)
    figures = json.loads(text)
    assert text.count("\n") == 1 and figures["skipped"] == {"not UDP": 3} and len(figures["players"]) == 3
