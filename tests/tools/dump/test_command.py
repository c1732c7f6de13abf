"""`tickrelay dump` as a user runs it."""

import errno
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protocol.constants import Kind
from relay.transport.sockets import open_udp_socket
from tests.tools.commands import environment, serving, tickrelay
from tests.tools.dump.made import (
    LINKS,
    Framed,
    Packet,
    framed,
    ipv4,
    ipv6,
    ordinary_capture,
    udp,
    write_pcap,
    write_pcapng,
)
from tools import dump
from tools.cli import UsageError
from tools.dump.options import parse_options

pytest.importorskip("scapy", reason="capture files are read by scapy")
CAPTURE = ordinary_capture()


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    """Run the command in this process. Returns: what it printed on both streams."""
    assert dump.main([str(argument) for argument in arguments], {}) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


@pytest.mark.parametrize("ip", [ipv4, ipv6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("name", LINKS)
def test_every_link_layer_gives_the_same_datagrams(
    tmp_path: Path, name: str, ip: object, capsys: pytest.CaptureFixture[str]
) -> None:
    records = framed(CAPTURE[:40], name, ip)  # type: ignore[arg-type]
    number = LINKS[name][0]
    for path in (
        write_pcap(tmp_path / "a.pcap", records, number),
        write_pcapng(tmp_path / "a.pcapng", records, number),
    ):
        out, err = run(capsys, path, "--json")
        shown = [json.loads(line) for line in out.splitlines()]
        assert [(one["bytes"], one["kind"]) for one in shown] == [
            (len(p.data), Kind(p.data[0]).name) for p in CAPTURE[:40]
        ]
        assert [one["time"] for one in shown] == pytest.approx([packet.time_s for packet in CAPTURE[:40]], abs=2e-6)
        assert err == "tickrelay dump: 40 datagrams of a relay in 40 packets\n"


def test_lines_structures_and_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_pcap(tmp_path / "a.pcap", framed(CAPTURE))
    plain = run(capsys, path)[0].splitlines()
    assert len(plain) == 1 + len(CAPTURE) and plain[0].split()[:3] == ["time", "s", "way"]
    assert "fields.player_slots = 32" in run(capsys, path, "-v", "--kind", "WELCOME")[0]
    assert "0004  " in run(capsys, path, "--hex", "--kind", "DATA")[0]


def test_foreign_traffic_fragments_and_cut_packets_are_counted_and_the_rest_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = framed(CAPTURE)
    foreign = [
        Packet(CAPTURE[0].time_s, ("10.0.1.1", 999), ("8.8.8.8", 53), bytes(40)),
        Packet(CAPTURE[0].time_s, ("10.0.1.1", 999), ("8.8.8.8", 123), b"\x10" * 48),
    ]
    time_s, packet = CAPTURE[0].time_s, CAPTURE[60]
    body, frame = udp(packet), LINKS["Ethernet"][1]
    in_pieces = [frame(ipv4(packet, body[:32], more=True)), frame(ipv4(packet, body[32:], offset=32))]
    others = [bytes(12) + b"\x08\x06" + bytes(28), frame(ipv4(packet, protocol=6)), frame(ipv4(packet))[:20]]
    records = framed(foreign) + [Framed(time_s, one) for one in others] + records[:60]
    records += [Framed(time_s, one) for one in in_pieces] + framed(CAPTURE[61:])
    records.append(Framed(time_s, frame(ipv4(packet, body[:32], more=True))))
    path = write_pcap(tmp_path / "a.pcap", records)
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(path.read_bytes()[:-9])
    out, err = run(capsys, path)
    assert len(out.splitlines()) == 1 + len(CAPTURE)
    for words in (
        f"{len(CAPTURE)} datagrams of a relay in {len(records)} packets",
        "1 not IP", "1 not UDP", "1 cut off before its IP header ends",
        "1 IP fragment of a datagram that never became whole",
        "foreign: 2 UDP datagrams (1 to port 53, 1 to port 123); --port makes a port ours",
    ):  # fmt: skip
        assert words in err, words
    assert f"{cut} breaks off or is damaged" in run(capsys, cut)[1]


def test_several_files_are_read_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_pcap(tmp_path / "a.pcap", framed(CAPTURE[:100]))
    second = write_pcapng(tmp_path / "b.pcapng", framed(CAPTURE[100:], "raw IP"))
    out, _ = run(capsys, first, second, "--stats", "--json")
    figures = json.loads(out)
    assert figures["datagrams"] == len(CAPTURE) and {p["player"] for p in figures["players"]} == {"Ada", "Bob"}


def test_rotated_files_in_the_order_of_a_shell_give_the_figures_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_pcapng(tmp_path / "whole.pcapng", framed(CAPTURE, "raw IP"))
    parts = [
        write_pcapng(tmp_path / name, framed(CAPTURE[begin:end], "raw IP"))
        for name, begin, end in (("g.1.pcapng", 80, 160), ("g.2.pcapng", 0, 80), ("g.pcapng", 160, None))
    ]
    for arguments in (["--stats", "--json"], ["--json"], ["--dropped"]):
        assert run(capsys, *parts, *arguments)[0] == run(capsys, whole, *arguments)[0] != ""


def test_a_relay_on_another_port_is_found_or_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = [
        packet._replace(**{end: ("10.0.0.9", 5000) for end in ("source", "target") if getattr(packet, end)[1] == 24545})
        for packet in CAPTURE
    ]
    path = write_pcap(tmp_path / "a.pcap", framed(moved))
    assert f"{len(CAPTURE)} datagrams" in run(capsys, path)[1]
    assert "0 datagrams of a relay" in run(capsys, path, "--port", "5001")[1]
    assert f"{len(CAPTURE)} datagrams" in run(capsys, path, "--port", "5001", "--port", "5000")[1]


def test_filters_statistics_stories_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_pcap(tmp_path / "a.pcap", framed(CAPTURE))
    out, err = run(capsys, path, "--player", "Ada", "--where", "kind == HELLO")
    assert len(out.splitlines()) == 2 and "; 1 passed the filter" in err
    assert "2 players" in run(capsys, path, "--stats")[0]
    assert "Ada ends: BYE LEFT by the client" in run(capsys, path, "--follow", "Ada")[0]
    pytest.importorskip("matplotlib")
    run(capsys, path, "--plot", tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "none is given; permitted: one of FILE"),
        (["a", "--live", "lo"], "files and live are given; permitted: one of FILE"),
        (["--proxy", "127.0.0.1:0"], "--proxy needs --to"),
        (["--replay", "a"], "--replay needs --to"),
        (["a", "--to", "127.0.0.1"], "--to is for --proxy and --replay only"),
        (["a", "--stats", "--follow", "Ada"], "stats and follow are given"),
        (["a", "--json", "--plot", "x.png"], "json goes with --stats"),
        (["a", "-v", "--hex"], "permitted: one of --verbose, --hex and --json"),
        (["a", "-v", "--stats"], "--verbose has no effect on --stats; permitted: with a line per datagram"),
        (["a", "--hex", "--follow", "Ada"], "--hex has no effect on --follow"),
        (["a", "-v", "--plot", "x.png"], "--verbose has no effect on --plot"),
        (["--replay", "a", "--to", "b", "--stats"], "--stats has no effect on --replay, which shows nothing"),
        (["--replay", "a", "--to", "b", "--json"], "--json has no effect on --replay"),
        (["--replay", "-", "-", "--to", "b"], "standard input is given twice; permitted: one -"),
        (["--replay", "a", "--to", "b", "--speed", "0"], "speed is 0.0; permitted: above 0"),
        (["--replay", "a", "--to", "b", "--speed", "nan"], "speed is nan; permitted: above 0"),
        (["a", "--speed", "1"], "--speed is for --replay only"),
        (["--proxy", "a", "--to", "b", "--code", "LOBBY"], "--code is for --replay only"),
        (["--live", "lo", "--seconds", "0"], "seconds is 0.0; permitted: above 0"),
        (["a", "--seconds", "3"], "--seconds is for --live and --proxy only"),
        (["-", "a", "-"], "standard input is given twice; permitted: one -"),
        (["a", "--port", "70000"], "port is 70000; permitted: 1 to 65,535"),
    ],
)
def test_what_does_not_go_together_is_named(arguments: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_options(arguments)
    assert str(caught.value).startswith(words) and "\n" not in str(caught.value)


def test_wrong_filters_and_files_are_named_in_one_line(tmp_path: Path) -> None:
    for arguments in (["no-such-file"], [__file__], [__file__, "--where", "1 +"], [__file__, "--kind", "x"]):
        done = tickrelay(tmp_path, "dump", *arguments)
        assert done.returncode == 2 and done.stderr.startswith("tickrelay dump: ") and done.stderr.count("\n") == 1


def test_help_says_what_dropped_means_and_what_cannot_be_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        dump.main(["--help"], {})
    text = capsys.readouterr().out
    assert ended.value.code == 0 and "What cannot be known from a capture" in text and "OVER_RATE" in text


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "a.pcap", framed(CAPTURE * 20))
    command = f"{sys.executable} -m tools.cli dump {path} | head -n 2"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env=environment(tmp_path), timeout=60
    )
    assert len(done.stdout.splitlines()) == 2 and done.stderr == ""


