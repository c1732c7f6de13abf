extends RefCounted
## Our log messages on their way up (SPEC 9): numbered, windowed, repeated until acknowledged.
##
## Few bytes are repeated in every DATA, so that a lost packet costs no round trip. Many are sent
## again only after a round trip and a half, and only those that did not arrive. What arrived behind
## a gap is kept until the gap is filled, for the server forgets it when a session is resumed. New
## ones are not sent faster than the relay takes them (messages_per_s), for what it refuses is sent
## in vain.

const RelayAcks := preload("relay_acks.gd")
const RelayParcel := preload("relay_parcel.gd")
const RelaySequence := preload("relay_sequence.gd")
const RelayTargets := preload("relay_targets.gd")
const RelayWire := preload("generated_wire.gd")

## Payload bytes waiting up to which every DATA repeats them (SPEC 9).
const REPEAT_MAX_BYTES := 512
## Otherwise each is sent again after 1.5 round trips and 50 ms (SPEC 9).
const RETRY_RTTS := 1.5
const RETRY_EXTRA_S := 0.050
## Round trip until one has been measured, seconds (chosen: a slow one, so that the first repeats
## are not a flood).
const DEFAULT_RTT_S := 0.2
const LARGE_FRAGMENTS := 16
## Where a message's header has its kind and its flags.
const _KIND_AT := 2
const _FLAGS_AT := 3
## A message of more than 16 fragments ends with a short one (SPEC 9): others wait for it alone.
const LAST_BYTES := 256
## Payload that may wait: four of the largest messages (chosen).
const MAX_WAITING_BYTES := 4 << 20
const MAX_MESSAGE_FRAGMENTS := RelayWire.MAX_MESSAGE_BYTES / RelayWire.MAX_FRAGMENT_BYTES

## Whole id of the last message queued; `message_id` of WELCOME if none was.
var last_id: int
var num_resent := 0
var _acked_id: int
var _sent_id: int
var _credit_id: int
var _waiting := {}  # whole message id -> Waiting, ascending
var _arrived := {}  # whole message id -> Waiting, arrived behind a gap
var _waiting_bytes := 0
var _large: Array[Array] = []  # [first id, last id] of messages of many fragments
var _messages_per_s: float
var _budget: float
var _budget_at := -INF


class RelayWaiting:
	extends RefCounted
	var message_id := 0
	## The section's body, ready to send.
	var body: PackedByteArray
	var payload_bytes := 0
	## When it is to be sent (again), seconds.
	var due_at := 0.0
	var is_sent := false


func _init(message_id: int, message_credit: int, messages_per_s: int) -> void:
	last_id = message_id
	_acked_id = message_id
	_sent_id = message_id
	_credit_id = RelaySequence.extend(message_credit, message_id)
	_messages_per_s = maxf(messages_per_s, 1.0)
	_budget = _messages_per_s


## Whole id of the newest message that the server has accepted, as far as we know.
func acked_id() -> int:
	return _acked_id


## Whether a WELCOME's message id (16 bits) is of something sent, and not below what was
## acknowledged.
func continues(message_id: int) -> bool:
	var accepted_id := RelaySequence.extend(message_id, _acked_id)
	return _acked_id <= accepted_id and accepted_id <= _sent_id


## A new session goes on where an old one ended: [param message_id] was accepted last, all above it
## is sent again by the same numbers.
func go_on(message_id: int, message_credit: int) -> void:
	on_acked(message_id, 0, message_credit)
	_waiting.merge(_arrived)
	var ids := _waiting.keys()
	ids.sort()
	var waiting := {}
	for id: int in ids:
		waiting[id] = _waiting[id]
		waiting[id].due_at = 0.0
	_waiting = waiting
	for message: RelayWaiting in _arrived.values():
		_waiting_bytes += message.payload_bytes
	_arrived.clear()


## Messages and fragments that are not acknowledged.
func num_waiting() -> int:
	return _waiting.size()


## Id up to which messages may go now: inside the window, the credit and the budget, as [method due]
## found it.
func newest_permitted() -> int:
	var by_budget := _sent_id + maxi(floori(_budget), 0)
	return mini(by_budget, mini(_acked_id + RelayWire.MESSAGE_WINDOW, _credit_id))


## Cuts a message into fragments and queues them. The caller checked the numbers.
func queue(
	payload: PackedByteArray,
	kind: int,
	channel: int,
	target: int,
	players: PackedInt32Array,
	flags: int = 0
) -> Error:
	if payload.size() > RelayWire.MAX_MESSAGE_BYTES:
		return ERR_INVALID_PARAMETER
	var pieces := _cut(payload, players.size())
	var must_be_one := flags != 0 or kind >= RelayWire.FIRST_REQUEST_KIND
	if pieces.size() > (1 if must_be_one else MAX_MESSAGE_FRAGMENTS):
		return ERR_INVALID_PARAMETER
	if flags != 0 and payload.size() > RelayWire.MAX_KEPT_MESSAGE_BYTES:
		return ERR_INVALID_PARAMETER
	if _waiting_bytes + payload.size() > MAX_WAITING_BYTES:
		return ERR_OUT_OF_MEMORY
	if pieces.size() > LARGE_FRAGMENTS:
		_large.append([last_id + 1, last_id + pieces.size()])
	for number in pieces.size():
		last_id += 1
		var header := RelayWire.RelayMessageHeader.new()
		header.message_id = last_id & 0xFFFF
		header.kind = kind
		header.flags = flags
		header.channel = channel
		header.more = int(number < pieces.size() - 1)
		var body: PackedByteArray
		if number == 0:  # SPEC 9: the target of the first counts
			header.target = target
			header.target_count = players.size()
			body = header.encode()
			body.append_array(RelayTargets.encode(players))
		else:
			body = header.encode()
		body.append_array(pieces[number])
		_wait(body, pieces[number].size())
	_waiting_bytes += payload.size()
	return OK


