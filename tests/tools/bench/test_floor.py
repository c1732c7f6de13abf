"""The floor is talked to over loopback: it must send what the relay would, or it would be no floor of it."""

import itertools
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.constants import AckFlag, Kind, UpdateSection
from protocol.dtypes import page_ids
from tests.relay.bench import Bench
from tests.tools.bench.floors import PATIENCE_S, SHARD, TICK_RATE, floor, program, state_section, states_of
from tools.bench import floor as module
from tools.bench.floor import Fill, NoFloorError, compile_floor, floor_command, read_port

STATE = bytes(range(24))


def test_everybody_in_the_room_is_sent_a_state_and_its_sender_too() -> None:
    with floor(players=16, per_room=8) as running:
        for player in (0, 1, 8):
            running.say(player)
        running.publish(1, STATE)
        heard = {update.header.session: update for update in itertools.islice(running.hear(), 2)}
    assert sorted(heard) == [1, 2]
    assert states_of([heard[1]]) == [(1, STATE)]


def test_the_header_is_that_of_an_update() -> None:
    with floor() as running:
        running.publish(3, STATE)
        (update,) = itertools.islice(running.hear(), 1)
    header = update.header
    assert (header.kind, header.shard, header.seq, header.session) == (Kind.UPDATE, SHARD, 1, 4)
    assert (header.ack, header.ack_bits, header.flags) == (1, 0, 0)
    assert header.ack_delay <= 1000 / TICK_RATE + 250
    assert (header.message_ack, header.message_bits, header.message_credit) == (0, 0, 32)
    assert header.tick >= 1
    (section,) = update.sections
    page = section.body.header
    assert section.type == UpdateSection.PAGE
    assert (page.page, page.layer, page.log_index, page.removed_count, page.group_count) == (0, 0, 0, 0, 1)
    assert section.body.groups[0].header.encoding == 0


def test_numbers_count_up_and_acks_are_of_what_was_sent() -> None:
    with floor() as running:
        heard = []
        for seq in range(1, 41):
            running.publish(0, bytes([seq]) * 24)
            heard += itertools.islice(running.hear(), 1)
    assert [update.header.seq for update in heard] == list(range(1, 41))
    ticks = [update.header.tick for update in heard]
    assert all(before < after for before, after in itertools.pairwise(ticks))
    for update in heard:
        newest = update.header.ack
        sent = {newest - 1 - bit for bit in range(32) if update.header.ack_bits >> bit & 1}
        assert sent == set(range(max(1, newest - 32), newest))


def test_numbers_wrap() -> None:
    with floor() as running:
        for seq in (20_000, 40_000, 60_000, 65_535, 65_537):
            running.publish(0, STATE, seq=seq)
            heard = list(itertools.islice(running.hear(), 1))
    assert (heard[0].header.ack, heard[0].header.ack_bits) == (1, 0xFFFFFFFF)


def test_an_older_state_does_not_replace_a_newer_one() -> None:
    with floor() as running:
        running.publish(0, b"n" * 24, seq=5)
        assert list(itertools.islice(running.hear(), 1))
        running.publish(0, b"o" * 24, seq=4)
        assert list(running.hear(0.2)) == []


def test_a_page_stands_on_the_tick_that_it_was_sent_at_before() -> None:
    with floor() as running:
        running.publish(0, STATE)
        (first,) = itertools.islice(running.hear(), 1)
        time.sleep(3 / TICK_RATE)
        running.publish(0, STATE)
        (second,) = itertools.islice(running.hear(), 1)
        running.publish(1, STATE)
        (third,) = itertools.islice(running.hear(player=0), 1)
    assert first.sections[0].body.header.since == 0
    assert second.sections[0].body.header.since == first.header.tick
    # player 1 has nothing yet that a change could stand on
    assert third.sections[0].body.header.since == 0
    assert states_of([third]) == [(0, STATE), (1, STATE)]


