# gdlint: disable=max-public-methods
extends RefCounted
## The client's side of a connection, without I/O: bytes and time in, bytes and events out.
## [codeblock]
## whenever a datagram arrives:      connection.receive(data, now), then connection.poll(now)
## at connection.next_poll_at():     connection.poll(now)
## each tick of the room:            connection.tick(now)
## to send at once:                  connection.flush(now)
## after any of these:               connection.take_events()
## [/codeblock]
## `poll`, `tick` and `flush` return datagrams to send. What the network brings is dropped and
## counted in [member dropped] if it is not right. One of these is one attempt to join and, if that
## succeeds, one place in a room: when the connection is lost it comes back with a new session, as
## long as the server keeps the place. Once a JOIN of that is under way the server may have begun
## the new session, so nothing of the old one counts any more: only WELCOME or REFUSE tells. Times
## are seconds of any clock that never steps back.

## Where a connection is (SPEC 13). RESUMING: it is lost; what the game says is kept.
enum RelayPhase { GREETING, JOINING, JOINED, RESUMING, CLOSED }

const RelayEvents := preload("relay_events.gd")
const RelayHandshake := preload("relay_handshake.gd")
const RelayProofs := preload("relay_proofs.gd")
const RelayText := preload("relay_text.gd")
const RelayRequest := preload("relay_request.gd")
const RelaySession := preload("relay_session.gd")
const RelayTargets := preload("relay_targets.gd")
const RelayWire := preload("generated_wire.gd")

## BYE is not acknowledged: it is sent three times, 20 ms apart or more (SPEC 6).
const BYE_COPIES := 3
const BYE_INTERVAL_S := 0.020
## How long who gave up waits for a WELCOME that may be under way (chosen: two slow round trips).
const LINGER_S := 1.0
## [member disconnect_reason] while the connection lives, or if it ended without a reason of the
## wire.
const NO_REASON := 0
## Reason of RelayEvents.RelayRefused when the deadline passed. Reasons of the wire are below 256.
const NO_ANSWER := 256

## Refusals to come back after which the server keeps the place all the same: we go on asking, and
## a process that was started anew may ask once more (SPEC 4).
const REFUSED_FOR_NOW: Array[int] = [
	RelayWire.Refusal.SERVER_FULL,
	RelayWire.Refusal.TOO_MANY_SESSIONS,
]

## What a refusal to come back means to a game; all others: the connection is lost for good.
const _ENDS_BY_REFUSAL := {
	RelayWire.Refusal.BANNED: RelayWire.ByeReason.BANNED,
	RelayWire.Refusal.SHUTTING_DOWN: RelayWire.ByeReason.SHUTDOWN,
}

## What came from the network and was not taken: RelayWire.DropReason -> count.
var dropped := {}
var datagrams_in := 0
var datagrams_out := 0
var bytes_in := 0
var bytes_out := 0
## Whether anything of this attempt was answered.
var is_answered: bool:
	get:
		return _handshake.server_fingerprint != RelayHandshake.UNKNOWN
## The server's layouts are not ours although the revision agrees: a development build.
var fingerprint_differs: bool:
	get:
		var theirs := _handshake.server_fingerprint
		return theirs != RelayHandshake.UNKNOWN and theirs != 0 and theirs != RelayWire.FINGERPRINT
## Everything from WELCOME on; null before. Read only.
var session: RelaySession
## Why it is over; NO_REASON while it is not.
var disconnect_reason := NO_REASON

var _request: RelayRequest
var _handshake: RelayHandshake  # the newest attempt, to join or to come back
var _is_asking := true  # its outcome is not known
var _is_lost := false
var _num_returns := 0  # attempts to come back
var _is_closed := false
var _events := []
var _path_response := PackedByteArray()
var _path_response_at := INF
var _bye := PackedByteArray()
var _byes_left := 0
var _bye_at := INF
var _lingers_until := INF


## [param nonce]: a fresh random number of 64 bits; who could guess it could answer in the
## server's place.
func _init(request: RelayRequest, nonce: int, now: float) -> void:
	_request = request
	_handshake = RelayHandshake.new(request, nonce, now)


## Where the connection is.
func state() -> RelayPhase:
	if _is_closed:
		return RelayPhase.CLOSED
	if _is_lost:
		return RelayPhase.RESUMING
	if session != null:
		return RelayPhase.JOINED
	if _handshake.state == RelayHandshake.RelayPhase.JOINING:
		return RelayPhase.JOINING
	return RelayPhase.GREETING


