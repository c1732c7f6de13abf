extends RefCounted
## The log as it comes down: ranges, order, fragments (SPEC 9).
##
## Two positions. `cursor`: everything up to it has arrived (or is hidden from us); it is what we
## acknowledge. `done`: everything up to it has been handed over. `done` may run ahead of `cursor`,
## for nothing waits for the fragments of somebody's large message but the message itself: a range
## may be handed over once all up to its `after` has been. It never stays behind.
##
## Memory is bounded by the window of 256 indexes beyond the cursor, and by one unfinished message
## per sender.

const RelayRecords := preload("relay_records.gd")
const RelayWire := preload("generated_wire.gd")

## Fragments put aside for one sender: its unfinished message, and the next ones in the window.
const MAX_ASIDE := RelayRecords.MAX_MESSAGE_FRAGMENTS + RelayWire.LOG_WINDOW

const _WORD_BITS := 32

## Everything up to this log index is complete.
var cursor: int
## Everything up to this log index has been handed over.
var done: int
## Fragments and messages that no correct server sends and that were thrown away.
var num_discarded := 0
var _complete := {}  # index beyond the cursor -> true
var _entries := {}  # index -> Entry, arrived and not handed over
var _ranges := {}  # last -> least after, of ranges that end beyond `done`
var _aside := {}  # sender -> Dictionary of index -> fragment
var _aside_floor := {}  # sender -> fragments up to this index are of no use any more


func _init(log_index: int) -> void:
	cursor = log_index
	done = log_index


## Builds the body of LOG_BITS: what is complete beyond the cursor, in whole words.
func log_bits() -> PackedByteArray:
	var bits := PackedByteArray()
	for index: int in _complete:
		var j := index - cursor - 1
		var at := j / _WORD_BITS * 4
		if bits.size() < at + 4:
			bits.resize(at + 4)
		bits.encode_u32(at, bits.decode_u32(at) | 1 << j % _WORD_BITS)
	return bits


## Takes a range that arrived. Returns the entries that are due now, in log order; a fragmented
## message is one entry with its whole payload and the index of its last fragment.
func take(part: RelayRecords.RelayLogRange) -> Array[RelayRecords.RelayEntry]:
	if part.first > cursor + 1 and part.last > cursor + RelayWire.LOG_WINDOW:
		return []  # SPEC 9: too far beyond the cursor to remember
	for entry: RelayRecords.RelayEntry in part.entries:
		_store(entry)
	_mark(part.first, part.last)
	if part.last > done:
		_ranges[part.last] = mini(part.after, _ranges.get(part.last, part.after))
	return _hand_over()


func _store(entry: RelayRecords.RelayEntry) -> void:
	if entry.log_index <= cursor or _complete.has(entry.log_index):
		return  # it has arrived before
	if entry.part & RelayWire.PART_MORE:
		_put_aside(entry)
	elif entry.log_index > done:
		_entries[entry.log_index] = entry
	else:
		num_discarded += 1  # the server said that nothing here could hold up what was handed over


func _put_aside(entry: RelayRecords.RelayEntry) -> void:
	if entry.log_index <= _aside_floor.get(entry.sender, 0):
		return  # of a message whose sender has left
	if not _aside.has(entry.sender):
		_aside[entry.sender] = {}
	var fragments: Dictionary = _aside[entry.sender]
	if fragments.size() >= MAX_ASIDE:
		num_discarded += 1
	else:
		fragments[entry.log_index] = entry


## Notes first ... last as complete and moves the cursor over what is complete without a hole.
func _mark(first: int, last: int) -> void:
	if first > cursor + 1:
		for index in range(first, last + 1):
			_complete[index] = true
	elif last > cursor:
		cursor = last
		for index: int in _complete.keys():
			if index <= cursor:
				_complete.erase(index)
		while _complete.erase(cursor + 1):
			cursor += 1


func _hand_over() -> Array[RelayRecords.RelayEntry]:
	var due: Array[RelayRecords.RelayEntry] = []
	while true:
		var last := cursor  # all up to the cursor is complete, whatever `after` says
		for range_last: int in _ranges:
			if _ranges[range_last] <= done:
				last = maxi(last, range_last)
		if last <= done or not _advance(last, due):
			break
	for range_last: int in _ranges.keys():
		if range_last <= done:
			_ranges.erase(range_last)
	return due


## Hands over all that arrived up to [param last]; false if a message waits for its fragments first.
func _advance(last: int, due: Array[RelayRecords.RelayEntry]) -> bool:
	var indexes := _entries.keys()
	indexes.sort()
	for index: int in indexes:
		if index > last:
			break
		var entry: RelayRecords.RelayEntry = _entries[index]
		var whole := _whole(entry)
		if whole == null and index > cursor:
			done = index - 1
			return false
		_entries.erase(index)
		_deliver(entry, whole, due)
	done = last
	return true


func _deliver(
	entry: RelayRecords.RelayEntry,
	whole: RelayRecords.RelayEntry,
	due: Array[RelayRecords.RelayEntry]
) -> void:
	if entry.part > 0:
		_forget_fragments(entry.sender, entry.log_index)
	if whole == null:
		num_discarded += 1  # all up to here has arrived, and its fragments were not in it
		return
	if _ends_what_was_begun(entry):
		_forget_fragments(entry.payload.decode_u16(0), entry.log_index)
	due.append(whole)


## Tells whether a player's unfinished message will not be finished: it left, or came back without
## what it had begun.
static func _ends_what_was_begun(entry: RelayRecords.RelayEntry) -> bool:
	match entry.kind:
		RelayWire.EntryKind.PLAYER_LEFT:
			return entry.payload.size() >= 2
		RelayWire.EntryKind.PLAYER_BACK:
			return entry.payload.size() >= 3 and entry.payload[2] != 0
	return false


## Puts the fragments before a last one in front of it; null while some are missing.
func _whole(entry: RelayRecords.RelayEntry) -> RelayRecords.RelayEntry:
	if entry.part == 0:
		return entry
	var fragments: Dictionary = _aside.get(entry.sender, {})
	if fragments.size() < entry.part:
		return null
	var payloads := {}
	for index: int in fragments:
		if index < entry.log_index:
			payloads[fragments[index].part & ~RelayWire.PART_MORE] = fragments[index].payload
	var payload := PackedByteArray()
	for number in entry.part:
		if not payloads.has(number):
			return null
		payload.append_array(payloads[number])
	payload.append_array(entry.payload)
	var whole := RelayRecords.RelayEntry.new()
	whole.log_index = entry.log_index
	whole.kind = entry.kind
	whole.sender = entry.sender
	whole.channel = entry.channel
	whole.flags = entry.flags
	whole.part = entry.part
	whole.payload = payload
	return whole


## Throws away a sender's fragments up to [param index], also those that may still arrive.
func _forget_fragments(sender: int, index: int) -> void:
	_aside_floor[sender] = index
	if not _aside.has(sender):
		return
	var fragments: Dictionary = _aside[sender]
	for at: int in fragments.keys():
		if at <= index:
			fragments.erase(at)
	if fragments.is_empty():
		_aside.erase(sender)