def test_a_page_is_sent_whole_about_once_a_second() -> None:
    with floor() as running:
        running.publish(0, STATE)
        running.publish(1, STATE)
        heard = []
        for update in running.hear(player=0):
            heard.append(update)
            running.publish(0, STATE)
            if len(heard) == 2 * TICK_RATE:
                break
    whole = [update for update in heard if update.sections[0].body.header.since == 0]
    assert 2 <= len(whole) <= 6
    assert len(states_of([whole[-1]])) == 2
    assert states_of([heard[5]]) == [(0, STATE)]


def test_nothing_is_sent_where_nothing_changed() -> None:
    with floor(players=16) as running:
        running.say(0)
        running.say(8)
        running.publish(9, STATE)
        heard = list(running.hear(0.3))
    assert {update.header.session for update in heard} == {9, 10}
    assert len(heard) == 2


def test_a_room_of_several_pages_takes_as_many_datagrams_as_it_needs() -> None:
    states = {player: bytes([player]) * 24 for player in range(64)}
    with floor(players=64, per_room=64) as running:
        heard = running.publish_until_whole(states, player=63)
    assert dict(states_of(heard)) == states
    assert [section.body.header.page for update in heard for section in update.sections] == [0, 1]
    assert len(heard) == 2
    for update in heard:
        for section in update.sections:
            ids = section.body.groups[0].ids
            assert {entity_id // page_ids(24) for entity_id in ids} == {section.body.header.page}


def test_pages_share_a_datagram_where_they_fit() -> None:
    with floor(players=256, per_room=256, state_bytes=200) as running:
        running.say(0)
        states = {player: bytes([player]) * 200 for player in (0, 100, 250)}
        heard = running.publish_until_whole(states, player=0)
    assert len(heard) == 1
    pages = [section.body.header.page for section in heard[0].sections]
    assert pages == [player // page_ids(200) for player in states]


@pytest.mark.parametrize("per_room", [2, 8, 64])
def test_its_datagrams_are_as_large_as_the_relays(per_room: int) -> None:
    bench = Bench(max_room_players=64)
    clients = bench.join_all(per_room, max_players=per_room, max_state_bytes=24)
    for number in range(3):
        bench.receive(*[client.data(client.state(bytes([number]) * 24)) for client in clients])
        bench.tick()
        relayed = [update.size for update in clients[-1].hear()]
    with floor(players=per_room, per_room=per_room) as running:
        heard = running.publish_until_whole(dict.fromkeys(range(per_room), STATE), player=per_room - 1)
    assert [update.size for update in heard] == relayed


def test_the_age_is_that_of_the_sample_at_the_tick() -> None:
    def age_of(sample_ms: int) -> Any:
        running.publish(0, STATE, sample_ms=sample_ms)
        (update,) = itertools.islice(running.hear(), 1)
        return update.sections[0].body.groups[0].ages[0], update.header.tick * 1000 // TICK_RATE

    with floor() as running:
        _, tick_ms = age_of(0)
        age, now_ms = age_of(tick_ms)
        assert age == min(255, (now_ms - tick_ms) // 2)
        assert age_of(now_ms + 10_000)[0] == 0
        assert age_of((now_ms - 20_000) & 0xFFFF)[0] == 255


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x10",
        bytes(26),
        b"\x10" + bytes(25),
        b"\x10" + bytes(3) + (9).to_bytes(8, "little") + bytes(14),
        b"\x10" + bytes(3) + b"\xff" * 8 + bytes(14),
        b"\x01" + bytes(255),
    ],
)
def test_garbage_makes_nobody_known_and_does_not_end_it(data: bytes) -> None:
    with floor() as running:
        running.sock.send(data)
        running.say(0, state_section(0, bytes(23)))  # of another length
        assert list(running.hear(0.2)) == []
        running.publish(0, STATE)
        assert [update.header.session for update in itertools.islice(running.hear(), 1)] == [1]


def test_a_bare_first_datagram_has_an_ack_too() -> None:
    with floor() as running:
        running.say(1)
        running.publish(0, STATE)
        heard = {update.header.session: update.header for update in itertools.islice(running.hear(), 2)}
    assert heard[2].ack == 1 and not heard[2].flags & AckFlag.NOTHING_RECEIVED


def test_it_ends_when_it_is_told_to() -> None:
    with floor() as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE_S) == 0


