"""Faults of finding rooms, planted one at a time: each must be noticed by `Openings` or by the lists at the end."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from protocol.constants import JoinMode, Refusal
from relay import directory, membership, rooms
from relay.requests import Requests

Plant = Callable[[pytest.MonkeyPatch], None]


def codes_of_all_games_are_one(patch: pytest.MonkeyPatch) -> None:
    for module in (rooms, membership):
        patch.setattr(module, "key_of", lambda game, code: code)


def versions_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    real = membership._why_not

    def why_not(world: Any, room: Any, request: Any, address: bytes) -> Any:
        options = replace(request.options, version=room.options.version)
        return real(world, room, replace(request, options=options), address)

    patch.setattr(membership, "_why_not", why_not)


def lists_show_hidden_rooms(patch: pytest.MonkeyPatch) -> None:
    def listed(of: Any, game: bytes) -> Any:
        table, used = of.table, of.used
        return table.live[:used] & (table.game[:used] == np.uint64(rooms.hash_of_game(game)))

    patch.setattr(directory, "_listed", listed)


def lists_show_other_games(patch: pytest.MonkeyPatch) -> None:
    real = directory._suits
    patch.setattr(directory, "_listed", lambda of, game: of.table.live[: of.used] & of.table.is_listed[: of.used])
    patch.setattr(directory, "_suits", lambda room, wish: real(room, replace(wish, game=room.options.game)))


def tags_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    real = directory._suits
    patch.setattr(directory, "_may_suit", lambda of, wish: directory._listed(of, wish.game))
    patch.setattr(directory, "_suits", lambda room, wish: real(room, replace(wish, tags=())))


def a_quick_match_opens_locks(patch: pytest.MonkeyPatch) -> None:
    real, really_suits = membership._why_not, directory._suits

    def why_not(world: Any, room: Any, request: Any, address: bytes) -> Any:
        refused = real(world, room, request, address)
        is_lock = refused is not None and refused.reason is Refusal.ROOM_LOCKED
        return None if is_lock and request.mode is JoinMode.QUICK else refused

    patch.setattr(membership, "_why_not", why_not)
    patch.setattr(directory, "_suits", lambda room, wish: really_suits(room, replace(wish, is_open=False)))


def a_quick_match_asks_for_no_properties(patch: pytest.MonkeyPatch) -> None:
    real = directory.fullest
    patch.setattr(membership, "fullest", lambda of, wish, admits: real(of, replace(wish, properties=()), admits))


def a_room_that_is_hidden_stays_listed(patch: pytest.MonkeyPatch) -> None:
    real = Requests._show

    def show(self: Any, room: Any, session: int, value: Any) -> Any:
        table = self._world.rooms.table
        before = table.is_listed[room.row]
        outcome = real(self, room, session, value)
        table.is_listed[room.row] |= before
        return outcome

    patch.setattr(Requests, "_show", show)


def a_page_leaves_out_the_room_that_did_not_fit(patch: pytest.MonkeyPatch) -> None:
    real = directory.list_rooms

    def list_rooms(of: Any, wish: Any, after: int, space: int) -> Any:
        page = real(of, wish, after, min(space, 110))
        return replace(page, next=page.next + 1) if page.next else page

    patch.setattr("relay.lobby.list_rooms", list_rooms)


FAULTS: dict[str, Plant] = {
    "codes of all games are one": codes_of_all_games_are_one,
    "versions are not compared": versions_are_not_compared,
    "lists show hidden rooms": lists_show_hidden_rooms,
    "lists show other games": lists_show_other_games,
    "tags are not compared": tags_are_not_compared,
    "a quick match opens locks": a_quick_match_opens_locks,
    "a quick match asks for no properties": a_quick_match_asks_for_no_properties,
    "a room that is hidden stays listed": a_room_that_is_hidden_stays_listed,
    "a page leaves out the room that did not fit": a_page_leaves_out_the_room_that_did_not_fit,
}