class Output(io.StringIO):
    """A standard output that fails."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def flush(self) -> None:
        raise self._error


@pytest.mark.parametrize("view", [[], ["--json"], ["--stats"], ["--follow", "Ada"]])
def test_an_output_that_fails_is_told_in_one_line(
    tmp_path: Path, view: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [str(write_pcap(tmp_path / "a.pcap", framed(CAPTURE))), *view]
    monkeypatch.setattr(sys, "stdout", Output(OSError(errno.ENOSPC, "No space left on device")))
    assert dump.main(arguments, {}) == 1
    assert capsys.readouterr().err == "tickrelay dump: cannot write the output: No space left on device\n"
    monkeypatch.setattr(sys, "stdout", Output(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    assert dump.main(arguments, {}) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stdout", None)
    assert dump.main(arguments, {}) == 1
    assert capsys.readouterr().err == "tickrelay dump: standard output is closed\n"


def test_a_picture_that_cannot_be_written_is_told_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    folder, picture = tmp_path / "folder.png", tmp_path / "a.png"
    folder.mkdir()
    with pytest.raises(UsageError, match=r"plot is '.*folder\.png': Is a directory; permitted: a file"):
        dump.main(["no-such-file", "--plot", str(folder)], {})
    with pytest.raises(UsageError, match="no-such-file: No such file"):
        dump.main(["no-such-file", "--plot", str(picture)], {})
    assert not picture.exists()

    def fail(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dump.PlotView, "finish", fail)
    path = write_pcap(tmp_path / "a.pcap", framed(CAPTURE[:20]))
    assert dump.main([str(path), "--plot", str(picture)], {}) == 1
    assert capsys.readouterr().err == f"tickrelay dump: cannot write {picture}: No space left on device\n"


def test_a_pipe_can_be_read(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "a.pcap", framed(CAPTURE))
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", "dump", "-", "--stats"],
        input=path.read_bytes(), capture_output=True, check=True, env=environment(tmp_path), timeout=60,
    )  # fmt: skip
    assert b"2 players" in done.stdout and b"\x1b" not in done.stdout


# --- proxy, live and replay, with a real relay


@contextmanager
def dumping(home: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run `tickrelay dump` in a process of its own until the block ends."""
    command = [sys.executable, "-u", "-m", "tools.cli", "dump", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(home)
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent SIGINT so")
def test_the_proxy_passes_on_and_shows_both_ways(tmp_path: Path) -> None:
    with serving(tmp_path) as relay:
        arguments = ["--proxy", "127.0.0.1:0", "--to", f"127.0.0.1:{relay.port}", "--json"]
        with dumping(tmp_path, *arguments) as process:
            assert process.stderr is not None and process.stdout is not None
            found = re.search(
                r"at 127\.0\.0\.1:(\d+) instead of 127\.0\.0\.1:(\d+)\. Ctrl-C", process.stderr.readline()
            )
            assert found is not None and int(found[2]) == relay.port
            done = tickrelay(tmp_path, "ping", f"127.0.0.1:{found[1]}")
            assert done.returncode == 0
            shown = [json.loads(process.stdout.readline()) for _ in range(2)]
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
            assert "2 datagrams of a relay in 2 packets" in process.stderr.read()
    assert [(one["kind"], one["direction"]) for one in shown] == [("PING", "up"), ("PONG", "down")]
    assert shown[0]["target"] == f"127.0.0.1:{relay.port}" and shown[0]["source"] == "-"


def test_a_port_in_use_and_a_proxy_before_itself_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with open_udp_socket("127.0.0.1", 0) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert dump.main(["--proxy", address, "--to", "127.0.0.1:9", "--seconds", "1"], {}) == 1
        assert f"cannot listen on {address}" in capsys.readouterr().err
    with pytest.raises(UsageError, match="which is this proxy itself"):
        dump.main(["--proxy", address, "--to", address, "--seconds", "1"], {})
    assert dump.main(["--proxy", "127.0.0.1:0", "--to", "no-such-host.invalid", "--seconds", "1"], {}) == 1
    assert "is the name right?" in capsys.readouterr().err


def may_capture() -> bool:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0).close()
    except (AttributeError, OSError):
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not may_capture(), reason="capturing needs a privilege that these tests do not have")
def test_live_capture_shows_what_passes_on_an_interface_once(capsys: pytest.CaptureFixture[str]) -> None:
    def talk() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for packet in CAPTURE[:1] * 3:
                time.sleep(0.3)
                sock.sendto(packet.data, ("127.0.0.1", 24_999))

    talker = threading.Thread(target=talk)
    talker.start()
    out, err = run(capsys, "--live", "lo", "--port", "24999", "--seconds", "1.5", "--json")
    talker.join()
    assert [json.loads(line)["kind"] for line in out.splitlines()] == ["HELLO"] * 3
    assert "3 datagrams of a relay" in err


