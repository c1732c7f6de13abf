# gdlint: disable=max-public-methods
extends RefCounted
## What a client is from WELCOME to the end: the parts of a session and the datagrams they share
## (SPEC 5, 7 to 11). A client that comes back gets a new one, which takes over parts of the old.
##
## Down: [method handle_update] runs the checks of SPEC 11 in their order, then moves the window,
## and only then lets the parts see what came. Up: [method build_tick] lets the parts fill at most
## two DATA. In the first, states and signals go before messages; in the second it is the other way
## round: so neither many states nor a large message can starve the other.

const RelayAcks := preload("relay_acks.gd")
const RelayClock := preload("relay_clock.gd")
const RelayEvents := preload("relay_events.gd")
const RelayHandshake := preload("relay_handshake.gd")
const RelayLog := preload("relay_log.gd")
const RelayOutbox := preload("relay_outbox.gd")
const RelayParcel := preload("relay_parcel.gd")
const RelayProofs := preload("relay_proofs.gd")
const RelayRecords := preload("relay_records.gd")
const RelayRoomFacts := preload("relay_room_facts.gd")
const RelayRoster := preload("relay_roster.gd")
const RelaySequence := preload("relay_sequence.gd")
const RelaySignals := preload("relay_signals.gd")
const RelayTable := preload("relay_table.gd")
const RelayTargets := preload("relay_targets.gd")
const RelayUploads := preload("relay_uploads.gd")
const RelayWire := preload("generated_wire.gd")

## Events that may wait for the game (chosen: minutes of a busy room). Then UPDATEs are dropped
## unacknowledged, so that the server keeps what they held.
const MAX_EVENTS := 16384

const _MS := 0.001
const _MAY_CHANGE_OWNERS: Array[int] = [
	RelayWire.EntryKind.PLAYER_JOINED,
	RelayWire.EntryKind.PLAYER_LEFT,
	RelayWire.EntryKind.HOST_CHANGED,
	RelayWire.EntryKind.ROSTER,
	RelayWire.EntryKind.PLAYER_AWAY,
	RelayWire.EntryKind.PLAYER_BACK,
	RelayWire.EntryKind.ENTITY_OWNER,
	RelayWire.EntryKind.OWNERS,
	RelayWire.EntryKind.ROOM_READY,
]

var welcome: RelayWire.RelayWelcomeFields
## The server's newest tick that we know of.
var tick: int
var receipts := RelayAcks.RelayReceipts.new()
var flight := RelayAcks.RelayFlight.new()
var clock: RelayClock
var table: RelayTable
var room: RelayRoomFacts
## Of the room.
var roster: RelayRoster
var inbox: RelayLog
var signals_in: RelaySignals.RelayIncoming
var signals_out := RelaySignals.RelayOutgoing.new()
var uploads := RelayUploads.new()
var outbox: RelayOutbox
var _shape := RelayRecords.RelayRoomShape.new()
var _shard: int
var _dropped: Dictionary
var _events: Array
var _keepalive_s: float
var _timeout_s: float
var _received_at: float
var _sent_at: float
var _when_whole: RefCounted  # what is told when the room is whole; null when it was


## [param silence_s]: silence after which the connection is lost; 0 = what the WELCOME says.
func _init(
	fields: RelayWire.RelayWelcomeFields,
	now: float,
	dropped: Dictionary,
	events: Array,
	silence_s: float
) -> void:
	welcome = fields
	if fields.resumed == RelayWire.Resumed.NO:
		_when_whole = RelayEvents.RelayJoined.new()
	else:
		_when_whole = RelayEvents.RelayResumed.new()
		_when_whole.is_afresh = fields.resumed == RelayWire.Resumed.AFRESH
	tick = fields.tick
	_dropped = dropped
	_events = events
	_received_at = now
	_sent_at = now
	_shape.player_slots = fields.player_slots
	_shape.num_ids = fields.player_slots * fields.entities_per_player
	_shape.page_ids = fields.page_ids
	_shape.max_state_bytes = fields.max_state_bytes
	_shard = RelayProofs.shard_of(RelayHandshake.code_of(fields))
	# A server that asks for a keepalive of 1 ms must not turn its clients into a flood.
	_keepalive_s = maxf(fields.keepalive_ms * _MS, RelayWire.ACK_WITHIN_S)
	_timeout_s = fields.timeout_ms * _MS
	if silence_s > 0.0:
		_timeout_s = minf(_timeout_s, silence_s)
	clock = RelayClock.new(fields.tick_rate, now)
	clock.add(fields.tick, now)
	room = RelayRoomFacts.new(_shape)
	roster = room.roster
	table = RelayTable.new(_shape, fields.tick_rate, room.is_owner_known)
	inbox = RelayLog.new(fields.log_index)
	signals_in = RelaySignals.RelayIncoming.new(dropped, roster.members)
	outbox = RelayOutbox.new(fields.message_id, fields.message_credit, fields.messages_per_s)


