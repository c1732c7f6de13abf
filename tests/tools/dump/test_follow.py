"""The story of one connection."""

import io
import re
from collections import Counter
from typing import Any

import pytest

from protocol.constants import Kind
from relay.config import RelayConfig
from tests.tools.dump.made import RELAY, Bot, Game, Packet, chatter, ordinary_capture
from tests.tools.dump.reading import run_views, see
from tools.cli import UsageError
from tools.dump import follow
from tools.dump.fields import id_text
from tools.dump.follow import FollowView
from tools.dump.views import Printer

ADA = ("10.0.1.1", 40_000)


def story(packets: list[Packet], wanted: str = "Ada", batch: int = 50, **options: Any) -> list[str]:
    """What --follow prints, without times."""
    stream = io.StringIO()
    view = FollowView(wanted, Printer(stream), lambda: packets[0].time_s)
    run_views(packets, view, batch=batch, **options).finish()
    return [line[14:] for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("batch", [1, 50, 10_000])
def test_an_ordinary_life_is_the_handshake_and_the_end(batch: int) -> None:
    lines = story(ordinary_capture(), batch=batch)
    kinds = [line.split()[1] for line in lines[:4]]
    assert kinds == ["HELLO", "CHALLENGE", "JOIN", "WELCOME"]
    rest = [line for line in lines[4:] if "is the first" not in line and "dropped: UNKNOWN_SESSION" not in line]
    assert rest[0].startswith("up    BYE  LEFT") and rest[1].strip().endswith("Ada ends: BYE LEFT by the client")
    assert not any("seq 0" in line for line in lines)
    assert [line.split()[0] for line in rest[2:]] == ["lasted", "up", "down", "messages", "entries", "pages"]
    assert "Bob" not in " ".join(line for line in lines if "ROSTER" not in line)


def test_a_session_may_be_named_by_its_id_or_the_begin_of_it() -> None:
    capture = ordinary_capture()
    session = next(one.session for one in see(capture) if one.session is not None and one.session.name == "Ada")
    whole = id_text(session.session)
    assert story(capture, whole) == story(capture, whole[:8]) == story(capture, "Ada")


def test_nobody_of_that_name_is_told() -> None:
    stream = io.StringIO()
    run_views(ordinary_capture(), FollowView("Zoe", Printer(stream), lambda: 0.0)).finish()
    assert stream.getvalue() == "nothing of 'Zoe' was seen; --stats lists all sessions\n"


def test_gaps_late_ones_and_copies_are_told() -> None:
    capture = Game(1).run(2.0, chatter).capture
    ups = [i for i, packet in enumerate(capture) if packet.data[0] == Kind.DATA]
    lost, late, copied = ups[10], ups[20], ups[30]
    packets = [packet for i, packet in enumerate(capture) if i not in (lost, late)]
    packets.insert(ups[22] - 2, capture[late])
    packets.insert(ups[32] - 2, capture[copied])
    text = "\n".join(story(packets))
    assert text.count("after a gap: 1 missing, from seq 11") == 1
    assert text.count("after a gap: 1 missing, from seq 21") == 1
    assert text.count("comes late, ") == 1 and text.count("dropped: DUPLICATE") == 1


def test_silence_is_a_stall_if_the_stream_is_not_usually_that_slow() -> None:
    game = Game(1).run(1.0, chatter)
    before = len(game.capture)
    game.run(0.9, chatter)
    resumed = [packet._replace(time_s=packet.time_s + 0.6) for packet in game.capture[before:]]
    text = "\n".join(story(game.capture[:before] + resumed))
    assert text.count(" ms of silence") == 2  # up and down
    quiet = "\n".join(story(Game(1).run(8.0).capture))
    assert "of silence" not in quiet


def test_a_player_who_seldom_sends_does_not_stall() -> None:
    def seldom(game: Game, bot: Bot) -> None:
        if game.step % 60 == 0:
            chatter(game, bot)

    text = "\n".join(story(Game(1).run(8.0, seldom).capture))
    assert text.count("of silence") <= 4  # until it is known that this is usual; there are 15 of them each way


def test_a_stutter_once_a_second_is_told_every_time() -> None:
    capture = Game(1).run(6.0, chatter).capture
    stuttering = [
        packet._replace(time_s=packet.time_s + 0.4 * int(packet.time_s - capture[0].time_s)) for packet in capture
    ]
    ups = [line for line in story(stuttering) if "of silence" in line and line.startswith("up")]
    assert len(ups) == 5


def test_a_message_and_its_copies_are_one_message() -> None:
    game = Game(1).run(0.5)
    game.bots[0].connection.send_message(b"hello")
    lines = story(game.run(1.0).capture)
    sent = sum(b"hello" in packet.data for packet in game.capture if packet.data[0] == Kind.DATA)
    assert sent > 1 and f"messages  1 of them, {sent - 1} copies sent again" in "\n".join(lines)


def test_an_entry_that_is_not_acknowledged_for_long_is_told_with_its_copies() -> None:
    game = Game(1).run(0.5)
    game.bots[0].connection.send_message(b"hello")
    game.run(0.05)
    game.loss_up = 1.0
    game.run(0.6)
    game.loss_up = 0.0
    game.run(1.0)
    sent = sum(b"hello" in packet.data for packet in game.capture if packet.data[0] == Kind.UPDATE)
    text = "\n".join(story(game.capture))
    assert f"down  entry 4 took 633 ms to be acknowledged, sent {sent} times" in text


def test_an_old_baseline_is_told_once_and_when_it_is_fresh_again() -> None:
    game = Game(2).run(1.0, chatter)
    game.loss_down = 1.0  # Ada and Bob hear nothing, so they acknowledge nothing
    game.run(2.0, chatter)
    game.loss_down = 0.0
    text = "\n".join(story(game.run(2.0, chatter).capture))
    assert text.count("s old: no acknowledgement reached the relay") == 1
    assert text.count("builds upon a fresh state again") == 1


def test_a_new_address_is_told() -> None:
    capture = Game(1).run(1.0, chatter).capture
    moved = [packet._replace(source=("10.9.9.9", 9)) if packet.source == ADA else packet for packet in capture[40:]]
    text = "\n".join(story(capture[:40] + moved))
    assert text.count("speaks from 10.9.9.9:9 now, before from 10.0.1.1:40000") == 1


def test_malformed_datagrams_of_the_player_are_told() -> None:
    capture = Game(1).run(1.0, chatter).capture
    capture.append(Packet(capture[-1].time_s, ADA, RELAY, b"\xff\xff"))
    assert any("!! UNKNOWN_KIND at byte 0" in line for line in story(capture))


def test_a_refused_attempt_is_told_by_its_name() -> None:
    from relay.config import RelayConfig

    game = Game(2, config=RelayConfig(max_players=1)).run(1.0)
    refused = "Bob" if game.bots[0].connection.session else "Ada"
    text = "\n".join(story(game.capture, refused))
    assert "REFUSE  SERVER_FULL" in text


def test_a_capture_without_the_handshake_is_followed_by_session() -> None:
    capture = [packet for packet in Game(1).run(1.0, chatter).capture if packet.data[0] in (Kind.DATA, Kind.UPDATE)]
    session = next(one.session for one in see(capture) if one.session is not None)
    lines = story(capture, id_text(session.session))
    assert any("no end was captured" in line for line in lines)
    assert any(line.strip().startswith("messages") and "0 of them" not in line for line in lines)


def test_attempts_that_are_kept_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "MAX_ATTEMPTS", 3)
    monkeypatch.setattr(follow, "MAX_KEPT", 2)
    hello = ordinary_capture()[0]
    packets = []
    for nonce in range(9):
        data = bytearray(hello.data)
        data[6:14] = nonce.to_bytes(8, "little")
        packets += [hello._replace(data=bytes(data))] * 5
    view = FollowView("Ada", Printer(io.StringIO()), lambda: 0.0)
    run_views(packets, view)
    assert len(view.kept_sizes) == 3 and set(view.kept_sizes) == {2}