@pytest.mark.skipif(sys.platform != "linux", reason="live capture is for Linux")
def test_an_interface_that_is_not_there_is_named() -> None:
    if not may_capture():
        pytest.skip("capturing needs a privilege that these tests do not have")
    with pytest.raises(UsageError, match=r"interface is 'nope0': .*; permitted: .*lo.*, any"):
        dump.main(["--live", "nope0"], {})


@pytest.mark.skipif(sys.platform != "linux", reason="live capture is for Linux")
def test_without_the_privilege_it_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(dump.live.socket, "socket", refuse)
    assert dump.main(["--live", "lo"], {}) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and "capturing needs the right to" in shown.err


def test_elsewhere_it_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump.live.sys, "platform", "darwin")
    with pytest.raises(UsageError, match="works on Linux only; elsewhere: tcpdump"):
        dump.main(["--live", "en0"], {})


@pytest.mark.slow
def test_a_captured_player_plays_again_at_a_real_relay(tmp_path: Path) -> None:
    path = write_pcapng(tmp_path / "a.pcapng", framed(CAPTURE, "raw IP"))
    with serving(tmp_path) as relay:
        to = f"127.0.0.1:{relay.port}"
        unclear = tickrelay(tmp_path, "dump", "--replay", str(path), "--to", to)
        assert unclear.returncode == 2 and "holds 2 players; permitted: one, chosen by --session" in unclear.stderr
        done = tickrelay(tmp_path, "dump", "--replay", str(path), "--to", to, "--player", "Ada", "--speed", "4")
        assert done.returncode == 0, done.stderr
        assert re.search(
            r"playing \d+ uploads of Ada \(0\.\d s\) as 0x[0-9a-f]{16} into room [A-Z2-9]{6}\n", done.stderr
        )
        assert re.search(r"all was played; \d+ datagrams came back", done.stderr)


def test_a_replay_without_uploads_or_relay_is_told(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "a.pcap", framed(CAPTURE[:3]))
    done = tickrelay(tmp_path, "dump", "--replay", str(path), "--to", "127.0.0.1:9")
    assert done.returncode == 2 and "holds no uploads" in done.stderr
    whole = write_pcap(tmp_path / "b.pcap", framed(CAPTURE))
    done = tickrelay(tmp_path, "dump", "--replay", str(whole), "--player", "Ada", "--to", "no-such-host.invalid")
    assert done.returncode == 1 and "is the name right?" in done.stderr
