"""No secret is left in a payload; all else is as it was."""

from collections.abc import Iterator
from random import Random

import pytest
from construct import Int64ul, Struct

from protocol import codec, dtypes, schemas
from protocol.constants import HELLO_BYTES, Kind, Option
from protocol.drops import DropReason
from relay.addresses import pack_address
from relay.capture import fields
from relay.capture import scrub as module
from relay.capture.blocks import Stage
from relay.capture.fields import PUBLIC_OPTIONS, Secrecy, secrecy_of, spans_of
from relay.capture.pseudonyms import Pseudonyms
from relay.capture.scrub import BLANK, scrub, scrub_datagram
from tests.relay.bench import Bench, Client
from tests.relay.capture.captures import fill, payloads_of
from tests.relay.finding import list_datagram, open_rooms
from tests.tools.wireshark.samples import random_datagram

NAMES = Pseudonyms(bytes(range(32)))
ADDRESS = pack_address("10.0.0.1", 1000)


def scrubbed(payloads: list[bytes], blank_texts: bool = False, max_cold: int = 10_000) -> list[bytes]:
    """Scrub payloads as one batch."""
    stage = Stage()
    fill(stage, payloads, [ADDRESS] * len(payloads))
    blocks = stage.take()
    scrub(blocks, NAMES, blank_texts, max_cold)
    return payloads_of(blocks)