## Whether we have a place in a room; the connection may be lost meanwhile.
func is_in_room() -> bool:
	return session != null and not _is_closed


## Whether the server is heard, at the address that datagrams come from now.
func is_heard() -> bool:
	return state() == RelayPhase.JOINED or _handshake.state == RelayHandshake.RelayPhase.JOINING


## Tells whether a BYE, or a copy of it, is still to be sent.
func has_goodbyes() -> bool:
	return _byes_left > 0


## Takes a datagram that arrived.
func receive(data: PackedByteArray, now: float) -> void:
	datagrams_in += 1
	bytes_in += data.size()
	var reason := _handle(data, now)
	if reason != OK:
		dropped[reason] = dropped.get(reason, 0) + 1


## Tells when it ends if nothing more arrives, seconds.
func ends_at() -> float:
	return session.timeout_at() if state() == RelayPhase.JOINED else _handshake.deadline_at


## Gives an attempt to join more time: the game stood still and could not read.
func postpone(seconds: float) -> void:
	_handshake.postpone(seconds)


## Builds what this tick of the room has to send, and all that [method poll] would return. Of DATA
## that are no bare acknowledgements at most [param max_datagrams], 1 or 2.
func tick(now: float, max_datagrams: int = 2) -> Array[PackedByteArray]:
	var datagrams: Array[PackedByteArray] = []
	if state() == RelayPhase.JOINED:
		datagrams = session.build_tick(now, max_datagrams)
		_count_out(datagrams)
	datagrams.append_array(poll(now))
	return datagrams


## Builds one DATA with the messages and signals that wait, without waiting for the tick. None if
## there are none that may be sent.
func flush(now: float) -> Array[PackedByteArray]:
	if state() != RelayPhase.JOINED:
		return []
	var datagrams := session.build_flush(now)
	_count_out(datagrams)
	return datagrams


## Builds what cannot wait for a tick, and notices that time ran out: handshake, answers to path
## challenges, acknowledgements that are due, keepalives, BYE.
func poll(now: float) -> Array[PackedByteArray]:
	var datagrams: Array[PackedByteArray]
	match state():
		RelayPhase.JOINED:
			datagrams = _poll_session(now)
		RelayPhase.CLOSED:
			datagrams = _poll_bye(now)
		_:
			datagrams = _poll_handshake(now)
	_count_out(datagrams)
	return datagrams


## Tells when [method poll] must be called at the latest; INF when all is over.
func next_poll_at() -> float:
	match state():
		RelayPhase.JOINED:
			return minf(_path_response_at, minf(session.speak_at(), session.timeout_at()))
		RelayPhase.CLOSED:
			return _bye_at
	return _handshake.next_at()


## Returns what happened since the last call, in order: objects of relay_events.gd, and RelayStates.
func take_events() -> Array:
	var events := _events.duplicate()
	_events.clear()  # in place: the session appends to the same array
	return events


## Sets the newest state of one of our entities; it is sent until the server has it.
func publish(local_index: int, bytes: PackedByteArray, now: float) -> Error:
	return publish_entity(entity_id(local_index), bytes, now)


## Sets the newest state of an entity that is ours, whatever its number. Returns ERR_UNAUTHORIZED if
## it is not.
func publish_entity(id: int, bytes: PackedByteArray, now: float) -> Error:
	var error := _problem_of_entity(id)
	if error != OK:
		return error
	if bytes.is_empty() or bytes.size() > session.welcome.max_state_bytes:
		return ERR_INVALID_PARAMETER
	# A copy: a game may write its next state into the same array, which is shared otherwise.
	session.publish(id, bytes.duplicate(), now)
	return OK


## Takes one of our entities out of the table.
func remove(local_index: int) -> Error:
	return remove_entity(entity_id(local_index))


## Takes an entity that is ours out of the table.
func remove_entity(id: int) -> Error:
	var error := _problem_of_entity(id)
	if error == OK:
		session.remove(id)
	return error


## Id of one of our entities, -1 if we have none or not as many.
func entity_id(local_index: int) -> int:
	if session == null or local_index < 0 or local_index >= session.welcome.entities_per_player:
		return -1
	return local_index * session.welcome.player_slots + session.welcome.player_id


func _problem_of_entity(id: int) -> Error:
	if not is_in_room():
		return ERR_UNAVAILABLE
	var num_ids := session.welcome.player_slots * session.welcome.entities_per_player
	if id < 0 or id >= num_ids:
		return ERR_INVALID_PARAMETER
	return OK if session.owns(id) else ERR_UNAUTHORIZED