## Goes on where an old session of the same player ended (SPEC 4, Coming back), with all that it was
## told and has to say.
func go_on(former: RefCounted) -> void:
	if not former.is_whole():
		_when_whole = former._when_whole
	tick = maxi(tick, former.tick)
	room = former.room
	room.listed_pages = null
	roster = former.roster
	table = former.table
	table.begin_session()
	inbox = former.inbox
	signals_in = former.signals_in
	signals_out = former.signals_out
	uploads = former.uploads
	uploads.repeat_all()
	outbox = former.outbox
	outbox.go_on(welcome.message_id, welcome.message_credit)


## Whether a WELCOME that says CONTINUED can be of this session's player, room and log.
func continues(fields: RelayWire.RelayWelcomeFields) -> bool:
	return (
		_is_same_place(fields)
		and fields.log_index <= inbox.cursor
		and outbox.continues(fields.message_id)
	)


## Begins after an old session of the same player of which too much was missed: what it published is
## published again, messages that were not acknowledged are lost.
func begin_afresh(former: RefCounted) -> void:
	if former._when_whole is RelayEvents.RelayJoined:
		_when_whole = former._when_whole
	var accepted_id := RelaySequence.extend(welcome.message_id, former.outbox.acked_id())
	outbox = RelayOutbox.new(maxi(accepted_id, 0), welcome.message_credit, welcome.messages_per_s)
	if former._is_same_place(welcome):
		uploads = former.uploads
		uploads.repeat_all()
		for entity_id: int in uploads.ids():
			table.hide(entity_id)


func _is_same_place(fields: RelayWire.RelayWelcomeFields) -> bool:
	return (
		fields.player_id == welcome.player_id
		and fields.player_slots == welcome.player_slots
		and fields.entities_per_player == welcome.entities_per_player
		and fields.max_state_bytes == welcome.max_state_bytes
		and fields.page_ids == welcome.page_ids
	)


## Whether the game has been told all that a joiner is told.
func is_whole() -> bool:
	return _when_whole == null


## Tells when the connection is lost if nothing arrives, seconds.
func timeout_at() -> float:
	return _received_at + _timeout_s


## Whether an entity of the room is ours to publish.
func owns(entity_id: int) -> bool:
	return room.owns(welcome.player_id, entity_id)


## Sets the newest state of an entity that is ours.
func publish(entity_id: int, state: PackedByteArray, now: float) -> void:
	uploads.publish(entity_id, state, int(server_time(now) * 1000.0))
	table.hide(entity_id)


## Takes an entity that is ours out of the table.
func remove(entity_id: int) -> void:
	uploads.remove(entity_id, table.states().has(entity_id))
	table.hide(entity_id)


## Tells when a DATA must go out at the latest: an acknowledgement or a keepalive.
func speak_at() -> float:
	return minf(receipts.due_at, _sent_at + _keepalive_s)


## Estimates the server's time, seconds.
func server_time(now: float) -> float:
	return clock.server_time(now, maxf(flight.rtt_s, 0.0))


## Smoothed time to the server and back, seconds; -1 until measured.
func round_trip_s() -> float:
	return flight.rtt_s


## Share of the server's datagrams that got lost lately, 0 to 1.
func loss_down() -> float:
	return receipts.loss_meter.loss()


## Share of our datagrams that got lost lately, 0 to 1.
func loss_up() -> float:
	return flight.loss_meter.loss()


## Takes an UPDATE: OK, or a drop reason; then nothing has changed.
func handle_update(data: PackedByteArray, now: float) -> int:
	var header := RelayWire.RelayUpdateHeader.decode(data)
	if header == null:
		return RelayWire.DropReason.TOO_SHORT
	if header.session != welcome.session:
		return RelayWire.DropReason.UNKNOWN_SESSION
	if _events.size() >= MAX_EVENTS:
		return RelayWire.DropReason.HOLD_FULL
	var seq := RelaySequence.extend(header.seq, receipts.window.newest)
	match receipts.window.check(seq):
		RelaySequence.RelayReceiveWindow.RelayVerdict.DUPLICATE:
			return RelayWire.DropReason.DUPLICATE
		RelaySequence.RelayReceiveWindow.RelayVerdict.TOO_OLD:
			return RelayWire.DropReason.TOO_OLD
	return _handle_fresh(data, header, seq, now)