def test_datagrams_that_the_capture_cut_are_a_number_not_a_line_each() -> None:
    capture = Game(1).run(1.0, chatter).capture
    ups = [i for i, packet in enumerate(capture) if packet.data[0] == Kind.DATA]
    del capture[ups[10]]
    session = next(one.session for one in see(capture) if one.session is not None)
    lines = story(capture, id_text(session.session), snap_bytes=20 + 8 + 40)
    text = "\n".join(lines)
    assert "!!" not in text and text.count("after a gap: 1 missing, from seq 11") == 1
    assert text.count("datagrams by the capture: ") == 1 and len(lines) < 20


def test_the_silence_that_ends_a_session_is_told_before_its_end() -> None:
    game = Game(1, config=RelayConfig(grace_s=0)).run(2.0, chatter)
    game.loss_up = 1.0
    lines = story(game.run(12.0, chatter).capture)
    bye = next(i for i, line in enumerate(lines) if "BYE  TIMEOUT" in line)
    assert re.match(r"up    has been silent for \d+ ms$", lines[bye - 1])
    assert not any("down  has been silent" in line for line in lines)
    assert "s from WELCOME to its end, room LOBBY" in "\n".join(lines)


def test_silence_up_to_the_end_of_the_capture_is_told_per_direction() -> None:
    capture = Game(2).run(6.0, chatter).capture
    ends_s = capture[0].time_s + 2.0
    one_way = [packet for packet in capture if packet.source != ADA or packet.time_s < ends_s]
    neither = [packet for packet in one_way if packet.target != ADA or packet.time_s < ends_s]
    told = [[line for line in story(packets) if "has been silent" in line] for packets in (capture, one_way, neither)]
    assert [[line.split()[0] for line in lines] for lines in told] == [[], ["up"], ["up", "down"]]
    ms = float(told[1][0].split()[5])
    assert ms == pytest.approx(4000, abs=100)
    lasted = next(line for line in story(neither) if line.strip().startswith("lasted"))
    assert float(lasted.split()[1]) == pytest.approx(2.0, abs=0.2) and "to the newest" in lasted