## Queues a log message; it arrives exactly once, in one order with all others.
## [param flags]: of RelayWire.MessageFlag; only for one fragment to all. Returns
## ERR_OUT_OF_MEMORY when 4 MiB wait.
func send_message(
	payload: PackedByteArray,
	kind: int,
	channel: int,
	target: int,
	players: PackedInt32Array,
	flags: int = 0
) -> Error:
	if not is_in_room():
		return ERR_UNAVAILABLE
	var most := RelayTargets.MAX_MESSAGE_KIND
	if not RelayTargets.problem_of(kind, channel, target, players, most).is_empty():
		return ERR_INVALID_PARAMETER
	if flags != 0 and target != RelayWire.Target.ALL:
		return ERR_INVALID_PARAMETER
	return session.outbox.queue(payload, kind, channel, target, players, flags)


## Queues a request to the server. Returns its whole message id, 0 if it cannot be sent.
func send_request(kind: RelayWire.RequestKind, payload: PackedByteArray) -> int:
	if not is_in_room():
		return 0
	var everybody := RelayWire.Target.ALL
	var error := session.outbox.queue(payload, kind, 0, everybody, PackedInt32Array())
	return session.outbox.last_id if error == OK else 0


## Queues a signal; it goes out once. [param flags]: of RelayWire.SignalFlag. [param after_message]:
## with AFTER_LOG, the whole id of our message that it must not overtake; the last one by default.
func send_signal(
	payload: PackedByteArray,
	kind: int,
	channel: int,
	target: int,
	players: PackedInt32Array,
	flags: int,
	after_message: int = -1
) -> Error:
	if not is_in_room():
		return ERR_UNAVAILABLE
	if not RelayTargets.problem_of(kind, channel, target, players).is_empty():
		return ERR_INVALID_PARAMETER
	var header := RelayWire.RelaySignalUpHeader.new()
	header.kind = kind
	header.flags = flags
	header.channel = channel
	header.target = target
	var after := 0
	if flags & RelayWire.SignalFlag.AFTER_LOG:
		after = session.outbox.last_id if after_message < 0 else after_message
	return session.signals_out.queue(payload, header, players, after)


## Whether the server has everything that we published, removed and sent.
func is_idle() -> bool:
	return (
		session == null
		or (
			(
				session.uploads.num_unacked()
				+ session.outbox.num_waiting()
				+ session.signals_out.num_waiting()
			)
			== 0
		)
	)


## Ends it now. What is not acknowledged is lost. BYE goes out with the next polls, three times.
## Who gives up while a JOIN is under way waits for WELCOME, and says BYE to that: else the player
## would stand in the room until the relay misses it.
func close(now: float) -> void:
	if _is_closed:
		return
	_linger(now)
	if session != null:
		_plan_bye(session, now)
	_disconnect(RelayWire.ByeReason.LEFT, PackedByteArray())


## Waits for the WELCOME of a JOIN that may be there, to answer it with BYE.
func _linger(now: float) -> void:
	if _is_asking and _handshake.has_sent_join:
		_lingers_until = now + LINGER_S
		_bye_at = _lingers_until


func _plan_bye(of_session: RelaySession, now: float) -> void:
	_bye = of_session.build_bye(RelayWire.ByeReason.LEFT)
	_byes_left = BYE_COPIES
	_bye_at = now


func _count_out(datagrams: Array[PackedByteArray]) -> void:
	datagrams_out += datagrams.size()
	for data in datagrams:
		bytes_out += data.size()


func _end(reason: int) -> void:
	_is_closed = true
	_is_lost = false
	disconnect_reason = reason
	_path_response_at = INF


## Ends it with the server's text; without one, with the usual words for the reason.
func _disconnect(reason: int, text: PackedByteArray) -> void:
	_end(reason)
	var event := RelayEvents.RelayDisconnected.new()
	event.reason = reason
	event.text = RelayText.printable(RelayText.decode(text))
	if event.text.is_empty():
		event.text = RelayWire.BYE_TEXTS.get(reason, "")
	_events.append(event)


## The server does not let us in. Who had a place there has lost it.
func _refuse(reason: int, text: String) -> void:
	if session != null and reason in REFUSED_FOR_NOW:
		return  # the same JOIN goes out again until the place is kept no longer
	if session != null:
		var why: int = _ENDS_BY_REFUSAL.get(reason, RelayWire.ByeReason.TIMEOUT)
		_disconnect(why, text.to_utf8_buffer())
		return
	_end(reason)
	var event := RelayEvents.RelayRefused.new()
	event.reason = reason
	event.text = text
	_events.append(event)