def secrets_of(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield every secret field that is not empty."""
    key = -1
    for path, start, stop in spans_of(data):
        if path.endswith("options.key") and stop > start:
            key = data[start]
        is_public_option = path == "join.options.value" and key in PUBLIC_OPTIONS
        if secrecy_of(path) is Secrecy.SECRET and not is_public_option and stop > start:
            yield path, start, stop


@pytest.mark.parametrize("seed", range(3))
def test_every_secret_is_replaced_and_nothing_else(seed: int) -> None:
    rng = Random(seed)
    payloads = [random_datagram(rng, kind)[0] for kind in Kind for _ in range(30)]
    rng.shuffle(payloads)
    seen = set()
    for data, clean in zip(payloads, scrubbed(payloads), strict=True):
        expected = bytearray(data)
        for path, start, stop in secrets_of(data):
            expected[start:stop] = NAMES.of(path.rpartition(".")[2], data[start:stop])
            seen.add(path)
        assert clean == bytes(expected), data.hex()
        assert not isinstance(codec.decode(clean), DropReason)  # the layout is whole
    assert seen == fields.SECRET


def test_a_session_has_one_pseudonym_in_all_kinds() -> None:
    session = 0x1234_5678_9ABC_DEF0
    raw = session.to_bytes(8, "little")
    rng = Random(1)
    payloads = []
    for kind in (Kind.WELCOME, Kind.BYE, Kind.RESET, Kind.PATH_CHALLENGE, Kind.PATH_RESPONSE, Kind.DATA, Kind.UPDATE):
        data = bytearray(random_datagram(rng, kind)[0])
        span = next(span for span in spans_of(bytes(data)) if span.path.endswith(".session"))
        data[span.start : span.stop] = raw
        payloads.append(bytes(data))
    stand_in = NAMES.of("session", raw)
    for clean in scrubbed(payloads):
        assert raw not in clean and stand_in in clean


@pytest.mark.parametrize("option", list(Option))
def test_of_joins_options_only_the_rooms_numbers_and_labels_are_shown(option: Option) -> None:
    value = b"\x10\x00" if option in PUBLIC_OPTIONS else bytes(range(100, 132))
    shown = shown_option(option, value)
    is_shown = option in PUBLIC_OPTIONS or schemas.OPTION_LAYOUTS[Kind.JOIN].get(option) is schemas.LABEL
    assert (shown == value, len(shown)) == (is_shown, len(value))
    assert is_shown or not any(shown[at : at + 4] == value[at : at + 4] for at in range(len(value) - 3))


def test_what_players_call_a_room_is_blanked_as_a_text_is_and_its_game_is_not() -> None:
    words = b"\3map\4\3sea"
    for option, value, blanked in (
        (Option.GAME, b"chess", b"chess"),
        (Option.GAME_VERSION, b"1.2", b"1.2"),
        (Option.ROOM_NAME, b"Zur Linde", b"xxxxxxxxx"),
        (Option.TAGS, b"\5blitz\5rated", b"\5xxxxx\5xxxxx"),
        (Option.SHOWN, b"\3map", b"\3xxx"),
        (Option.PROPERTIES, words, b"\3xxx\4\3xxx"),
    ):
        assert shown_option(option, value) == value
        assert shown_option(option, value, blank_texts=True) == blanked
    cut = words[:-1]  # what has not the layout is taken as secret
    assert shown_option(Option.PROPERTIES, cut) == NAMES.of("value", cut)


def test_a_list_of_rooms_is_shown_without_what_players_wrote() -> None:
    bench = Bench(region="eu-west")
    open_rooms(bench, "ONE", name=b"Zur Linde", tags=(b"blitz",))
    client = Client(bench)
    question = list_datagram(client, client.get_cookie(), tags=(b"blitz",))
    bench.receive((question, client.address))
    bench.flush()
    [answer] = bench.take(client.address)
    for data, words in ((question, [b"blitz"]), (answer, [b"Zur Linde", b"blitz"])):
        hidden = scrub_datagram(data, NAMES, blank_texts=True)
        assert all(word in scrub_datagram(data, NAMES, blank_texts=False) and word not in hidden for word in words)
        assert not isinstance(codec.decode(hidden), DropReason)
    assert b"ONE" in hidden and b"eu-west" in hidden


def shown_option(option: Option, value: bytes, blank_texts: bool = False) -> bytes:
    """What a capture shows of an option's value."""
    join = schemas.JOIN.parse(random_datagram(Random(1), Kind.JOIN)[0])
    join.options = [{"key": int(option), "value": value}]
    (clean,) = scrubbed([schemas.JOIN.build(join)], blank_texts)
    (shown,) = schemas.JOIN.parse(clean).options
    assert shown.key == option
    return bytes(shown.value)


def test_of_a_join_to_come_back_the_log_index_is_shown_and_the_session_as_everywhere() -> None:
    raw, proof = (0x1234_5678_9ABC_DEF0).to_bytes(8, "little"), bytes(range(50, 66))
    shown = schemas.RESUME_OPTION.parse(shown_option(Option.RESUME, raw + b"\x07\0\1\0" + proof))
    assert shown.session.to_bytes(8, "little") == NAMES.of("session", raw) and shown.log_index == 65_543
    assert shown.proof == NAMES.of("proof", proof)


@pytest.mark.parametrize("size", [0, 8, 27, 29])
def test_of_a_join_to_come_back_that_is_malformed_nothing_is_shown(size: int) -> None:
    value = bytes(range(100, 100 + size))
    shown = shown_option(Option.RESUME, value)
    assert shown == NAMES.of("value", value)


def test_bytes_that_belong_to_no_field_are_zero() -> None:
    """Padding, what follows a broken layout, unknown kinds: nobody can say that there is nothing in them."""
    hello, _ = random_datagram(Random(1), Kind.HELLO)
    padded = hello[: schemas.HELLO_FIELDS.sizeof()] + b"secret" * 40
    (clean,) = scrubbed([padded])
    assert len(clean) == len(padded) >= HELLO_BYTES and clean[schemas.HELLO_FIELDS.sizeof() :].strip(b"\0") == b""
    assert scrubbed([bytes([99, 7]) + b"secret"]) == [bytes([99, 7]) + bytes(6)]
    reset, _ = random_datagram(Random(1), Kind.RESET)
    (clean,) = scrubbed([reset + b"more"])
    assert clean[-4:] == bytes(4)
    assert scrubbed([b"", b"\x10"]) == [b"", b"\x10"]


def test_a_cut_datagram_shows_no_part_of_a_secret() -> None:
    rng = Random(2)
    for kind in Kind:
        data, _ = random_datagram(rng, kind)
        cuts = [data[:length] for length in range(1, min(len(data), 120))]
        for cut, clean in zip(cuts, scrubbed(cuts), strict=True):
            assert len(clean) == len(cut)
            for _, start, stop in secrets_of(cut):
                if stop - start >= 4 and cut[start:stop].strip(b"\0\xff"):
                    assert clean[start:stop] != cut[start:stop]


def test_beyond_the_number_that_is_looked_into_only_kind_and_shard_are_left() -> None:
    rng = Random(3)
    cold = [random_datagram(rng, kind)[0] for kind in set(Kind) - {Kind.DATA, Kind.UPDATE} for _ in range(3)]
    hot = [random_datagram(rng, Kind.DATA)[0] for _ in range(5)]
    payloads = [*cold[:10], *hot, *cold[10:], b"", b"\x63"]
    whole, cut = scrubbed(payloads), scrubbed(payloads, max_cold=10)
    assert cut[:15] == whole[:15]
    assert cut[15:] == [data[:2] + bytes(max(0, len(data) - 2)) for data in payloads[15:]]


def test_texts_of_cold_datagrams_are_blanked_if_asked_for() -> None:
    join, _ = random_datagram(Random(1), Kind.JOIN)
    span = next(span for span in spans_of(join) if span.path == "join.name")
    join = join[: span.start] + b"Ada Lovelace".ljust(32, b"\0") + join[span.stop :]
    bye = codec.encode(Kind.BYE, shard=0, session=1 << 30, reason=1, text=b"so long")
    shown, _ = scrubbed([join, bye])
    assert b"Ada Lovelace" in shown
    hidden_join, hidden_bye = scrubbed([join, bye], blank_texts=True)
    assert hidden_join[span.start : span.stop] == bytes([BLANK] * 12) + bytes(20)
    assert schemas.BYE.parse(hidden_bye).text == bytes([BLANK] * 7)


def test_any_bytes_are_scrubbed_without_an_error() -> None:
    rng = Random(6)
    payloads = [bytes([rng.choice([*Kind, 0, 200])]) + rng.randbytes(rng.randint(0, 70)) for _ in range(4_000)]
    for data, clean in zip(payloads, scrubbed(payloads), strict=True):
        assert len(clean) == len(data) and clean[:2] == data[:2]


def test_the_batch_and_the_single_datagram_are_scrubbed_alike() -> None:
    rng = Random(7)
    payloads = [random_datagram(rng, rng.choice((Kind.DATA, Kind.UPDATE)))[0] for _ in range(200)]
    assert scrubbed(payloads) == [scrub_datagram(data, NAMES, blank_texts=False) for data in payloads]


def test_a_secret_that_no_column_takes_out_stops_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who adds a secret to DATA must teach the batch to replace it."""
    grown = Struct(
        "header" / Struct(*schemas.DATA_HEADER.subcons, "ticket" / Int64ul), "sections" / schemas.DATA.sections
    )
    monkeypatch.setitem(module._HOT, Kind.DATA, (grown, dtypes.dtype_of(grown.header.subcon)))
    with pytest.raises(TypeError, match=r"data\.ticket is secret"):
        module._secret_offset()
