extends RefCounted
## Signals both ways (SPEC 10): at most once, never sent again, newest-first on request.

const Events := preload("relay_events.gd")
const Parcel := preload("relay_parcel.gd")
const Records := preload("relay_records.gd")
const Sequence := preload("relay_sequence.gd")
const Targets := preload("relay_targets.gd")
const Wire := preload("generated_wire.gd")

## Fragments that wait to be sent; then the oldest signal is dropped (chosen).
const MAX_QUEUED := 256
## Signals that wait for the log (SPEC 10).
const MAX_HELD := 256
## Longest wait of a signal for the log, seconds (SPEC 10).
const HOLD_S := 2.0
## Fragmented signals being put together; then the oldest is dropped (chosen).
const MAX_UNFINISHED := 64


## Signals that the game has queued and no DATA has carried yet.
class Outgoing:
	extends RefCounted
	## Signals that were dropped because the queue was full.
	var num_dropped := 0
	var _queue: Array[Array] = []  # per signal the bodies that are left to send
	var _num_bodies := 0
	var _sequence := 0

	## Fragments that wait to be sent.
	func num_waiting() -> int:
		return _num_bodies

	## Cuts a signal into fragments and queues them; the oldest give way when too many wait.
	## [param header] has kind, channel, target, flags and after_message; the caller checked them.
	func queue(
		payload: PackedByteArray, header: Wire.SignalUpHeader, players: PackedInt32Array
	) -> Error:
		var size := Parcel.fragment_bytes(Wire.SignalUpHeader.SIZE, players.size())
		var pieces := Targets.split(payload, size)
		if pieces.size() > Wire.MAX_SIGNAL_FRAGMENTS:
			return ERR_INVALID_PARAMETER
		_sequence += 1
		header.sequence = _sequence & 0xFFFF
		header.target_count = players.size()
		var targets := Targets.encode(players)
		var bodies := []
		for number in pieces.size():
			header.fragment = pieces.size() - 1 << 4 | number
			var body := header.encode()
			body.append_array(targets)
			body.append_array(pieces[number])
			bodies.append(body)
		_queue.append(bodies)
		_num_bodies += bodies.size()
		while _num_bodies > MAX_QUEUED:
			_num_bodies -= _queue.pop_front().size()
			num_dropped += 1
		return OK

	## Moves what fits into a DATA, in order; it is never sent again.
	func pack(parcel: Parcel) -> void:
		while not _queue.is_empty() and parcel.fits(_queue[0][0].size()):
			parcel.add(Wire.DataSection.SIGNAL, _queue[0].pop_front())
			_num_bodies -= 1
			if _queue[0].is_empty():
				_queue.pop_front()


class Held:
	extends RefCounted
	var part: Records.SignalPart
	## Whole log index that must have been handed over first.
	var position := 0
	var expires_at := 0.0


## Signals that arrive: put together, held until the log is there, checked for newest-first.
##
## A signal may overtake its sender's PLAYER_JOINED, and a late one may follow its PLAYER_LEFT: the
## game hears of members only, so the first waits and the second is dropped.
class Incoming:
	extends RefCounted
	## Signals not handed over because a newer one had been: normal for NEWEST_FIRST.
	var num_superseded := 0
	## Fragmented signals that never became whole and had to make room.
	var num_unfinished_dropped := 0
	var _dropped: Dictionary
	var _members: Dictionary
	var _left := {}  # player id -> true: ids whose last player left
	var _unfinished := {}  # sender << 16 | sequence -> Dictionary of number -> part
	var _held: Array[Held] = []
	var _newest := {}  # sender << 8 | channel -> newest sequence, whole

	## [param members]: player ids announced at `done`, kept up to date by the roster.
	func _init(dropped: Dictionary, members: Dictionary) -> void:
		_dropped = dropped
		_members = members

	## Takes a section that arrived; hands it over if it is whole and due. [param done]: everything
	## up to this log index has been handed over.
	func take(part: Records.SignalPart, done: int, now: float, events: Array) -> void:
		if _left.has(part.sender):
			_drop(Wire.DropReason.SIGNAL_LATE, 1)
			return
		var whole := _assemble(part)
		if whole == null:
			return
		var waiting := Held.new()
		waiting.part = whole
		waiting.expires_at = now + HOLD_S
		if whole.flags & Wire.SignalFlag.AFTER_LOG:
			waiting.position = Sequence.extend(whole.position, done)
		if _is_due(waiting, done):
			_hand_over(whole, events)
		elif _held.size() >= MAX_HELD:
			_drop(Wire.DropReason.SIGNAL_QUEUE_FULL, 1)
		else:
			_held.append(waiting)

	## Hands over what waited for the log up to [param done], in order of arrival; drops what waited
	## too long.
	func release(done: int, now: float, events: Array) -> void:
		if _held.is_empty():
			return
		var kept: Array[Held] = []
		for waiting in _held:
			if waiting.expires_at <= now:
				_drop(Wire.DropReason.SIGNAL_LATE, 1)
			elif _is_due(waiting, done):
				_hand_over(waiting.part, events)
			else:
				kept.append(waiting)
		_held = kept

	## A player was announced: what it sent may be handed over.
	func on_joined(sender: int) -> void:
		_left.erase(sender)

	## A player has gone: what is still here of it is dropped; who gets its id next starts anew.
	func on_left(sender: int) -> void:
		_left[sender] = true
		for key: int in _newest.keys():
			if key >> 8 == sender:
				_newest.erase(key)
		for key: int in _unfinished.keys():
			if key >> 16 == sender:
				_unfinished.erase(key)
		var kept: Array[Held] = []
		for waiting in _held:
			if waiting.part.sender != sender:
				kept.append(waiting)
		_drop(Wire.DropReason.SIGNAL_LATE, _held.size() - kept.size())
		_held = kept

	func _drop(reason: Wire.DropReason, count: int) -> void:
		if count > 0:
			_dropped[reason] = _dropped.get(reason, 0) + count

	func _is_due(waiting: Held, done: int) -> bool:
		return waiting.position <= done and _members.has(waiting.part.sender)

	func _assemble(part: Records.SignalPart) -> Records.SignalPart:
		if part.last == 0:
			return part
		var key := part.sender << 16 | part.sequence
		if not _unfinished.has(key):
			_unfinished[key] = {}
		var parts: Dictionary = _unfinished[key]
		parts[part.number] = part
		if parts.size() <= part.last:
			if _unfinished.size() > MAX_UNFINISHED:
				_unfinished.erase(_unfinished.keys()[0])
				num_unfinished_dropped += 1
			return null
		_unfinished.erase(key)
		var numbers := parts.keys()
		numbers.sort()
		var payload := PackedByteArray()
		for number: int in numbers:
			payload.append_array(parts[number].payload)
		part.payload = payload
		return part

	func _hand_over(part: Records.SignalPart, events: Array) -> void:
		var key := part.sender << 8 | part.channel
		var newest: int = _newest.get(key, part.sequence - 1)
		var sequence := Sequence.extend(part.sequence, newest)
		if sequence <= newest and part.flags & Wire.SignalFlag.NEWEST_FIRST:
			num_superseded += 1
			return
		_newest[key] = maxi(sequence, newest)
		var event := Events.SignalReceived.new()
		event.sender = part.sender
		event.kind = part.kind
		event.channel = part.channel
		event.payload = part.payload
		event.sequence = part.sequence
		events.append(event)