func _handle_fresh(
	data: PackedByteArray, header: RelayWire.RelayUpdateHeader, seq: int, now: float
) -> int:
	if not flight.may_be_acked(header) or not outbox.may_be_acked(header.message_ack):
		return RelayWire.DropReason.BAD_ACK
	var sections := RelayRecords.read_sections(data, _shape)
	if sections == null or not table.fits(header.tick, sections.pages):
		return RelayWire.DropReason.BAD_SECTION
	var is_newest := seq > receipts.window.newest
	receipts.accept(seq, now, data.size() == RelayWire.RelayUpdateHeader.SIZE)
	_received_at = maxf(_received_at, now)
	tick = maxi(tick, header.tick)
	clock.add(header.tick, now)
	if is_newest:
		uploads.on_acked(flight.on_acked(header, now))
		outbox.on_acked(header.message_ack, header.message_bits, header.message_credit)
	_apply(header.tick, sections, now)
	return OK


## Answers a challenge: proves to the server that we are at the address it went to.
func handle_path_challenge(challenge: int, now: float) -> PackedByteArray:
	_received_at = maxf(_received_at, now)
	var response := RelayWire.RelayPathResponse.new()
	response.kind = RelayWire.Kind.PATH_RESPONSE
	response.shard = _shard
	response.session = welcome.session
	response.challenge = challenge
	response.proof = RelayProofs.path_proof(welcome.secret, challenge, welcome.session)
	return response.encode()


## Builds the datagram that ends the session on our side.
func build_bye(reason: RelayWire.ByeReason) -> PackedByteArray:
	var bye := RelayWire.RelayBye.new()
	bye.kind = RelayWire.Kind.BYE
	bye.shard = _shard
	bye.session = welcome.session
	bye.reason = reason
	return bye.encode()


## Tells whether a reset token is the one from WELCOME, in constant time.
func is_own_reset(reset_token: PackedByteArray) -> bool:
	return Crypto.new().constant_time_compare(welcome.reset_token, reset_token)


## Drops signals that waited too long for the log.
func expire(now: float) -> void:
	signals_in.release(inbox.done, now, _events)


func _apply(update_tick: int, sections: RelayRecords.RelaySections, now: float) -> void:
	table.apply(update_tick, sections.pages, _events)
	# What waits for no entry goes first: a signal that was sent before an entry of the same UPDATE
	# must not be seen after it.
	var waiting: Array[RelayRecords.RelaySignalPart] = []
	for part: RelayRecords.RelaySignalPart in sections.signal_parts:
		if signals_in.is_reached(part, inbox.done):
			signals_in.take(part, inbox.done, now, _events)
		else:
			waiting.append(part)
	for part: RelayRecords.RelayLogRange in sections.ranges:
		for entry in inbox.take(part):
			_hand_over(entry)
	signals_in.release(inbox.done, now, _events)
	for part in waiting:
		signals_in.take(part, inbox.done, now, _events)
	_tell_when_whole()


func _hand_over(entry: RelayRecords.RelayEntry) -> void:
	var told := []
	var is_message := entry.kind >= 1 and entry.kind <= RelayTargets.MAX_MESSAGE_KIND
	var is_fine := (
		_read_message(entry, told) if is_message else room.apply(entry, outbox.acked_id(), told)
	)
	if not is_fine:
		_dropped[RelayWire.DropReason.MALFORMED] = (
			_dropped.get(RelayWire.DropReason.MALFORMED, 0) + 1
		)
		return
	for event: RefCounted in told:
		_events.append(event)
		_follow(event, entry.log_index)
	if entry.kind in _MAY_CHANGE_OWNERS:
		_settle()


## Appends the event of a player's message. Returns false if it is malformed.
static func _read_message(entry: RelayRecords.RelayEntry, events: Array) -> bool:
	var event := RelayEvents.RelayMessageReceived.new()
	event.sender = entry.sender
	event.kind = entry.kind
	event.channel = entry.channel
	event.payload = entry.payload
	event.flags = entry.flags
	event.index = entry.log_index
	if entry.flags & RelayWire.MessageFlag.KEPT:
		var copy := RelayWire.RelayKeptCopy.decode(entry.payload)
		if copy == null:
			return false
		event.payload = copy.payload
		event.index = copy.log_index
	events.append(event)
	return true