## Id of the last message before the oldest large one that is under way; of the last one if none is.
func last_before_large() -> int:
	while not _large.is_empty() and _large[0][1] <= _acked_id:
		_large.pop_front()
	return last_id if _large.is_empty() else _large[0][0] - 1


## Tells whether a `message_ack` (16 bits) is of something that was sent.
func may_be_acked(message_ack: int) -> bool:
	var acked_id := RelaySequence.extend(message_ack, _sent_id)
	return acked_id >= 0 and acked_id <= _sent_id


## Uses the fields of the newest UPDATE: highest accepted, what came after it, highest permitted.
func on_acked(message_ack: int, message_bits: int, message_credit: int) -> void:
	var acked_id := RelaySequence.extend(message_ack, _sent_id)
	for message_id in range(_acked_id + 1, acked_id + 1):
		_settle(message_id)
		_arrived.erase(message_id)
	_acked_id = maxi(_acked_id, acked_id)
	var message_id := acked_id
	while message_bits:
		message_id += 1
		if message_bits & 1:
			_settle(message_id)
		message_bits >>= 1
	_credit_id = RelaySequence.extend(message_credit, acked_id)


## Lists what one tick has to send, in order: inside the window, the credit and the budget.
func due(now: float) -> Array[RelayWaiting]:
	var todo: Array[RelayWaiting] = []
	if _waiting.is_empty():
		return todo
	_budget = minf(_messages_per_s, _budget + (now - _budget_at) * _messages_per_s)
	_budget_at = now
	var limit := newest_permitted()
	var repeats_all := _waiting_bytes <= REPEAT_MAX_BYTES
	for message_id: int in _waiting:
		if message_id > limit:
			break
		var message: RelayWaiting = _waiting[message_id]
		if repeats_all or message.due_at <= now:
			todo.append(message)
	return todo


## Tells whether a message that was never sent may go now.
func has_unsent() -> bool:
	return _sent_id < mini(last_id, newest_permitted())


## Puts as many of [param todo] as fit into a DATA, in order. Returns those that did not fit.
func pack(
	todo: Array[RelayWaiting], parcel: RelayParcel, now: float, rtt_s: float
) -> Array[RelayWaiting]:
	var retry_s := RETRY_RTTS * (rtt_s if rtt_s >= 0 else DEFAULT_RTT_S) + RETRY_EXTRA_S
	for position in todo.size():
		var message := todo[position]
		if not parcel.fits(message.body.size()):
			return todo.slice(position)
		parcel.add(RelayWire.DataSection.MESSAGE, message.body)
		if message.is_sent:
			num_resent += 1
		else:
			_budget -= _cost(message.body)
		message.is_sent = true
		message.due_at = now + retry_s
		_sent_id = maxi(_sent_id, message.message_id)
	return []


func _wait(body: PackedByteArray, payload_bytes: int) -> void:
	var message := RelayWaiting.new()
	message.message_id = last_id
	message.body = body
	message.payload_bytes = payload_bytes
	_waiting[last_id] = message


## What a message counts as in the relay's budget: header and flags tell.
static func _cost(body: PackedByteArray) -> int:
	var asks := body[_KIND_AT] >= RelayWire.FIRST_REQUEST_KIND
	var is_kept := body[_FLAGS_AT] & RelayWire.MessageFlag.KEEP != 0
	return RelayWire.SPECIAL_MESSAGE_COST if asks or is_kept else 1


func _settle(message_id: int) -> void:
	# A bit for an id that was never sent is nothing that a correct server sets.
	if message_id > _sent_id:
		return
	var message: RelayWaiting = _waiting.get(message_id)
	if message != null:
		_waiting.erase(message_id)
		_waiting_bytes -= message.payload_bytes
		_arrived[message_id] = message


## Cuts a payload; the first piece shares its DATA with the list of players and may be shorter.
static func _cut(payload: PackedByteArray, num_players: int) -> Array[PackedByteArray]:
	var first_bytes := RelayParcel.fragment_bytes(RelayWire.RelayMessageHeader.SIZE, num_players)
	var pieces: Array[PackedByteArray] = [payload.slice(0, first_bytes)]
	if payload.size() > first_bytes:
		var size := RelayParcel.fragment_bytes(RelayWire.RelayMessageHeader.SIZE, 0)
		pieces.append_array(RelayTargets.split(payload.slice(first_bytes), size))
	var is_large := pieces.size() > LARGE_FRAGMENTS and pieces.size() < MAX_MESSAGE_FRAGMENTS
	if is_large and pieces[-1].size() > LAST_BYTES:
		var last: PackedByteArray = pieces.pop_back()
		pieces.append(last.slice(0, -LAST_BYTES))
		pieces.append(last.slice(-LAST_BYTES))
	return pieces