def test_a_direction_that_the_filter_hides_is_not_silent() -> None:
    lines = story(Game(1).run(6.0, chatter).capture, keep=lambda seen: seen.direction.value == "up")
    assert not any("silent" in line for line in lines)


def renamed(packets: list[Packet], before: str, after: str) -> list[Packet]:
    """The capture of a player who is called `after` instead, no longer than `before`."""
    old, new = before.encode(), after.encode().ljust(len(before), b"\0")
    return [p._replace(data=p.data.replace(old, new)) if p.data[0] == Kind.JOIN else p for p in packets]


def ids_of(packets: list[Packet]) -> list[str]:
    """Ids of the sessions in a capture, without 0x, in the order in which they began."""
    found = dict.fromkeys(id_text(one.session.session)[2:] for one in see(packets) if one.session is not None)
    return list(found)


def test_a_player_counts_more_than_a_session_that_begins_with_the_same_digits() -> None:
    capture = Game(2).run(1.0, chatter).capture
    names = {one.session.name: id_text(one.session.session) for one in see(capture) if one.session is not None}
    first = names["Ada"][2:5]
    lines = story(renamed(capture, "Bob", first), first, batch=1)
    assert f"{names['Bob']} {first} ends" in "\n".join(lines) and names["Ada"] not in "\n".join(lines)


def test_a_number_is_that_of_a_player_as_in_the_filter() -> None:
    capture = Game(3).run(1.0, chatter).capture
    numbers = {one.session.player_id: one.session.name for one in see(capture) if one.session is not None}
    for number, name in numbers.items():
        assert story(capture, str(number)) == story(capture, name)


def test_first_digits_that_several_sessions_have_name_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "CANDIDATES_SHOWN", 2)
    capture = [p for p in Game(8, seed=3).run(1.0, chatter).capture if p.data[0] in (Kind.DATA, Kind.UPDATE)]
    first, ids = Counter(i[0] for i in ids_of(capture)).most_common(1)[0][0], ids_of(capture)
    own = [f"0x{i}" for i in ids if i[0] == first]
    assert len(own) > 1
    with pytest.raises(UsageError) as caught:
        story(capture, first, batch=7)
    assert ", ".join(own[:2]) in str(caught.value) and "\n" not in str(caught.value)


def test_each_line_tells_its_session_once_there_are_several() -> None:
    first = ordinary_capture(num_players=1)
    later = [packet._replace(time_s=packet.time_s + 60.0) for packet in ordinary_capture(num_players=1, seed=5)]
    own, again = ids_of(first)[0], ids_of(later)[0]
    lines = story(first + later)
    switch = next(i for i, line in enumerate(lines) if "lines tell their session" in line)
    assert lines[switch].endswith(f"those before are of 0x{own}") and not lines[0].startswith("0x")
    labels = {line.split()[0] for line in lines[switch + 1 :]}
    assert {f"0x{own}", f"0x{again}"} <= labels and all(label.startswith("0x") for label in labels)
    assert not any("lines tell" in line for line in story(first))


def test_what_is_held_back_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "MAX_HELD_LINES", 3)
    capture = ordinary_capture()
    whole = next(one.session for one in see(capture) if one.session is not None and one.session.name == "Ada")
    lines = story(capture, id_text(whole.session)[:8])
    assert len([line for line in lines if line[:4].strip() in ("up", "down")]) <= 3 + 2  # and two of the summary