## Lets the other parts know of who comes and goes.
func _follow(event: RefCounted, index: int) -> void:
	if event is RelayEvents.RelayPlayerJoined:
		event.index = index
		signals_in.on_joined(event.player_id)
		room.owners.on_joined(event.player_id, _events)
	elif event is RelayEvents.RelayPlayerLeft:
		signals_in.on_left(event.player_id)
		room.properties.forget(event.player_id)
		room.owners.on_left(event.player_id, _events)
	elif event is RelayEvents.RelayPlayerBack:
		if event.is_afresh:
			signals_in.on_counts_anew(event.player_id)


## Lets go of what is not ours any more, and shows what has an owner now.
func _settle() -> void:
	if room.is_told:  # before, we do not know what was handed over to us
		for entity_id: int in table.own_ids():
			if not owns(entity_id):
				uploads.forget(entity_id)
				table.give_up(entity_id)
	table.show(_events)


## Tells that the room is whole, once, when ROOM_READY and all pages that it lists have come.
func _tell_when_whole() -> void:
	if _when_whole == null or room.listed_pages == null:
		return
	for page: int in room.listed_pages:
		if not table.has_seen(page):
			return
	_events.append(_when_whole)
	_when_whole = null


## Packs what is due into at most two DATA; none if nothing is due and no acknowledgement is owed.
## [param max_datagrams] 1: what does not fit waits.
func build_tick(now: float, max_datagrams: int = 2) -> Array[PackedByteArray]:
	var states := uploads.due()
	var messages := outbox.due(now)
	var datagrams: Array[PackedByteArray] = []

	var first := _open_parcel()
	states = uploads.pack(states, first, flight.newest + 1)
	signals_out.pack(first, outbox.newest_permitted())
	messages = outbox.pack(messages, first, now, flight.rtt_s)
	if not first.is_empty or receipts.is_owed():
		datagrams.append(_seal(first, now))

	var is_more := not states.is_empty() or not messages.is_empty() or _has_due_signals()
	if is_more and max_datagrams > 1:
		datagrams.append(_build_messages_first(states, messages, now))
	return datagrams


## Packs what the game has just sent into one DATA, without waiting for the tick: messages, then
## signals, then what fits of the states. None if neither a message nor a signal is due.
func build_flush(now: float) -> Array[PackedByteArray]:
	var messages := outbox.due(now)
	if messages.is_empty() and not _has_due_signals():
		return []
	return [_build_messages_first(uploads.due(), messages, now)]


## Tells whether messages or signals wait that have not been sent at all and may go now.
func has_unsent() -> bool:
	return _has_due_signals() or outbox.has_unsent()


## Builds a DATA that only acknowledges: what is owed between ticks, and the keepalive.
func build_word(now: float) -> PackedByteArray:
	return _seal(_open_parcel(), now)


func _has_due_signals() -> bool:
	return signals_out.has_due(outbox.newest_permitted())


func _build_messages_first(
	states: Array[RelayUploads.RelayEntity], messages: Array[RelayOutbox.RelayWaiting], now: float
) -> PackedByteArray:
	var parcel := _open_parcel()
	outbox.pack(messages, parcel, now, flight.rtt_s)
	signals_out.pack(parcel, outbox.newest_permitted())
	uploads.pack(states, parcel, flight.newest + 1)
	return _seal(parcel, now)


func _open_parcel() -> RelayParcel:
	var parcel := RelayParcel.new()
	var log_bits := inbox.log_bits()
	if not log_bits.is_empty():
		parcel.add(RelayWire.DataSection.LOG_BITS, log_bits)
	return parcel


## Puts the header before a parcel and counts the datagram as sent.
func _seal(parcel: RelayParcel, now: float) -> PackedByteArray:
	var header := RelayWire.RelayDataHeader.new()
	header.kind = RelayWire.Kind.DATA
	header.shard = _shard
	header.session = welcome.session
	receipts.report(header, now)
	header.seq = flight.add(now, parcel.states) & 0xFFFF
	header.log_cursor = inbox.cursor
	_sent_at = now
	var data := header.encode()
	data.append_array(parcel.body)
	return data
