"""What a room keeps, as a game has it: properties, kept messages, owners of entities, and the host's rights."""

from pathlib import Path

from protocol.constants import ByeReason, Refusal, RequestRefusal
from tests.godot.puppets import NOBODY, Puppet, Stage, stage
from tests.loopback.relays import run

HOST = 65535
KINDS = [True, -(2**53), {"float": 0.5}, "Grüße", {"hex": "00ff"}]
"""A value of each type. An int beyond 2**53 would not pass through JSON."""


def test_properties_have_types_and_everybody_knows_them(godot: str, project: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(godot, project, tmp_path) as scene:
            ada, bob = await scene.add_all(2)
            for number, value in enumerate(KINDS):
                assert await ada.ask("room.set_property", f"key{number}", value) > 0
            await ada.ask("room.set_player_property", "team", "red")
            await bob.ask("room.set_player_property", "team", "blue")
            await ada.hear("property_changed", owner=1, key="team", value="blue", by=1)
            await bob.hear("property_changed", owner=NOBODY, key="key4", value={"hex": "00ff"}, by=0)
            expected = {f"key{number}": value for number, value in enumerate(KINDS)}
            for puppet in (ada, bob, await add_late(scene)):
                assert await puppet.ask("room.properties") == expected
                assert await puppet.ask("room.get_player_property", 0, "team") == "red"
                assert await puppet.ask("room.player_properties", 1) == {"team": "blue"}
                assert await puppet.ask("room.get_property", "none", 7) == 7
            late = scene.puppets[-1]
            assert late.events().index("property_changed") < late.events().index("joined")
            await ada.ask("room.set_property", "key0", None)
            await bob.hear("property_changed", key="key0", value=None)
            assert await bob.ask("room.get_property", "key0") is None
            request = await bob.ask("room.set_property", "key1", 1)
            refused = await bob.hear("request_refused")
            assert (refused["request_id"], refused["reason"]) == (request, RequestRefusal.NOT_HOST)
            assert "host" in refused["text"]
            assert await bob.ask("room.set_property", "x" * 33, 1) == 0  # and a warning, which is no error

    run(main)


async def add_late(scene: Stage, name: str = "Late") -> Puppet:
    """Let somebody join who has seen nothing of it."""
    puppet = await scene.add(f"--name={name}")
    await puppet.enter()
    return puppet


def test_of_several_who_change_a_property_at_once_one_succeeds(godot: str, project: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(godot, project, tmp_path) as scene:
            puppets = await scene.add_all(4, "--anyone_sets")
            value, num_lost = None, dict.fromkeys(puppets, 0)
            for turn in range(1, 4):
                for number, puppet in enumerate(puppets):
                    puppet.order("room.compare_and_set_property", "flag", value, f"P{number} in {turn}")
                changes = [await puppet.hear("property_changed", turn) for puppet in puppets]
                value = changes[0]["value"]
                assert {change["value"] for change in changes} == {value}
                for number, puppet in enumerate(puppets):
                    num_lost[puppet] += number != changes[0]["by"]
                    if number != changes[0]["by"]:
                        refused = await puppet.hear("request_refused", num_lost[puppet])
                        assert refused["reason"] == RequestRefusal.CHANGED
                for puppet in puppets:
                    assert len(puppet.told("property_changed")) == turn
                    assert len(puppet.told("request_refused")) == num_lost[puppet]
            # Who expects what it knows to be wrong is told the same.
            request = await puppets[0].ask("room.compare_and_set_property", "flag", "nobody", 1)
            refused = await puppets[0].hear("request_refused", num_lost[puppets[0]] + 1)
            assert (refused["request_id"], refused["reason"]) == (request, RequestRefusal.CHANGED)

    run(main)


def test_who_joins_late_is_told_all_before_it_has_joined(godot: str, project: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(godot, project, tmp_path) as scene:
            ada, bob = await scene.add_all(2)
            await ada.ask("play", 0)
            kept = (0, [], 3, 5, True)
            await ada.ask("send_message", {"hex": b"door open".hex()}, *kept)
            await bob.ask("send_message", {"hex": b"Bob was here".hex()}, *kept, True)
            await bob.ask("send_message", {"hex": b"gone with Bob".hex()}, *kept)
            await bob.ask("send_message", {"hex": b"not kept".hex()})
            await ada.hear("message", 4)
            assert not any(line["is_kept"] for line in ada.told("message"))
            await bob.ask("leave_room")
            await ada.hear("player_left", player_id=1)
            late = await add_late(scene)
            before = late.events()[: late.events().index("joined")]
            assert before.count("message") == 2
            first, second = late.told("message")
            assert (first["sender"], first["text"], first["channel"], first["kind"]) == (0, "door open", 3, 5)
            assert (second["sender"], second["text"]) == (NOBODY, "Bob was here")
            assert first["is_kept"] and second["is_kept"]
            assert set(late.told("joined")[0]["states"]) == {"0"}  # Ada's state, too
            assert [first["index"], second["index"]] == [line["index"] for line in ada.told("message")[:2]]
            await late.ask("room.clear_kept", first["index"])  # not hers, and she is not the host
            refused = await late.hear("request_refused")
            assert refused["reason"] == RequestRefusal.NOT_KEPT
            number = await late.ask("player_id")
            await ada.ask("room.hand_over_host", number)
            await late.hear("host_changed", player_id=number)
            await late.ask("room.clear_kept", second["index"])  # she is, and knows it by the number that all have
            for puppet in (ada, late):
                cleared = await puppet.hear("kept_cleared")
                assert (cleared["indexes"], cleared["by"]) == ([second["index"]], number)
            await ada.ask("room.clear_kept")
            assert (await late.hear("kept_cleared", 2))["indexes"] == [first["index"]]
            await ada.ask("send_message", {"hex": b"cleared".hex()})
            await ada.hear("message", text="cleared")
            later = await add_late(scene, "Later")
            assert later.told("message") == []

    run(main)


def test_the_host_hands_over_locks_kicks_and_bans(godot: str, project: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(godot, project, tmp_path) as scene:
            ada, bob, eve = await scene.add_all(3)
            await bob.ask("room.kick", 0)
            assert (await bob.hear("request_refused"))["reason"] == RequestRefusal.NOT_HOST
            await ada.ask("room.hand_over_host", 1)
            for puppet in (ada, bob, eve):
                await puppet.hear("host_changed", player_id=1)
            assert await bob.ask("is_host") is True
            await bob.ask("room.lock", True)
            await eve.hear("room_locked", is_locked=True)
            late = await scene.add("--name=Late")
            await late.ask("join_room", "LOBBY")
            assert (await late.hear("join_refused"))["reason"] == Refusal.ROOM_LOCKED
            await bob.ask("room.lock", False)
            await ada.hear("room_locked", is_locked=False)
            await bob.ask("room.kick", 2, "Be nice.")
            kicked = await eve.hear("disconnected")
            assert (kicked["reason"], kicked["text"]) == (ByeReason.KICKED, "Be nice.")
            assert (await ada.hear("player_left", player_id=2))["reason"] == ByeReason.KICKED
            number = await eve.enter()  # it may come again
            await bob.ask("room.ban", number)
            assert (await eve.hear("disconnected", 2))["reason"] == ByeReason.BANNED
            await eve.ask("join_room", "LOBBY")
            assert (await eve.hear("join_refused"))["reason"] == Refusal.BANNED
            await late.enter()  # another profile, on the same machine

    run(main)


def test_an_entity_is_handed_over_with_its_state(godot: str, project: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(godot, project, tmp_path) as scene:
            ada, bob, zoe = await scene.add_all(3)
            ball = await ada.ask("entity_id_of", 0, 1)
            await ada.ask("publish_entity", ball, {"hex": "01"})
            await see(bob, ball, "01")
            assert await bob.ask("publish_entity", ball, {"hex": "02"}) != 0
            await ada.ask("give_entity", ball, 1)
            for puppet in (ada, bob, zoe):
                await puppet.hear("entity_owner_changed", entity_id=ball, owner=1)
                assert await puppet.ask("get_entity_owner", ball) == 1
            assert await bob.ask("get_entity_state", ball) == {"hex": "01"}
            await see(ada, ball, "01")  # hers no longer: shown like others
            await bob.ask("publish_entity", ball, {"hex": "02"})
            await see(ada, ball, "02")
            await see(zoe, ball, "02")
            assert await ada.ask("publish_state", {"hex": "03"}, 1) != 0
            # Now it is the host's, whoever that is; and stays when one leaves.
            await bob.ask("give_entity", ball, HOST)
            for puppet in (ada, zoe):
                await puppet.hear("entity_owner_changed", entity_id=ball, owner=HOST)
            assert await ada.ask("publish_entity", ball, {"hex": "04"}) == 0
            await see(zoe, ball, "04")
            await ada.ask("leave_room")
            await bob.hear("host_changed", player_id=1)
            assert await bob.ask("get_entity_state", ball) == {"hex": "04"}
            assert await bob.ask("publish_entity", ball, {"hex": "05"}) == 0
            await see(zoe, ball, "05")
            assert await bob.ask("remove_entity", ball) == 0
            removed = await zoe.hear("entities_removed")
            assert removed["entity_ids"] == [ball]

    run(main)


async def see(puppet: Puppet, entity_id: int, state: str) -> None:
    """Wait until a puppet has been shown a state."""
    for _ in range(200):
        if (await puppet.ask("states")).get(str(entity_id)) == state:
            return
    raise AssertionError(puppet.log())