## Checks size and kind, then lets the kind's own function check the rest (SPEC 11, client).
func _handle(data: PackedByteArray, now: float) -> int:
	if data.size() < 2 or data.size() > RelayWire.MAX_DATAGRAM_BYTES:
		return RelayWire.DropReason.TOO_SHORT if data.size() < 2 else RelayWire.DropReason.TOO_LONG
	match data[0]:
		RelayWire.Kind.UPDATE:
			return _handle_update(data, now)
		RelayWire.Kind.CHALLENGE, RelayWire.Kind.WELCOME, RelayWire.Kind.REFUSE:
			return _handle_answer(data, now)
		RelayWire.Kind.BYE, RelayWire.Kind.RESET, RelayWire.Kind.PATH_CHALLENGE:
			return _handle_cold(data, now)
	return RelayWire.DropReason.UNKNOWN_KIND


func _handle_update(data: PackedByteArray, now: float) -> int:
	if not is_in_room() or _may_be_replaced():
		if _is_asking and not _is_closed:
			_handshake.handle_update(now)
		return RelayWire.DropReason.UNKNOWN_SESSION
	var reason := session.handle_update(data, now)
	if reason == OK and _is_lost:
		# The session lives after all, and no JOIN was sent that could have ended it.
		_is_lost = false
		_is_asking = false
		_events.append(RelayEvents.RelayResumed.new())
	return reason


func _handle_answer(data: PackedByteArray, now: float) -> int:
	match data[0]:
		RelayWire.Kind.CHALLENGE:
			return _handle_challenge(RelayWire.RelayChallenge.decode(data), now)
		RelayWire.Kind.WELCOME:
			return _handle_welcome(RelayWire.RelayWelcomeFields.decode(data), data, now)
	var refuse := RelayWire.RelayRefuse.decode(data)
	if refuse == null:
		return RelayWire.DropReason.MALFORMED
	if _is_closed or not _is_asking or not _handshake.is_own(refuse.nonce):
		return RelayWire.DropReason.STALE_JOIN
	var text := RelayText.printable(RelayText.decode(refuse.text))
	if text.is_empty() and refuse.reason == RelayWire.Refusal.VERSION:
		text = RelayText.version_text(refuse.revision_min, refuse.revision_max)
	_refuse(refuse.reason, text if text else RelayWire.REFUSAL_TEXTS.get(refuse.reason, ""))
	return OK


func _handle_challenge(challenge: RelayWire.RelayChallenge, now: float) -> int:
	if challenge == null:
		return RelayWire.DropReason.MALFORMED
	return (
		_handshake.handle_challenge(challenge, now)
		if _is_asking and not _is_closed
		else RelayWire.DropReason.STALE_JOIN
	)


func _handle_welcome(
	fields: RelayWire.RelayWelcomeFields, data: PackedByteArray, now: float
) -> int:
	if fields == null or not are_options(data, RelayWire.RelayWelcomeFields.SIZE):
		return RelayWire.DropReason.MALFORMED
	if not _is_asking:
		return RelayWire.DropReason.STALE_JOIN
	var reason := _handshake.handle_welcome(fields)
	if reason != OK:
		return reason
	var is_continued := fields.resumed == RelayWire.Resumed.CONTINUED
	if is_continued and not _is_closed and not session.continues(fields):
		# The server took us for somebody who has more: so we offer nothing to go on from.
		_ask_for_place(now, 0, _handshake.deadline_at)
		return RelayWire.DropReason.MALFORMED
	var former := session
	session = RelaySession.new(fields, now, dropped, _events, _request.silence_s)
	_is_asking = false
	_is_lost = false
	_path_response_at = INF
	if _is_closed:
		_lingers_until = INF
		_plan_bye(session, now)
	elif is_continued:
		session.go_on(former)
	elif former != null:
		_begin_afresh(former)
	return OK


func _begin_afresh(former: RelaySession) -> void:
	var forgotten := RelayEvents.RelayForgotten.new()
	forgotten.room = former.room
	forgotten.shown_ids = former.table.shown_ids()
	_events.append(forgotten)
	session.begin_afresh(former)


## Nothing came for too long: from now on we try to come back, as long as the server keeps our
## place.
func _lose(now: float) -> void:
	_ask_for_place(now, session.inbox.cursor, now + session.welcome.grace_s)
	_is_lost = true
	_is_asking = true
	_path_response_at = INF
	_events.append(RelayEvents.RelayConnectionLost.new())


