"""The shared vectors hold in Python: bytes, values, and what they mean.

Rules that no function of `protocol/` owns alone (the order of the log, what a page does to a table) are held against
models written from SPEC.md here. So a vector that contradicts the SPEC fails, whoever reads it later.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from construct import Container

import protocol
from protocol import codec, schemas
from protocol.client.inbox import Inbox
from protocol.client.table import Table
from protocol.constants import REVISION_MAX, DataSection, EntryKind, JoinMode, Kind, RequestKind, UpdateSection
from protocol.drops import DropReason
from protocol.dtypes import num_pages, page_ids
from protocol.proofs import join_proof, path_proof, resume_proof, room_key, shard_of
from protocol.records import RoomShape, read_sections
from protocol.sequence import ReceiveWindow, acked_seqs, extend
from protocol.texts import version_text
from tools.generate.vectors import from_json, to_json

FOLDER = Path(protocol.__file__).parent / "vectors"
FILES = sorted(FOLDER.glob("revision*.json"))
VECTORS = [json.loads(path.read_text(encoding="utf-8")) for path in FILES]


def cases(name: str) -> list[Any]:
    """All cases of one name, of every revision that has them."""
    found = [case for vectors in VECTORS for case in vectors.get(name, [])]
    return [pytest.param(case, id=case.get("name", str(i))) for i, case in enumerate(found)]


def test_there_are_vectors_of_every_revision() -> None:
    assert [vectors["revision"] for vectors in VECTORS] == list(range(1, REVISION_MAX + 1))


@pytest.mark.parametrize("case", cases("datagrams"))
def test_a_datagram_is_these_bytes_and_these_values(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    value = codec.decode(data)
    assert isinstance(value, Container)
    assert to_json(dict(value)) == case["value"]
    assert schemas.DATAGRAMS[Kind[case["kind"]]].build(from_json(case["value"])) == data


def test_every_kind_has_a_datagram() -> None:
    assert {Kind[case["kind"]] for case in VECTORS[-1]["datagrams"]} == set(Kind)


def sections_of(kind: Kind, section: int) -> list[Any]:
    """The values of all sections of one type."""
    values = [case["value"] for case in VECTORS[-1]["datagrams"] if case["kind"] == kind.name]
    return [part["body"] for value in values for part in value["sections"] if part["type"] == section]


def test_every_entry_of_the_server_and_every_request_has_a_datagram_that_its_schema_reads() -> None:
    entries = [e for body in sections_of(Kind.UPDATE, UpdateSection.LOG_RANGE) for e in body["entries"]]
    requests = sections_of(Kind.DATA, DataSection.MESSAGE)
    for found, payloads in ((entries, schemas.ENTRY_PAYLOADS), (requests, schemas.REQUEST_PAYLOADS)):
        seen = set()
        for one in found:
            schema = payloads.get(one["header"]["kind"])
            if schema is not None:
                data = bytes.fromhex(one["payload"])
                assert schema.build(schema.parse(data)) == data
                seen.add(one["header"]["kind"])
        assert seen == set(payloads)
    assert {int(kind) for kind in EntryKind} <= {entry["header"]["kind"] for entry in entries}
    assert {int(kind) for kind in RequestKind} | {127} <= {request["header"]["kind"] for request in requests}


@pytest.mark.parametrize("case", cases("refused_datagrams"))
def test_bytes_that_are_not_to_be_taken_are_not(case: dict[str, Any]) -> None:
    assert codec.decode(bytes.fromhex(case["hex"])) is DropReason[case["reason"]]


# --- Numbers


@pytest.mark.parametrize("case", cases("sequence_extend"))
def test_sequence_extend(case: dict[str, int]) -> None:
    assert extend(case["low"], case["near"]) == case["whole"]


@pytest.mark.parametrize("case", cases("receive_windows"))
def test_receive_windows(case: dict[str, Any]) -> None:
    names = {True: "new", False: "duplicate", None: "too_old"}
    window = ReceiveWindow()
    for arrival in case["arrivals"]:
        verdict = window.check(arrival["seq"])
        assert names[verdict] == arrival["result"]
        if verdict:
            window.accept(arrival["seq"])
    assert (window.newest, window.ack_bits()) == (case["ack_whole"], case["ack_bits"])


@pytest.mark.parametrize("case", cases("ack_bits"))
def test_ack_bits(case: dict[str, Any]) -> None:
    window = ReceiveWindow()
    for seq in case["received"]:
        window.accept(seq)
    assert (window.newest, window.newest & 0xFFFF) == (case["ack_whole"], case["ack"])
    assert window.ack_bits() == case["ack_bits"]


@pytest.mark.parametrize("case", cases("acked"))
def test_acked(case: dict[str, Any]) -> None:
    assert acked_seqs(extend(case["ack"], case["newest_sent"]), case["ack_bits"]) == case["acked_whole"]


@pytest.mark.parametrize("case", cases("ack_delays"))
def test_ack_delays(case: dict[str, Any]) -> None:
    known = case["ack_delay"] < 255
    expected = case["ack_arrived_ms"] - case["sent_ms"] - case["ack_delay"] if known else None
    assert case["round_trip_ms"] == expected


@pytest.mark.parametrize("case", cases("message_bits"))
def test_message_bits(case: dict[str, Any]) -> None:
    first = case["message_ack"] + 1
    arrived = [first + i for i in range(32) if case["message_bits"] >> i & 1]
    assert arrived == case["arrived"]
    assert [i for i in range(first, max(arrived, default=0)) if i not in arrived] == case["missing_before_newest"]


@pytest.mark.parametrize("case", cases("log_bits"))
def test_log_bits(case: dict[str, Any]) -> None:
    words = case["words"]
    complete = [case["cursor"] + 1 + j for j in range(32 * len(words)) if words[j // 32] >> j % 32 & 1]
    assert complete == case["complete"]
    assert 1 <= len(words) <= 8


@pytest.mark.parametrize("case", cases("versions"))
def test_versions(case: dict[str, Any]) -> None:
    low, high = max(case["client_min"], case["server_min"]), min(case["client_max"], case["server_max"])
    assert case["chosen"] == (high if low <= high else None)
    if case["update"]:
        ranges = case["client_min"], case["client_max"], case["server_min"], case["server_max"]
        wanted = {"game": "Update the game", "server": "update of the server"}[case["update"]]
        assert wanted in version_text(*ranges)


# --- Hashes and ids


@pytest.mark.parametrize("case", cases("shards"))
def test_shards(case: dict[str, Any]) -> None:
    assert shard_of(case["code"].encode()) == case["shard"]


@pytest.mark.parametrize("case", cases("room_keys"))
def test_room_keys(case: dict[str, str]) -> None:
    assert room_key(case["password"]).hex() == case["room_key"]


@pytest.mark.parametrize("case", cases("join_proofs"))
def test_join_proofs(case: dict[str, Any]) -> None:
    nonce = int(case["nonce"]["u64"])
    assert nonce.to_bytes(8, "little").hex() == case["nonce"]["bytes"]
    assert join_proof(room_key(case["password"]), bytes.fromhex(case["cookie"]), nonce).hex() == case["proof"]


@pytest.mark.parametrize("case", cases("resume_proofs"))
def test_resume_proofs(case: dict[str, Any]) -> None:
    nonce, session = int(case["nonce"]["u64"]), int(case["session"]["u64"])
    secret, cookie = bytes.fromhex(case["secret"]), bytes.fromhex(case["cookie"])
    assert resume_proof(secret, cookie, nonce, session).hex() == case["proof"]


def test_the_proof_in_a_join_is_that_of_its_own_cookie_nonce_and_session() -> None:
    """So the bytes of a whole JOIN can be held against a client's."""
    joins = [case["value"] for case in VECTORS[-1]["datagrams"] if case["kind"] == "JOIN"]
    found = [(join["fields"], option["value"]) for join in joins for option in join["options"] if option["key"] == 7]
    (secret,) = {case["secret"] for case in VECTORS[-1]["resume_proofs"]}
    assert len(found) == 2 == sum(join["fields"]["mode"] == JoinMode.RESUME for join in joins)
    for fields, value in found:
        resume = schemas.RESUME_OPTION.parse(bytes.fromhex(value))
        hashed = bytes.fromhex(fields["cookie"]), int(fields["nonce"]["u64"]), resume.session
        assert resume_proof(bytes.fromhex(secret), *hashed) == resume.proof


