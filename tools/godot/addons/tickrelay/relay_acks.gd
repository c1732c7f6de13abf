extends RefCounted
## Acknowledgements both ways: what arrived and is owed a word, and the fate of ours (SPEC 5).

const RelaySequence := preload("relay_sequence.gd")
const RelayWire := preload("generated_wire.gd")

## Sent datagrams whose fate is still open. What an older one carried is sent again.
const REMEMBERED_DATAGRAMS := 256
## Weight of a new round-trip sample in the smoothed one (RFC 6298).
const RTT_SHARE := 1.0 / 8.0
## Datagrams that a loss estimate looks back on, roughly (chosen).
const LOSS_HORIZON := 256.0
## Round trip that is not known yet.
const UNKNOWN_S := -1.0


## Share of datagrams that got lost, over the last few hundred.
class RelayLossMeter:
	extends RefCounted
	var _num_expected := 0.0
	var _num_arrived := 0.0

	## Counts datagrams that should have arrived and those that did.
	func add(expected: int, arrived: int) -> void:
		_num_expected += expected
		_num_arrived += arrived
		if _num_expected > LOSS_HORIZON:
			var share := LOSS_HORIZON / 2 / _num_expected
			_num_expected *= share
			_num_arrived *= share

	## 0 ... 1; 0 before anything is known.
	func loss() -> float:
		return clampf(1.0 - _num_arrived / _num_expected, 0.0, 1.0) if _num_expected > 0 else 0.0


## What arrived of the server's datagrams, and the acknowledgement that is owed for it.
class RelayReceipts:
	extends RefCounted
	var window := RelaySequence.RelayReceiveWindow.new()
	## When an acknowledgement must be sent at the latest, seconds; INF = none is owed.
	var due_at := INF
	var loss_meter := RelayLossMeter.new()
	var _newest_at := 0.0
	var _num_owed := 0

	## An acknowledgement is owed, if not yet due.
	func is_owed() -> bool:
		return _num_owed > 0

	## Records a datagram that passed every check; a bare one never causes an acknowledgement.
	func accept(seq: int, now: float, is_bare: bool) -> void:
		var ahead := maxi(0, seq - window.newest)
		if ahead > 0:
			_newest_at = now
		loss_meter.add(ahead, 1)
		window.accept(seq)
		if is_bare:
			return
		_num_owed += 1
		if _num_owed == 1:
			due_at = now + RelayWire.ACK_WITHIN_S
		elif _num_owed >= RelayWire.ACK_WITHIN_DATAGRAMS:
			due_at = minf(due_at, now)

	## Fills in ack, ack_bits, ack_delay and flags; nothing is owed after.
	func report(header: RelayWire.RelayDataHeader, now: float) -> void:
		_num_owed = 0
		due_at = INF
		if window.newest == 0:
			header.flags = RelayWire.AckFlag.NOTHING_RECEIVED
			return
		header.ack = window.newest & 0xFFFF
		header.ack_bits = window.ack_bits()
		var delay_ms := roundi((now - _newest_at) * 1000.0)
		header.ack_delay = clampi(delay_ms, 0, RelayWire.ACK_DELAY_MAX_MS)


## Our own datagrams under way: numbers, send times, and the states that each carried.
class RelayFlight:
	extends RefCounted
	## Number of the newest datagram sent; 0 = none yet.
	var newest := 0
	## Smoothed round trip, seconds; UNKNOWN_S until measured.
	var rtt_s := UNKNOWN_S
	var loss_meter := RelayLossMeter.new()
	var _sent_at := {}  # seq -> seconds, ascending
	var _states := {}  # seq -> Dictionary of entity id -> version
	var _newest_acked := 0

	## Counts a datagram that is being sent; returns its number.
	func add(now: float, states: Dictionary) -> int:
		newest += 1
		_sent_at[newest] = now
		if not states.is_empty():
			_states[newest] = states
		if _sent_at.size() > REMEMBERED_DATAGRAMS:
			_drop(_sent_at.keys()[0])
		return newest

	## Tells whether a header acknowledges something that was sent, or nothing at all.
	func may_be_acked(header: RelayWire.RelayUpdateHeader) -> bool:
		if header.flags & RelayWire.AckFlag.NOTHING_RECEIVED:
			return true
		var ack := RelaySequence.extend(header.ack, newest)
		return ack >= 1 and ack <= newest

	## Uses the ack fields of the newest datagram received. Returns what has arrived: an Array of
	## Dictionaries entity id -> version.
	func on_acked(header: RelayWire.RelayUpdateHeader, now: float) -> Array[Dictionary]:
		var states: Array[Dictionary] = []
		if header.flags & RelayWire.AckFlag.NOTHING_RECEIVED:
			return states
		var ack := RelaySequence.extend(header.ack, newest)
		if _sent_at.has(ack) and header.ack_delay < RelayWire.ACK_DELAY_MAX_MS:
			_add_rtt(now - _sent_at[ack] - header.ack_delay / 1000.0)
		# An ack names itself and ACK_BITS before it. What left that range between two acks is
		# unknown, not lost.
		loss_meter.add(clampi(ack - _newest_acked, 0, 1 + RelayWire.ACK_BITS), 0)
		_newest_acked = maxi(_newest_acked, ack)
		var reported := header.ack_bits << 1 | 1  # bit i: ack - i
		for seq: int in _sent_at.keys():
			var behind := ack - seq
			if behind < 0:
				break  # numbers ascend: nothing from here on can be meant
			if behind <= RelayWire.ACK_BITS and (reported >> behind) & 1:
				if _states.has(seq):
					states.append(_states[seq])
				_drop(seq)
				loss_meter.add(0, 1)
			elif behind > RelayWire.ACK_BITS:
				_drop(seq)
		return states

	func _drop(seq: int) -> void:
		_sent_at.erase(seq)
		_states.erase(seq)

	func _add_rtt(sample_s: float) -> void:
		sample_s = maxf(0.0, sample_s)
		rtt_s = sample_s if rtt_s < 0 else rtt_s + (sample_s - rtt_s) * RTT_SHARE