def test_it_ends_by_itself() -> None:
    with floor(seconds=1) as running:
        assert running.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    "numbers",
    [
        [],
        ["0", "8", "8", "24"],
        ["0", "0", "8", "24", "30"],
        ["0", "99999", "8", "24", "30"],
        ["x", "8", "8", "24", "30"],
        ["0", "8", "8", "24", "30", "1", "200"],
        ["0", "8", "8", "24", "30", "1", "2", "1000"],
        ["0", "8", "8", "24", "30", "1", "1129", "1000"],
        ["0", "8", "8", "24", "30", "1", "200", "64001"],
    ],
)
def test_it_refuses_what_it_has_no_room_for(numbers: list[str]) -> None:
    done = subprocess.run([str(program()), *numbers], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("fill", [Fill(1.5, 300), Fill(2.0, 1160), Fill(0.25, 35.4)])
def test_it_sends_as_much_as_a_relay_sent_of_words(fill: Fill) -> None:
    """With and without states: datagrams of that size, so many a tick, which a reader of the format can skip."""
    with floor(players=8, fill=fill) as running:
        running.say(0)
        heard = list(itertools.islice(running.hear(player=0), 30))
        ticks = heard[-1].header.tick - heard[0].header.tick + 1
    assert len(heard) / ticks == pytest.approx(fill.datagrams_per_tick, rel=0.15)
    assert {update.size for update in heard} == {round(fill.datagram_bytes)}
    assert {section.type for update in heard for section in update.sections} == {0xEE}


def test_fillers_come_beside_states() -> None:
    with floor(players=8, fill=Fill(1.0, 100)) as running:
        running.publish(0, STATE)
        heard = list(itertools.islice(running.hear(player=0), 2))
    assert sorted(update.sections[0].type for update in heard) == [UpdateSection.PAGE, 0xEE]


def test_a_floor_that_did_not_start_is_told() -> None:
    with (
        subprocess.Popen([str(program())], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process,
        pytest.raises(RuntimeError, match="exit code 2"),
    ):
        read_port(process)


# --- Without a floor


def test_without_a_compiler_there_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "sys", SimpleNamespace(platform="linux"))
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(NoFloorError, match="no C compiler"):
        compile_floor(tmp_path)


def test_elsewhere_than_on_linux_there_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "sys", SimpleNamespace(platform="win32"))
    with pytest.raises(NoFloorError, match="Linux"):
        compile_floor(tmp_path)


@pytest.mark.parametrize(
    "source", ["int main(void) { return x; }\n", "int main(int argc, char **argv) { return 0; }\n"]
)
def test_what_the_compiler_says_is_a_reason(source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program()
    wrong = tmp_path / "wrong.c"
    wrong.write_text(source, encoding="utf-8")
    monkeypatch.setattr(module, "SOURCE", wrong)
    with pytest.raises(NoFloorError, match="refuses"):
        compile_floor(tmp_path)


def test_a_compiler_that_does_not_run_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "sys", SimpleNamespace(platform="linux"))
    monkeypatch.setattr(module.shutil, "which", lambda name: str(tmp_path / "cc"))
    with pytest.raises(NoFloorError, match="does not run"):
        compile_floor(tmp_path)


def test_the_command_line_is_whole_numbers() -> None:
    assert floor_command(Path("floor"), 0, 64, 8, 24, 30, 12.5)[1:] == ["0", "64", "8", "24", "30", "12"]