@pytest.mark.parametrize("case", cases("path_proofs"))
def test_path_proofs(case: dict[str, Any]) -> None:
    challenge, session = int(case["challenge"]["u64"]), int(case["session"]["u64"])
    assert path_proof(bytes.fromhex(case["secret"]), challenge, session).hex() == case["proof"]


@pytest.mark.parametrize("case", cases("entity_ids"))
def test_entity_ids(case: dict[str, int]) -> None:
    assert case["local_index"] * case["player_slots"] + case["player_id"] == case["entity_id"] <= 65_535
    assert case["entity_id"] % case["player_slots"] == case["player_id"] < case["player_slots"]


@pytest.mark.parametrize("case", cases("page_ids"))
def test_page_ids(case: dict[str, int]) -> None:
    assert page_ids(case["max_state_bytes"]) == case["page_ids"]


@pytest.mark.parametrize("case", cases("num_pages"))
def test_num_pages(case: dict[str, int]) -> None:
    shape = case["player_slots"], case["entities_per_player"], case["max_state_bytes"]
    assert num_pages(*shape) == case["num_pages"]


@pytest.mark.parametrize("case", cases("page_of"))
def test_page_of(case: dict[str, int]) -> None:
    first = case["page"] * case["page_ids"]
    assert first <= case["entity_id"] < first + case["page_ids"]


