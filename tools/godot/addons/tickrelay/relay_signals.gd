extends RefCounted
## Signals both ways (SPEC 10): at most once, never sent again, newest-first on request.

const RelayEvents := preload("relay_events.gd")
const RelayParcel := preload("relay_parcel.gd")
const RelayRecords := preload("relay_records.gd")
const RelaySequence := preload("relay_sequence.gd")
const RelayTargets := preload("relay_targets.gd")
const RelayWire := preload("generated_wire.gd")

## Fragments that wait to be sent; then the oldest signal is dropped (chosen).
const MAX_QUEUED := 256
## Signals that wait for the log (SPEC 10).
const MAX_HELD := 256
## Longest wait of a signal for the log, seconds (SPEC 10).
const HOLD_S := 2.0
## How long a sequence number means the same signal, seconds (SPEC 10): nothing is under way for
## longer, and 65,536 signals later it is another one's.
const REMEMBERED_S := 5.0
## Fragmented signals being put together; then the oldest is dropped (chosen).
const MAX_UNFINISHED := 64


## Signals that the game has queued and no DATA has carried yet.
class RelayUnsent:
	extends RefCounted
	## Whole id of the message that it follows; 0 = none.
	var after := 0
	## Fragments that are left to send.
	var bodies: Array[PackedByteArray] = []


class RelayOutgoing:
	extends RefCounted
	## Signals that were dropped because the queue was full.
	var num_dropped := 0
	var _queue: Array[RelayUnsent] = []
	var _num_bodies := 0
	var _sequence := 0

	## Fragments that wait to be sent.
	func num_waiting() -> int:
		return _num_bodies

	## Cuts a signal into fragments and queues them; the oldest give way when too many wait.
	## [param header] has kind, channel, target and flags; the caller checked them. [param after]:
	## with AFTER_LOG, the whole id of the message that it follows.
	func queue(
		payload: PackedByteArray,
		header: RelayWire.RelaySignalUpHeader,
		players: PackedInt32Array,
		after: int
	) -> Error:
		var size := RelayParcel.fragment_bytes(RelayWire.RelaySignalUpHeader.SIZE, players.size())
		var pieces := RelayTargets.split(payload, size)
		if pieces.size() > RelayWire.MAX_SIGNAL_FRAGMENTS:
			return ERR_INVALID_PARAMETER
		_sequence += 1
		header.sequence = _sequence & 0xFFFF
		header.target_count = players.size()
		var targets := RelayTargets.encode(players)
		header.after_message = after & 0xFFFF
		var unsent := RelayUnsent.new()
		unsent.after = after
		for number in pieces.size():
			header.fragment = pieces.size() - 1 << 4 | number
			var body := header.encode()
			body.append_array(targets)
			body.append_array(pieces[number])
			unsent.bodies.append(body)
		_queue.append(unsent)
		_num_bodies += unsent.bodies.size()
		while _num_bodies > MAX_QUEUED:
			_num_bodies -= _queue.pop_front().bodies.size()
			num_dropped += 1
		return OK

	## Tells whether [method pack] has anything to send.
	func has_due(newest_message: int) -> bool:
		for unsent in _queue:
			if unsent.after <= newest_message:
				return true
		return false

	## Moves what fits into a DATA, in order; it is never sent again. [param newest_message]: the
	## newest that the relay takes now. What follows a later one waits for that here: the relay
	## would drop it (SPEC 10).
	func pack(parcel: RelayParcel, newest_message: int) -> void:
		var waiting: Array[RelayUnsent] = []
		while not _queue.is_empty():
			var unsent := _queue[0]
			if unsent.after <= newest_message:
				while not unsent.bodies.is_empty() and parcel.fits(unsent.bodies[0].size()):
					parcel.add(RelayWire.DataSection.SIGNAL, unsent.bodies.pop_front())
					_num_bodies -= 1
				if not unsent.bodies.is_empty():
					break
			else:
				waiting.append(unsent)
			_queue.pop_front()
		_queue = waiting + _queue


class RelayUnfinished:
	extends RefCounted
	var begun_at := 0.0
	var parts := {}  # number -> fragment


class RelayHeld:
	extends RefCounted
	var part: RelayRecords.RelaySignalPart
	## Whole log index that must have been handed over first.
	var position := 0
	var expires_at := 0.0


