"""Away and back: a player whose connection is lost keeps its place for a while (SPEC 4, "Coming back").

A session that comes back keeps its row, so that all that is kept for the player stays where it is: only its number, its
secret and what belongs to the connection begin anew.
"""

import hmac
from dataclasses import dataclass

import numpy as np

from protocol import schemas
from protocol.constants import MESSAGE_WINDOW, EntryKind, Refusal, Resumed
from protocol.drops import DropReason
from protocol.proofs import resume_proof
from relay.addresses import host_of
from relay.columns import Ints
from relay.handshake import ResumeRequest
from relay.log import OwnEntry
from relay.membership import choose_host, count_host, uncount_host
from relay.messages import grant_credit
from relay.roomoptions import Refused
from relay.rooms import Room, key_of
from relay.welcome import is_crowded, known_of_room, room_ready, welcome_fits
from relay.world import World

AWAY_ENTRIES = 1024
"""Log entries kept for a player who is away. Beyond it, or when memory is short, nothing is kept any more, and it can
only come back afresh. They count for nobody's credit: those who play are not silenced by one who does not."""
RESUMES_PER_S = 0.2
RESUME_BURST = 8
"""Resumes of one player per second, and at once. Each may write 128 kept messages into the log, and a member may be
8,192 entries behind: so nobody pushes others out by coming back again and again (chosen; clients try each second)."""
_NEVER = float("inf")
_NO_TOKENS = -1e18
"""Bytes that may be sent: at any rate none for longer than a relay runs."""
_NEVER_TICKS = 1 << 40
"""A snapshot every so many ticks: none."""


@dataclass(frozen=True)
class Back:
    """A session that was resumed."""

    row: int
    former_id: int
    former_nonce: int
    former_host: bytes
    """Host that it was counted under."""
    former_address: bytes
    was_away: bool


def go_away(world: World, row: int, now: float) -> None:
    """Note that a player's connection is lost: the room is told, and nothing is sent to it any more."""
    table, room = world.sessions.table, _room_of(world, row)
    world.away[row] = now
    table.send_tokens[row], table.send_tokens_at[row] = _NO_TOKENS, now
    table.tick_interval[row] = _NEVER_TICKS
    table.sent_at[row] = table.ack_due_at[row] = _NEVER
    table.ack_owed[row] = 0
    # so that there is no news of credit to tell
    table.message_permitted[row] = max(
        int(table.message_permitted[row]), int(table.message_accepted[row]) + MESSAGE_WINDOW
    )
    away = schemas.PLAYER_AWAY_PAYLOAD.build({"player_id": int(table.player_id[row])})
    _tell(world, room, [OwnEntry(EntryKind.PLAYER_AWAY, away), *choose_host(world, room, 1)])
    world.stats.count("away")


def review(world: World, now: float) -> list[int]:
    """Look at all who are away: some are back by themselves, some have been away too long. Once per tick.

    Returns: rows of sessions whose place is no longer kept.
    """
    if not world.away:
        return []
    rows = np.fromiter(world.away, np.int64, len(world.away))
    since = np.fromiter(world.away.values(), np.float64, len(world.away))
    is_back = world.sessions.table.heard_at[rows] > since
    is_over = ~is_back & (now - since >= world.config.grace_s)
    for row in rows[is_back].tolist():
        come_back(world, row, now)
    _give_up_dear_logs(world, rows[~is_back & ~is_over])
    return rows[is_over].tolist()


def come_back(world: World, row: int, now: float, is_afresh: bool = False) -> None:
    """Note that a player is there again: from now on it is judged and served like the others."""
    table, room = world.sessions.table, _room_of(world, row)
    del world.away[row]
    world.lost_log.discard(row)
    table.send_tokens[row], table.send_tokens_at[row] = 0.0, now
    table.tick_interval[row] = 1
    table.sent_at[row] = table.acked_at[row] = table.log_marked_at[row] = now
    table.log_mark[row] = world.rooms.table.log_head[room.row]
    _tell(world, room, [_back_entry(world, row, is_afresh), *choose_host(world, room, 1)])
    world.stats.count("back")


def resume(world: World, request: ResumeRequest, address: bytes, now: float) -> Back | Refused | DropReason:
    """Give a player who proves to have been here a new session in its old place, or say why not.

    Who comes back too often is not answered yet: what it is told each time would fill the log of all others.
    """
    row = _find(world, request)
    if row is None:
        return Refused(_why_gone(world, request, address))
    sessions, table, room = world.sessions, world.sessions.table, _room_of(world, row)
    if room.code != request.code:
        return Refused(Refusal.CANNOT_RESUME)
    if room.belongings.bans.hold(sessions.identity[row]):  # not its address, or a ban took neighbours' places
        return Refused(Refusal.BANNED)
    is_continued = _still_has_log(world, row, request.log_index)
    if not is_continued and not welcome_fits(world, room):
        return Refused(Refusal.SERVER_FULL)  # the place is kept: it may be tried again
    if not is_continued and is_crowded(world, room):
        return DropReason.CROWDED
    if not _spend_resume(world, row, now):
        return DropReason.COLD_BUDGET
    former_address = table.address[row].tobytes()
    back = Back(
        row, int(table.id[row]), sessions.nonce[row], world.counted_host[row], former_address, row in world.away
    )
    sessions.renew(row, address, request.nonce, now)
    uncount_host(world, row)
    count_host(world, row, host_of(address))
    world.entities.renew_seat(world.rooms, room, row, int(table.player_id[row]))
    world.intake.forget(row)
    table.message_held[row] = table.message_bits[row] = 0
    if is_continued:
        _continue_log(world, room, row, request.log_index, now)
    else:
        _begin_log_afresh(world, room, row, now)
    grant_credit(table, np.array([row]))
    world.resumed[row] = Resumed.CONTINUED if is_continued else Resumed.AFRESH
    world.stats.count("resumes")
    return back