## Begins an attempt to come back, behind [param log_index] if the server still has the rest.
func _ask_for_place(now: float, log_index: int, until: float) -> void:
	_num_returns += 1
	var welcome := session.welcome
	var code := RelayHandshake.code_of(welcome)
	var request: RelayRequest = _request.to_resume(welcome.session, welcome.secret, code, log_index)
	var fingerprint := _handshake.server_fingerprint
	var nonce := RelayProofs.resume_nonce(welcome.secret, _num_returns)
	_handshake = RelayHandshake.new(request, nonce, now)
	_handshake.deadline_at = until
	_handshake.server_fingerprint = fingerprint


func _handle_cold(data: PackedByteArray, now: float) -> int:
	match data[0]:
		RelayWire.Kind.BYE:
			return _handle_bye(RelayWire.RelayBye.decode(data), now)
		RelayWire.Kind.RESET:
			return _handle_reset(RelayWire.RelayReset.decode(data))
	return _handle_path_challenge(RelayWire.RelayPathChallenge.decode(data), now)


func _handle_bye(bye: RelayWire.RelayBye, now: float) -> int:
	if bye == null:
		return RelayWire.DropReason.MALFORMED
	var is_own := is_in_room() and session.welcome.session == bye.session
	if not is_own or (bye.reason == RelayWire.ByeReason.REPLACED and _may_be_replaced()):
		return RelayWire.DropReason.UNKNOWN_SESSION  # or it is us who replaced it
	if bye.reason == RelayWire.ByeReason.LOG_GONE:
		if _is_lost:
			return RelayWire.DropReason.UNKNOWN_SESSION  # we do already what it asks for
		if _may_come_back():
			_lose(now)
			return OK
	_disconnect(bye.reason, bye.text)
	return OK


func _handle_reset(reset: RelayWire.RelayReset) -> int:
	if reset == null:
		return RelayWire.DropReason.MALFORMED
	if not _is_own_session(reset.session) or not session.is_own_reset(reset.reset_token):
		return RelayWire.DropReason.UNKNOWN_SESSION
	_disconnect(RelayWire.ByeReason.RESET, PackedByteArray())
	return OK


## Whether a JOIN of ours is under way that may have replaced the session by another of ours.
func _may_be_replaced() -> bool:
	return _is_lost and _handshake.has_sent_join


## One answer waits at most: an older challenge is of no use once a newer one has come.
func _handle_path_challenge(value: RelayWire.RelayPathChallenge, now: float) -> int:
	if value == null:
		return RelayWire.DropReason.MALFORMED
	if not _is_own_session(value.session):
		return RelayWire.DropReason.UNKNOWN_SESSION
	_path_response = session.handle_path_challenge(value.challenge, now)
	_path_response_at = now
	return OK


## Tells whether options fill a datagram to its end.
static func are_options(data: PackedByteArray, at: int) -> bool:
	while at + 1 < data.size():
		at += 2 + data[at + 1]
	return at == data.size()


## Whether the server keeps our place, and the game wants it.
func _may_come_back() -> bool:
	return _request.reconnect and session.welcome.grace_s > 0


func _is_own_session(number: int) -> bool:
	return is_in_room() and not _may_be_replaced() and session.welcome.session == number


func _poll_handshake(now: float) -> Array[PackedByteArray]:
	if now < _handshake.deadline_at:
		return _handshake.poll(now)
	_linger(now)
	if session != null:
		_disconnect(RelayWire.ByeReason.TIMEOUT, PackedByteArray())
	else:
		_refuse(NO_ANSWER, "")
	return []


func _poll_session(now: float) -> Array[PackedByteArray]:
	var datagrams: Array[PackedByteArray] = []
	if now >= session.timeout_at():
		if _may_come_back():
			_lose(now)
			return _handshake.poll(now)
		_disconnect(RelayWire.ByeReason.TIMEOUT, PackedByteArray())
		return datagrams
	session.expire(now)
	if _path_response_at < INF:
		datagrams.append(_path_response)
		_path_response_at = INF
	if now >= session.speak_at():
		datagrams.append(session.build_word(now))
	return datagrams


func _poll_bye(now: float) -> Array[PackedByteArray]:
	if now < _bye_at:
		return []
	if _byes_left == 0:
		_bye_at = INF  # no WELCOME came
		return []
	_byes_left -= 1
	_bye_at = now + BYE_INTERVAL_S if _byes_left > 0 else _lingers_until
	return [_bye]