@pytest.mark.parametrize("case", cases("ages"))
def test_ages(case: dict[str, Any]) -> None:
    assert case["sample_ms"] == case["tick"] * 1000 / case["tick_rate"] - 2 * case["age"]
    assert case["or_older"] == (case["age"] == 255)


@pytest.mark.parametrize("case", cases("age_of_delay"))
def test_age_of_delay(case: dict[str, int]) -> None:
    assert case["age"] == min(255, (case["tick_ms"] - case["sample_ms"]) // 2)


@pytest.mark.parametrize("case", cases("sample_times"))
def test_sample_times(case: dict[str, int]) -> None:
    now = case["server_ms"]
    nearest = min((case["sample_ms"] + 65_536 * i for i in range(4)), key=lambda time: abs(time - now))
    assert case["taken_ms"] == min(max(nearest, now - 1_000), now)


@pytest.mark.parametrize("case", cases("parts"))
def test_parts(case: dict[str, Any]) -> None:
    assert (case["part"] & 0x7FFF, bool(case["part"] >> 15)) == (case["number"], case["more"])


@pytest.mark.parametrize("case", cases("signal_fragments"))
def test_signal_fragments(case: dict[str, Any]) -> None:
    number, last = case["fragment"] & 15, case["fragment"] >> 4
    assert (number, last) == (case["number"], case["last"])
    assert case["valid"] == (number <= last <= 7)


@pytest.mark.parametrize("case", cases("newest_first"))
def test_newest_first(case: dict[str, Any]) -> None:
    newest: dict[tuple[int, int], int] = {}
    for arrival in case["arrivals"]:
        key = arrival["sender"], arrival["channel"]
        whole = extend(arrival["sequence"], newest.get(key, arrival["sequence"]))
        late = bool(arrival["flags"] & 1) and whole < newest.get(key, whole)
        assert arrival["handed_over"] == (not late)
        if arrival["flags"] & 1 and not late:
            newest[key] = whole


@pytest.mark.parametrize("case", cases("signal_positions"))
def test_signal_positions(case: dict[str, Any]) -> None:
    reached = extend(case["position"], case["done"]) <= case["done"]
    assert case["handed_over"] == (reached or not case["flags"] & 2)


# --- Pages


@pytest.mark.parametrize("case", cases("pages"))
def test_pages(case: dict[str, Any]) -> None:
    section = schemas.PAGE_SECTION.parse(bytes.fromhex(case["section"]))
    table = {int(entity): bytes.fromhex(state) for entity, state in case["table"].items()}
    applied, result = case["applied_tick"], "applied"
    first = section.header.page * case["page_ids"]
    if case["tick"] <= applied:
        result = "ignored"
    elif section.header.since > applied:
        result = "dropped"
    else:
        gone = range(first, first + case["page_ids"]) if section.header.since == 0 else section.removed
        table = {entity: state for entity, state in table.items() if entity not in gone}
        for group in section.groups:
            assert group.header.encoding == 0
            table |= dict(zip(group.ids, group.states, strict=True))
        applied = case["tick"]
    assert (result, applied) == (case["result"], case["applied_tick_after"])
    assert table == {int(entity): bytes.fromhex(state) for entity, state in case["table_after"].items()}


# --- The log


class LogModel:
    """SPEC 9, "Downstream", word by word and as slow as that is."""

    def __init__(self, log_index: int) -> None:
        self.done = self.cursor = log_index
        self.entries: dict[int, Any] = {}
        self.ranges: set[tuple[int, int, int]] = set()
        self.complete: set[int] = set()
        self.floor: dict[int, int] = {}
        """Sender -> index of its leave or return: what it had begun before was thrown away."""

    def receive(self, section: Any) -> list[tuple[int, bytes]]:
        first, last, after = section.header.first, section.header.last, section.header.after
        if first > self.cursor + 1 and last > self.cursor + 256:
            return []
        indexes = [extend(entry.header.index, first) for entry in section.entries]
        assert indexes == sorted(set(indexes)) and all(first <= index <= last for index in indexes)
        for index, entry in zip(indexes, section.entries, strict=True):
            if index not in self.complete and index > self.cursor:
                self.entries[index] = entry
        self.complete |= set(range(first, last + 1))
        self.ranges.add((first, last, after))
        while self.cursor + 1 in self.complete:
            self.cursor += 1
        return self.hand_over()

    def hand_over(self) -> list[tuple[int, bytes]]:
        handed: list[tuple[int, bytes]] = []
        while True:
            fitting = [last for _, last, after in self.ranges if after <= self.done < last]
            fitting += [self.cursor] if self.cursor > self.done else []
            if not fitting:
                return handed
            last = min(fitting)
            for index in range(self.done + 1, last + 1):
                if index in self.entries and not self.entries[index].header.part >> 15:
                    whole = self.message(index)
                    if whole is None:
                        return handed
                    handed.append((index, whole))
                    self.throw_away(index)
                self.done = index

    def throw_away(self, index: int) -> None:
        kind, payload = self.entries[index].header.kind, self.entries[index].payload
        if kind == EntryKind.PLAYER_LEFT or (kind == EntryKind.PLAYER_BACK and payload[2]):
            self.floor[int.from_bytes(payload[:2], "little")] = index

    def message(self, index: int) -> bytes | None:
        """The whole message whose last fragment is at `index`; None while a fragment is missing."""
        entry = self.entries[index]
        sender = entry.header.sender
        first = self.floor.get(sender, 0) + 1
        before = [i for i in sorted(self.entries) if first <= i < index and self.entries[i].header.sender == sender]
        parts = [self.entries[i] for i in before[max(0, len(before) - entry.header.part) :]]
        if [part.header.part for part in parts] != [0x8000 | i for i in range(entry.header.part)]:
            return None
        return b"".join(part.payload for part in parts) + entry.payload

    def log_bits(self) -> list[int]:
        """LOG_BITS in as few words as hold them."""
        beyond = [index - self.cursor - 1 for index in self.complete if index > self.cursor]
        words = [0] * (max(beyond, default=-1) // 32 + 1)
        for j in beyond:
            words[j // 32] |= 1 << j % 32
        return words


@pytest.mark.parametrize("case", cases("logs"))
def test_logs(case: dict[str, Any]) -> None:
    model = LogModel(case["log_index"])
    for step in case["steps"]:
        handed = model.receive(schemas.RANGE_SECTION.parse(bytes.fromhex(step["section"])))
        assert handed == [(entry["index"], bytes.fromhex(entry["payload"])) for entry in step["handed_over"]]
        assert model.cursor == step["cursor"]
        assert model.log_bits() == step["log_bits"]
        assert step["done"] in (None, model.done)


def test_the_sections_that_carry_the_log_bits_exist() -> None:
    words = [case["words"] for case in VECTORS[-1]["log_bits"]]
    for word_list in words:
        section = schemas.DATA_SECTION_BODIES[DataSection.LOG_BITS].build({"words": word_list})
        assert len(section) == 4 * len(word_list) <= 32


# --- The Python client reads the same cases

SHAPE = RoomShape(player_slots=32, num_ids=32 * 4, page_ids=27, max_state_bytes=32)


def section_of_update(kind: UpdateSection, body: bytes) -> Any:
    """One section as the client reads it, in an UPDATE whose header does not matter."""
    section = schemas.SECTION_HEADER.build({"type": kind, "length": len(body)}) + body
    sections = read_sections(bytes(schemas.UPDATE_HEADER.sizeof()) + section, SHAPE)
    assert sections is not None
    return sections


@pytest.mark.parametrize("case", cases("pages"))
def test_the_clients_table_does_what_the_pages_say(case: dict[str, Any]) -> None:
    pages = section_of_update(UpdateSection.PAGE, bytes.fromhex(case["section"])).pages
    table = Table(SHAPE, 30, lambda _: True)
    before = {int(entity): bytes.fromhex(state) for entity, state in case["table"].items()}
    if case["applied_tick"]:
        here = [(entity, 0, state) for entity, state in before.items() if entity // case["page_ids"] == pages[0].page]
        table.apply(case["applied_tick"], [pages[0]._replace(since=0, removed=(), states=here)])
    table.states.update(before)
    fits = table.fits(case["tick"], pages)
    assert fits == (case["result"] != "dropped")
    if fits:
        table.apply(case["tick"], pages)
    assert table.states == {int(entity): bytes.fromhex(state) for entity, state in case["table_after"].items()}


@pytest.mark.parametrize("case", cases("logs"))
def test_the_clients_inbox_hands_over_what_the_logs_say(case: dict[str, Any]) -> None:
    inbox = Inbox(case["log_index"])
    for step in case["steps"]:
        (part,) = section_of_update(UpdateSection.LOG_RANGE, bytes.fromhex(step["section"])).ranges
        handed = [(entry.log_index, entry.payload.hex()) for entry in inbox.take(part)]
        assert handed == [(entry["index"], entry["payload"]) for entry in step["handed_over"]]
        assert inbox.cursor == step["cursor"]
        assert inbox.log_bits() == b"".join(word.to_bytes(4, "little") for word in step["log_bits"])
        assert step["done"] in (None, inbox.done)
    assert inbox.num_discarded == 0