def hear_join(world: World, row: int, now: float) -> bool:
    """Take a JOIN that a player repeats who has not spoken in its session yet, for WELCOME was lost: a sign of life.

    If its log was given up meanwhile, it is told all once more: WELCOME must not say that the log goes on where it does
    not. Returns: whether it may be answered; if not, there is no memory or budget for that now.
    """
    if row in world.lost_log:
        room = _room_of(world, row)
        if is_crowded(world, room) or not welcome_fits(world, room) or not _spend_resume(world, row, now):
            return False
        _begin_log_afresh(world, room, row, now)
        if row in world.resumed:
            world.resumed[row] = Resumed.AFRESH
    world.sessions.table.heard_at[row] = now
    return True


def _why_gone(world: World, request: ResumeRequest, address: bytes) -> Refusal:
    """Tell why there is no place to come back to: the host may have banned the player while it was away."""
    room = world.rooms.by_code.get(key_of(request.game, request.code))
    is_banned = room is not None and room.belongings.bans.hold(request.identity, address)
    return Refusal.BANNED if is_banned else Refusal.CANNOT_RESUME


def _spend_resume(world: World, row: int, now: float) -> bool:
    """Take one resume of a player's budget, if there is one."""
    left, at = world.resume_budget.get(row, (float(RESUME_BURST), now))
    left = min(float(RESUME_BURST), left + (now - at) * RESUMES_PER_S)
    world.resume_budget[row] = (left - (left >= 1.0), now)
    return left >= 1.0


def _find(world: World, request: ResumeRequest) -> int | None:
    """Find the session that a resume names and proves to know the secret of."""
    sessions = world.sessions
    row = sessions.find(request.session)
    if row is not None:
        secret = sessions.secret[row]
    else:
        row, secret = sessions.find_former(request.session)
        if row is None:
            return None
    proof = resume_proof(secret, request.cookie, request.nonce, request.session)
    return row if hmac.compare_digest(proof, request.proof) else None


def _still_has_log(world: World, row: int, log_index: int) -> bool:
    """Tell whether all that a player has not read since `log_index` is still there."""
    table = world.sessions.table
    if not log_index or row in world.lost_log:
        return False
    if world.resumed.get(row) == Resumed.AFRESH and not table.recv_newest[row]:
        return False  # another process began afresh and was never heard: what was unfinished is given up all the same
    return bool(table.log_cursor[row] <= log_index <= world.rooms.table.log_head[table.room[row]])


def _continue_log(world: World, room: Room, row: int, log_index: int, now: float) -> None:
    """Go on behind what a player has read.

    `log_start` stays: what a message's first fragment fixed when it was written holds for the rest of it, too.
    """
    table = world.sessions.table
    table.log_cursor[row] = table.log_seen[row] = log_index
    table.log_effective[row] = max(int(table.log_effective[row]), log_index)
    table.log_bits[row] = 0
    if row in world.away:
        come_back(world, row, now)
    _tell(world, room, [room_ready(world, room, row)])


def _begin_log_afresh(world: World, room: Room, row: int, now: float) -> None:
    """Tell a player all that a joiner is told: it knows nothing any more."""
    table = world.sessions.table
    _stand_at_head(world, np.array([row]))
    table.unfinished_parts[row] = 0
    world.lost_log.discard(row)
    _tell(world, room, known_of_room(world, room, row, room.joined))
    if row in world.away:
        come_back(world, row, now, is_afresh=True)
    else:
        _tell(world, room, [_back_entry(world, row, is_afresh=True)])
    _tell(world, room, [room_ready(world, room, row)])
    world.entities.tell_again(world.rooms, room, row, int(world.rooms.table.log_head[room.row]))


def _stand_at_head(world: World, rows: Ints) -> None:
    """Let players have read everything."""
    table = world.sessions.table
    head = world.rooms.table.log_head[table.room[rows]]
    table.log_start[rows] = table.log_cursor[rows] = table.log_effective[rows] = table.log_seen[rows] = head
    table.log_bits[rows] = 0


def _give_up_dear_logs(world: World, rows: Ints) -> None:
    """Keep nothing any more for those of these players, who are away, for whom it would be too much."""
    table = world.sessions.table
    behind = world.rooms.table.log_head[table.room[rows]] - table.log_effective[rows]
    is_dear = (behind > AWAY_ENTRIES) | world.log.is_short()
    given_up = set(rows[is_dear & (behind > 0)].tolist()) - world.lost_log
    world.lost_log |= given_up
    world.stats.count("away_logs_given_up", len(given_up))
    _stand_at_head(world, np.fromiter(world.lost_log, np.int64, len(world.lost_log)))


def _back_entry(world: World, row: int, is_afresh: bool) -> OwnEntry:
    fields = {"player_id": int(world.sessions.table.player_id[row]), "is_afresh": int(is_afresh)}
    return OwnEntry(EntryKind.PLAYER_BACK, schemas.PLAYER_BACK_PAYLOAD.build(fields))


def _tell(world: World, room: Room, entries: list[OwnEntry]) -> None:
    world.log.append_own(world.rooms, room.row, entries)


def _room_of(world: World, row: int) -> Room:
    return world.rooms.by_row[int(world.sessions.table.room[row])]
