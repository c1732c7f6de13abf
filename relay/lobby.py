"""Cold datagrams: everything that is not DATA, one at a time and on a budget (SPEC 4, 6 and 11).

Answers wait here until the engine sends them. A join attempt is known by its nonce for as long as a cookie for it could
be accepted, so that a duplicate or late JOIN never makes a second player.
"""

import hmac
from collections import Counter, deque
from typing import Any

from construct import Container

from protocol import codec, dtypes
from protocol.constants import (
    CODE_BYTES,
    COOKIE_BYTES,
    MAX_BODY_BYTES,
    MAX_TEXT_BYTES,
    ByeReason,
    JoinMode,
    Kind,
    Refusal,
    Resumed,
)
from protocol.drops import DropReason
from protocol.proofs import path_proof
from protocol.texts import BYE_TEXTS
from relay.addresses import host_of, is_loopback
from relay.directory import list_rooms
from relay.guesses import GUESSES_AT_ONCE, SHARE_OF_OPENING, Guesses
from relay.handshake import (
    COOKIE_MEMORY_S,
    FEATURES,
    Cookies,
    Join,
    answer_hello,
    answer_ping,
    build_challenge,
    build_refuse,
    check_join,
    check_list,
    check_resume,
    read_join,
)
from relay.membership import join
from relay.presence import Back, hear_join, resume
from relay.roomoptions import Refused
from relay.world import World

GREETINGS_PER_S = 4000
"""HELLO, and JOIN without a good cookie, answered per second: 8 % of a core at 20 us each; a flood costs no more."""
PINGS_PER_S = 500
"""PING answered per second. Separate, so that a flood of it keeps nobody from joining."""
JOINS_PER_S = 4000
"""JOIN with a good cookie, and apart from them BYE and PATH_RESPONSE of a session that is there, looked at per second.
Nobody can use this up who has not proved an address or does not know a session."""
REPEATS_PER_S = 1000
"""JOINs of an attempt that has its session, answered per second: 3 % of a core. Separate, so that one who repeats its
own keeps nobody else from joining, coming back or moving."""
LISTS_PER_S = 500
"""LIST with a good cookie answered per second: 10 % of a core at 0.2 ms each."""
ATTEMPTS_PER_SEAT = 4
"""Join attempts of one host that are remembered, times `max_sessions_per_host`: joining and leaving over and over must
not fill the memory of attempts for everybody."""
MAX_BURST = 128
"""What of a budget may be used at once: 128 HELLO take 3 ms, and a tick is 33 ms."""
JOINS_AT_ONCE = 16
"""Of JOINs: 16 take 3 ms. More wait for the next pass, or a crowd that comes at once would make a tick late."""
MAX_WAITING_JOINS = 512
"""JOINs that wait: an eighth of a second's (chosen; a client sends its JOIN again after a quarter)."""
MAX_REFUSED = 4096
"""Refused attempts remembered, for as long as a JOIN of theirs could be taken; the oldest is forgotten for one more
(chosen: a second of nothing but refusals)."""
RESETS_PER_S = 200
"""RESET datagrams sent per second, to all together."""
CHALLENGE_AGAIN_S = 0.25
"""Least time between two path challenges to one session (SPEC 6)."""
BYE_COPIES = 3
"""Times that a BYE is sent (SPEC 6)."""
BYE_AGAIN_S = 0.02
"""Least time between its copies."""
MAX_BYES = 4096
"""BYEs that wait to be sent again; one beyond is sent once, and if that is lost the client's DATA brings a RESET."""


_OPTIONED: dict[int, dtypes.Record] = {Kind.JOIN: dtypes.JOIN_FIELDS, Kind.LIST: dtypes.LIST_FIELDS}
"""Layouts of what proves its address by a cookie, and has options."""
_WRONG_GUESSES = (Refusal.NO_SUCH_ROOM, Refusal.WRONG_PASSWORD, Refusal.ROOM_EXISTS)