## Signals that arrive: put together, held until the log is there, checked for newest-first.
##
## A signal may overtake its sender's PLAYER_JOINED, and a late one may follow its PLAYER_LEFT: the
## game hears of members only, so the first waits and the second is dropped.
class RelayIncoming:
	extends RefCounted
	## Signals not handed over because a newer one had been: normal for NEWEST_FIRST.
	var num_superseded := 0
	## Fragmented signals that never became whole and had to make room.
	var num_unfinished_dropped := 0
	var _dropped: Dictionary
	var _members: Dictionary
	var _left := {}  # player id -> true: ids whose last player left
	var _unfinished := {}  # sender << 16 | sequence -> RelayUnfinished
	var _held: Array[RelayHeld] = []
	var _newest := {}  # sender << 8 | channel -> [newest sequence, seconds when it came]

	## [param members]: player ids announced at `done`, kept up to date by the roster.
	func _init(dropped: Dictionary, members: Dictionary) -> void:
		_dropped = dropped
		_members = members

	## Takes a section that arrived; hands it over if it is whole and due. [param done]: everything
	## up to this log index has been handed over.
	func take(part: RelayRecords.RelaySignalPart, done: int, now: float, events: Array) -> void:
		if _left.has(part.sender):
			_drop(RelayWire.DropReason.SIGNAL_LATE, 1)
			return
		var whole := _assemble(part, now)
		if whole == null:
			return
		var waiting := RelayHeld.new()
		waiting.part = whole
		waiting.expires_at = now + HOLD_S
		if whole.flags & RelayWire.SignalFlag.AFTER_LOG:
			waiting.position = RelaySequence.extend(whole.position, done)
		if _is_due(waiting, done):
			_hand_over(whole, now, events)
		elif _held.size() >= MAX_HELD:
			_drop(RelayWire.DropReason.SIGNAL_QUEUE_FULL, 1)
		else:
			_held.append(waiting)

	## Tells whether a section waits for nothing when everything up to [param done] has been handed
	## over.
	func is_reached(part: RelayRecords.RelaySignalPart, done: int) -> bool:
		var position := 0
		if part.flags & RelayWire.SignalFlag.AFTER_LOG:
			position = RelaySequence.extend(part.position, done)
		return position <= done and _members.has(part.sender)

	## Hands over what waited for the log up to [param done], in order of arrival; drops what waited
	## too long.
	func release(done: int, now: float, events: Array) -> void:
		if _held.is_empty():
			return
		var kept: Array[RelayHeld] = []
		for waiting in _held:
			if waiting.expires_at <= now:
				_drop(RelayWire.DropReason.SIGNAL_LATE, 1)
			elif _is_due(waiting, done):
				_hand_over(waiting.part, now, events)
			else:
				kept.append(waiting)
		_held = kept

	## A player was announced: what it sent may be handed over.
	func on_joined(sender: int) -> void:
		_left.erase(sender)

	## A player counts its signals anew: what is here of earlier ones means others.
	func on_counts_anew(sender: int) -> void:
		for key: int in _newest.keys():
			if key >> 8 == sender:
				_newest.erase(key)
		for key: int in _unfinished.keys():
			if key >> 16 == sender:
				_unfinished.erase(key)

	## A player has gone: what is still here of it is dropped; who gets its id next starts anew.
	func on_left(sender: int) -> void:
		_left[sender] = true
		on_counts_anew(sender)
		var kept: Array[RelayHeld] = []
		for waiting in _held:
			if waiting.part.sender != sender:
				kept.append(waiting)
		_drop(RelayWire.DropReason.SIGNAL_LATE, _held.size() - kept.size())
		_held = kept

	func _drop(reason: RelayWire.DropReason, count: int) -> void:
		if count > 0:
			_dropped[reason] = _dropped.get(reason, 0) + count

	func _is_due(waiting: RelayHeld, done: int) -> bool:
		return waiting.position <= done and _members.has(waiting.part.sender)

	func _assemble(part: RelayRecords.RelaySignalPart, now: float) -> RelayRecords.RelaySignalPart:
		if part.last == 0:
			return part
		var key := part.sender << 16 | part.sequence
		var unfinished: RelayUnfinished = _unfinished.get(key)
		if unfinished == null or now - unfinished.begun_at > REMEMBERED_S:
			unfinished = RelayUnfinished.new()
			unfinished.begun_at = now
			_unfinished[key] = unfinished
		var parts := unfinished.parts
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

	func _hand_over(part: RelayRecords.RelaySignalPart, now: float, events: Array) -> void:
		var key := part.sender << 8 | part.channel
		var newest: Array = _newest.get(key, [0, -INF])
		var is_newer := RelaySequence.is_after(part.sequence, newest[0])
		if is_newer or now - newest[1] > REMEMBERED_S:
			_newest[key] = [part.sequence, now]
		elif part.flags & RelayWire.SignalFlag.NEWEST_FIRST:
			num_superseded += 1
			return
		var event := RelayEvents.RelaySignalReceived.new()
		event.sender = part.sender
		event.kind = part.kind
		event.channel = part.channel
		event.payload = part.payload
		event.sequence = part.sequence
		events.append(event)