class Allowance:
    """One token bucket."""

    def __init__(self, per_s: float, burst: int = MAX_BURST) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._tokens = self._burst
        self._at = 0.0

    def spend(self, now: float) -> bool:
        """Take one token, if there is one."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._per_s)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Lobby:
    """Handles cold datagrams and keeps the answers that wait to be sent."""

    def __init__(self, world: World, secret: bytes) -> None:
        self._world = world
        self._cookies = Cookies(secret)
        self._greetings = Allowance(GREETINGS_PER_S)
        self._pings = Allowance(PINGS_PER_S)
        self._joins = Allowance(JOINS_PER_S, JOINS_AT_ONCE)
        self._ends = Allowance(JOINS_PER_S)
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        """(datagram, address) of JOINs with a good cookie that wait for their budget."""
        self._repeats = Allowance(REPEATS_PER_S)
        self._lists = Allowance(LISTS_PER_S)
        self._resets = Allowance(RESETS_PER_S)
        self._guesses = Guesses()
        self._nonces: dict[int, int] = {}
        """Nonce -> session id that it made, also after that session ended."""
        self._refused: dict[int, tuple[float, Refused]] = {}
        """Nonce -> (when it may be forgotten, why), oldest first. A JOIN of an attempt that was refused, and that its
        client gave up, may still come when there is room: it would seat somebody who is not there."""
        self._ended: deque[tuple[float, int, bytes]] = deque()
        """(when it may be forgotten, nonce, host) of sessions that ended, oldest first."""
        self._attempts: Counter[bytes] = Counter()
        """Host -> how many of its attempts are in `_ended`."""
        self._byes: deque[tuple[float, int, bytes, bytes]] = deque()
        """(not before, copies left, address, datagram) of BYEs that are sent again."""
        self.answers: list[tuple[bytes, bytes]] = []
        """(address, datagram) to send with the next flush."""
        self.load_percent = 0
        self.closing = False
        self.left: list[int] = []
        """Ids of sessions whose clients said BYE in this pass; the engine ends them. Not their rows, which a resume in
        the same pass keeps."""

    @property
    def max_nonces(self) -> int:
        """Cap of the nonce map: every session, and three times as many that ended of late. A full map refuses joins."""
        return 4 * self._world.config.max_players + 4096

    @property
    def num_nonces(self) -> int:
        """Join attempts remembered."""
        return len(self._nonces)

    @property
    def num_refused(self) -> int:
        """Refused join attempts remembered."""
        return len(self._refused)

    @property
    def num_byes(self) -> int:
        """BYEs that wait to be sent again."""
        return len(self._byes)

    @property
    def num_waiting(self) -> int:
        """JOINs that wait for their budget."""
        return len(self._waiting)

    def go_on(self, now: float) -> None:
        """Take the JOINs that waited, as many as the budget permits. At the beginning of every pass and tick."""
        while self._waiting and self._joins.spend(now):
            self._act_on(*self._waiting.popleft(), now)

    def handle(self, data: bytes, address: bytes, now: float) -> None:
        """Take one cold datagram: answer it, act on it, let it wait, or count why not."""
        allowance = self._allowance_for(data[0], data, address, now)
        if allowance.spend(now):
            self._act_on(data, address, now)
        elif allowance is self._joins and len(self._waiting) < MAX_WAITING_JOINS:
            self._waiting.append((data, address))
        else:
            self._drop(DropReason.COLD_BUDGET)

    def _act_on(self, data: bytes, address: bytes, now: float) -> None:
        kind = data[0]
        if kind == Kind.HELLO:
            self._answer(address, answer_hello(data, address, self._cookies, now))
        elif kind == Kind.PING:
            world = self._world
            self._answer(
                address, answer_ping(data, world.config, self.load_percent, len(world.sessions), len(world.rooms))
            )
        else:
            value = read_join(data, _OPTIONED[kind]) if kind in _OPTIONED else codec.decode(data)
            if isinstance(value, DropReason):
                self._drop(value)
            elif isinstance(value, Join):
                self._handle_proven(value, address, now)
            elif kind == Kind.BYE:
                self._handle_bye(value)
            else:
                self._handle_path_response(value, address, now)

    def _allowance_for(self, kind: int, data: bytes, address: bytes, now: float) -> Allowance:
        """Choose the budget that a datagram is paid from, by what its first bytes prove. Costs a hash at most."""
        if kind == Kind.PING:
            return self._pings
        number = int.from_bytes(data[2:10], "little")  # nonce or session
        if kind in _OPTIONED:
            if not self._cookies.check(data[10 : 10 + COOKIE_BYTES], address, number, now):
                return self._greetings
            if kind == Kind.LIST:
                return self._lists
            return self._repeats if number in self._nonces or number in self._refused else self._joins
        proven = kind != Kind.HELLO and self._world.sessions.find(number) is not None
        return self._ends if proven else self._greetings

    def _drop(self, reason: DropReason) -> None:
        self._world.stats.count_drop(reason)

    def _answer(self, address: bytes, answer: bytes | DropReason) -> None:
        if isinstance(answer, DropReason):
            self._drop(answer)
        else:
            self.answers.append((address, answer))

    def _handle_proven(self, value: Join, address: bytes, now: float) -> None:
        """Take a JOIN or LIST, if its cookie proves the address; otherwise send a fresh cookie."""
        fields = value.fields
        nonce = fields.nonce
        if not self._cookies.check(fields.cookie, address, nonce, now):
            self._drop(DropReason.STALE_COOKIE)
            fresh = self._cookies.issue(address, nonce, now)
            self._answer(address, build_challenge(nonce, fields.revision, fields.features & FEATURES, fresh))
        elif fields.kind == Kind.LIST:
            self._handle_list(value, address)
        else:
            self._handle_join(value, address, now)

    def _handle_list(self, value: Join, address: bytes) -> None:
        """Answer with a page of rooms."""
        wish = check_list(value)
        if isinstance(wish, Refused):
            self._answer(address, build_refuse(value.fields.nonce, wish))
            return
        self._world.stats.count("lists")
        head = dtypes.ROOMS_FIELDS
        region = codec.counted(self._world.config.region.encode())
        page = list_rooms(self._world.rooms, wish, value.fields.after, MAX_BODY_BYTES - head.size - len(region))
        told = head.encode(Kind.ROOMS, 0, value.fields.nonce, value.fields.after, page.next, page.num_listed)
        self._answer(address, told + region + b"".join(page.rooms))

    def _handle_join(self, value: Join, address: bytes, now: float) -> None:
        nonce = value.fields.nonce
        if nonce in self._nonces:
            self._welcome_again(nonce, address, now)
            return
        if nonce in self._refused:
            self._answer(address, build_refuse(nonce, self._refused[nonce][1]))
            return
        outcome = self._seat(value, address, now)
        if isinstance(outcome, DropReason):
            self._drop(outcome)
            return
        if isinstance(outcome, Refused):
            self._world.stats.count(f"refused_{outcome.reason.name.lower()}")
            if value.fields.mode != JoinMode.RESUME:  # that is refused for now, maybe, and asked for again
                self._remember_refusal(nonce, outcome, now)
            self._answer(address, build_refuse(nonce, outcome))
            return
        self._nonces[nonce] = int(self._world.sessions.table.id[outcome])
        self._answer(address, self.build_welcome(outcome))

    def _seat(self, value: Join, address: bytes, now: float) -> int | Refused | DropReason:
        """Seat the player, or say why not."""
        if self.closing:
            return Refused(Refusal.SHUTTING_DOWN)
        self.forget_ended(now)
        if len(self._nonces) >= self.max_nonces:
            return Refused(Refusal.SERVER_FULL)
        host = host_of(address)
        most = ATTEMPTS_PER_SEAT * self._world.config.max_sessions_per_host
        if self._attempts[host] >= most and not is_loopback(address):
            return Refused(Refusal.TOO_MANY_SESSIONS)
        if value.fields.mode == JoinMode.RESUME:
            return self._resume(value, address, now)
        request = check_join(value, self._world.config)
        if isinstance(request, Refused):
            return request
        if not self._guesses.may_guess(address, now):
            return Refused(Refusal.TOO_MANY_TRIES)
        num_rooms = len(self._world.rooms)
        outcome = join(self._world, request, address, now)
        if isinstance(outcome, Refused) and outcome.reason in _WRONG_GUESSES:
            self._guesses.note(address, now)
        elif request.code and len(self._world.rooms) > num_rooms:
            share = min(SHARE_OF_OPENING, GUESSES_AT_ONCE / self._world.config.max_sessions_per_host)
            self._guesses.note(address, now, share)
        return outcome

    def _resume(self, value: Join, address: bytes, now: float) -> int | Refused | DropReason:
        """Give a player who was here a new session, or say why not."""
        request = check_resume(value)
        if isinstance(request, Refused):
            return request
        back = resume(self._world, request, address, now)
        if not isinstance(back, Back):
            return back
        self._remember_attempt(back.former_nonce, back.former_host, now)
        if not back.was_away and back.former_address != address:
            bye = self.build_bye(back.row, back.former_id, ByeReason.REPLACED)
            self._say_bye(back.former_address, bye, now)
        return back.row

    def _welcome_again(self, nonce: int, address: bytes, now: float) -> None:
        """Answer a repeated JOIN. Until the session's first DATA its address is that of the newest JOIN.

        A sign of life too: or a session whose WELCOME was lost a few times would end while its client still asks.
        """
        sessions = self._world.sessions
        row = sessions.find(self._nonces[nonce])
        if row is None:
            self._drop(DropReason.STALE_JOIN)
            return
        if sessions.table.recv_newest[row] == 0:
            if not hear_join(self._world, row, now):
                self._drop(DropReason.COLD_BUDGET)
                return
            sessions.set_address(row, address)
        self._world.stats.count("welcomes_again")
        self._answer(address, self.build_welcome(row))

    def build_welcome(self, row: int) -> bytes:
        """Build WELCOME for a session."""
        world = self._world
        table, config = world.sessions.table, world.config
        room = world.rooms.by_row[int(table.room[row])]
        session_id = int(table.id[row])
        resumed = world.resumed.get(row, Resumed.NO)
        return dtypes.WELCOME_FIELDS.encode(
            kind=Kind.WELCOME,
            shard=int(world.rooms.table.shard[room.row]),
            nonce=world.sessions.nonce[row],
            session=session_id,
            secret=world.sessions.secret[row],
            reset_token=self._cookies.reset_token(session_id),
            code=room.code.ljust(CODE_BYTES, b"\0"),
            player_id=int(table.player_id[row]),
            player_slots=room.options.slots,
            max_players=room.options.max_players,
            entities_per_player=room.options.entities_per_player,
            max_state_bytes=room.options.max_state_bytes,
            page_ids=int(world.rooms.table.page_ids[room.row]),
            tick_rate=config.tick_rate,
            tick=world.tick,
            log_index=int((table.log_cursor if resumed is Resumed.CONTINUED else table.log_start)[row]),
            message_id=int(table.message_accepted[row]) & 0xFFFF,
            message_credit=int(table.message_permitted[row]) & 0xFFFF,
            keepalive_ms=int(config.keepalive_s * 1000),
            timeout_ms=int(config.timeout_s * 1000),
            datagrams_per_s=config.datagrams_per_s,
            messages_per_s=config.messages_per_s,
            signals_per_s=config.signals_per_s,
            bytes_per_s=config.bytes_per_s,
            grace_s=int(config.grace_s),
            resumed=resumed,
            room_flags=room.options.flags,
        )

    def _handle_bye(self, value: Container[Any]) -> None:
        row = self._world.sessions.find(value.session)
        if row is None:
            self._drop(DropReason.UNKNOWN_SESSION)
        elif value.session not in self.left:
            self.left.append(value.session)

    def _handle_path_response(self, value: Container[Any], address: bytes, now: float) -> None:
        """Move a session to the address that a good response came from."""
        sessions = self._world.sessions
        row = sessions.find(value.session)
        if row is None:
            self._drop(DropReason.UNKNOWN_SESSION)
            return
        proof = path_proof(sessions.secret[row], value.challenge, value.session)
        if not self._cookies.check_path_challenge(value.challenge, address, value.session, now) or not (
            hmac.compare_digest(proof, value.proof)
        ):
            self._drop(DropReason.BAD_PATH_PROOF)
            return
        sessions.set_address(row, address)
        self._world.stats.count("path_moves")

    def challenge_path(self, row: int, address: bytes, now: float) -> None:
        """Ask a session's new address to prove itself, at most once per 250 ms."""
        table = self._world.sessions.table
        if now - table.challenged_at[row] < CHALLENGE_AGAIN_S:
            return
        table.challenged_at[row] = now
        session_id = int(table.id[row])
        shard = int(self._world.rooms.table.shard[table.room[row]])
        challenge = self._cookies.path_challenge(address, session_id, now)
        self._answer(address, codec.encode(Kind.PATH_CHALLENGE, shard=shard, session=session_id, challenge=challenge))

    def answer_unknown_session(self, session_id: int, shard: int, address: bytes, now: float) -> None:
        """Tell the sender of DATA for a session that is not there that it is gone, on a budget for all together."""
        if not self._may_reset(now):
            return
        token = self._cookies.reset_token(session_id)
        self._answer(address, codec.encode(Kind.RESET, shard=shard, session=session_id, reset_token=token))

    def answer_behind(self, session_id: int, shard: int, address: bytes, now: float) -> None:
        """Tell the sender of DATA that its session cannot go on, on the same budget. No text: DATA is as short."""
        if self._may_reset(now):
            reason = ByeReason.LOG_GONE
            self._answer(address, codec.encode(Kind.BYE, shard=shard, session=session_id, reason=reason, text=b""))

    def _may_reset(self, now: float) -> bool:
        """Spend one answer to DATA that no session can take."""
        if self._resets.spend(now):
            return True
        self._world.stats.count("resets_withheld")
        return False

    def on_session_ended(self, row: int, reason: ByeReason, now: float, text: str = "") -> None:
        """Say BYE to a session that is about to be closed, and remember its nonce a while."""
        sessions = self._world.sessions
        self._remember_attempt(sessions.nonce[row], self._world.counted_host[row], now)
        if reason != ByeReason.LEFT:
            address = sessions.table.address[row].tobytes()
            self._say_bye(address, self.build_bye(row, int(sessions.table.id[row]), reason, text), now)

    def _remember_attempt(self, nonce: int, host: bytes, now: float) -> None:
        """Remember the nonce of a session that ended for as long as a JOIN with it could be taken."""
        self._ended.append((now + COOKIE_MEMORY_S, nonce, host))
        self._attempts[host] += 1

    def _remember_refusal(self, nonce: int, refused: Refused, now: float) -> None:
        if len(self._refused) >= MAX_REFUSED:
            del self._refused[next(iter(self._refused))]
        self._refused[nonce] = (now + COOKIE_MEMORY_S, refused)

    def _say_bye(self, address: bytes, bye: bytes, now: float) -> None:
        """Send BYE now and twice more."""
        self._answer(address, bye)
        if len(self._byes) < MAX_BYES:
            self._byes.append((now + BYE_AGAIN_S, BYE_COPIES - 1, address, bye))
        else:
            self._world.stats.count("byes_not_repeated")

    def build_bye(self, row: int, session_id: int, reason: ByeReason, text: str = "") -> bytes:
        """Build BYE for a session that has or had a row, with a text of its own or the usual one."""
        room = self._world.sessions.table.room[row]
        return codec.encode(
            Kind.BYE,
            shard=int(self._world.rooms.table.shard[room]),
            session=session_id,
            reason=reason,
            text=codec.text_bytes(text or BYE_TEXTS[reason], MAX_TEXT_BYTES),
        )

    def forget_ended(self, now: float) -> None:
        """Forget the nonces for which no cookie can be acceptable any more."""
        while self._refused and next(iter(self._refused.values()))[0] <= now:
            del self._refused[next(iter(self._refused))]
        while self._ended and self._ended[0][0] <= now:
            _, nonce, host = self._ended.popleft()
            self._nonces.pop(nonce, None)
            self._attempts[host] -= 1
            if not self._attempts[host]:
                del self._attempts[host]

    def take_answers(self, now: float) -> list[tuple[bytes, bytes]]:
        """Hand over what waits to be sent: answers, and further copies of BYE that are due."""
        answers, self.answers = self.answers, []
        while self._byes and self._byes[0][0] <= now:
            _, copies_left, address, bye = self._byes.popleft()
            answers.append((address, bye))
            if copies_left > 1:
                self._byes.append((now + BYE_AGAIN_S, copies_left - 1, address, bye))
        return answers
