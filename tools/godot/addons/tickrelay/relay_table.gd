extends RefCounted
## The room's table as it comes down in pages (SPEC 8), and what of it the game has been shown.
##
## The table itself is only ever changed by pages. What the game sees differs in two ways: what it
## publishes itself comes back and is left out, and a state whose owner the log has not announced
## yet is withheld and shown with player_joined. What it owns but has not published (it was just
## given that, or came back without what it knew) is shown: there it goes on from.
##
## Mostly a page brings the same entities as the time before, in the same order. Then its group is
## kept as it came (a [RelayBlock]) and put into the dictionary of states only when somebody asks:
## to cut it into 32 small arrays costs as much as all the rest.

const RelayEvents := preload("relay_events.gd")
const RelayRecords := preload("relay_records.gd")
const RelayStatesScript := preload("relay_states.gd")

const _WORD_BYTES := 8

var _states := {}  # entity id -> state; stale for those of a block that is not spread
var _blocks := {}  # page -> Block: its last group
var _shape: RelayRecords.RelayRoomShape
var _is_known: Callable
var _tick_rate: int
var _page_ticks := {}  # page -> newest tick applied
var _own := {}  # entity id -> [tick, age] of its newest state: we publish it
var _shown := {}  # entity id -> true: the game knows of it
var _visible := {}  # entity id -> true: shown, and its owner is known
var _withheld := {}  # entity id -> RelayStates of one row


## The last group of a page.
class RelayBlock:
	extends RefCounted
	var ids: PackedInt32Array
	var stride := 0
	var states: PackedByteArray
	## Rows that the game does not hear of, ascending: our own entity.
	var hidden: PackedInt32Array
	## Whether the dictionary has these states too.
	var is_spread := true


## [param is_known]: whether we have been told of the owner of an entity.
func _init(shape: RelayRecords.RelayRoomShape, tick_rate: int, is_known: Callable) -> void:
	_shape = shape
	_tick_rate = tick_rate
	_is_known = is_known


## A new session goes on with this table: all pages will come again, whole.
func begin_session() -> void:
	_page_ticks.clear()


## Whether a section of a page was applied in this session.
func has_seen(page: int) -> bool:
	return _page_ticks.has(page)


## Ids of entities that the game knows of.
func shown_ids() -> Array:
	return _shown.keys()


## We publish an entity: from now on it is left out.
func hide(entity_id: int) -> void:
	if _own.has(entity_id):
		return
	_own[entity_id] = [_page_ticks.get(entity_id / _shape.page_ids, 0), 0]
	_visible.erase(entity_id)
	_shown.erase(entity_id)
	_withheld.erase(entity_id)
	_forget_blocks()


## Whether we publish an entity.
func is_own(entity_id: int) -> bool:
	return _own.has(entity_id)


## Ids of entities that we publish.
func own_ids() -> Array:
	return _own.keys()


## An entity is not ours to publish any more: it is shown like others, with the next [method show].
func give_up(entity_id: int) -> void:
	if _states.has(entity_id):
		_withheld[entity_id] = _state_of(entity_id, _own[entity_id])
	_own.erase(entity_id)


## Owners, or whom we know of them, may have changed: appends what was withheld so far and has an
## owner whom we know now.
func show(events: Array) -> void:
	_forget_blocks()
	_visible.clear()
	var ids := _withheld.keys()
	ids.sort()
	for entity_id: int in ids:
		if _is_known.call(entity_id):
			events.append(_withheld[entity_id])
			_withheld.erase(entity_id)
			_show(entity_id)


## Entity id -> newest state, our own and withheld ones included. Not to be changed.
func states() -> Dictionary:
	for block: RelayBlock in _blocks.values():
		_spread(block)
	return _states


## Tells whether every section can be applied or ignored; one built on a tick that we lack can not.
func fits(tick: int, pages: Array) -> bool:
	for page: RelayRecords.RelayPage in pages:
		var applied: int = _page_ticks.get(page.page, 0)
		if tick > applied and page.since > applied:
			return false
	return true


## Brings pages that passed [method fits] to [param tick], and appends what the game must hear.
func apply(tick: int, pages: Array, events: Array) -> void:
	if pages.is_empty():
		return
	var removed := PackedInt32Array()
	var changed := []
	for page: RelayRecords.RelayPage in pages:
		if tick > _page_ticks.get(page.page, 0):
			_page_ticks[page.page] = tick
			_remove(page, removed)
			for group: RelayRecords.RelayGroup in page.groups:
				if not _apply_like_before(tick, page.page, group, changed):
					_apply_group(tick, page.page, group, changed)
	if not removed.is_empty():
		var event := RelayEvents.RelayEntitiesRemoved.new()
		event.ids = removed
		events.append(event)
	events.append_array(changed)


func _remove(page: RelayRecords.RelayPage, removed: PackedInt32Array) -> void:
	if page.since > 0 and page.removed.is_empty():
		return
	_forget_blocks()
	var gone := {}
	for entity_id in page.removed:
		gone[entity_id] = true
	if page.since == 0:
		_add_absent(page, gone)
	var ids := gone.keys()
	ids.sort()
	for entity_id: int in ids:
		if not _states.erase(entity_id):
			continue
		_withheld.erase(entity_id)
		_visible.erase(entity_id)
		if _shown.erase(entity_id):
			removed.append(entity_id)


## A whole page: what does not stand in it is gone. An id that stands in it and is not listed as
## removed lived all the time.
func _add_absent(page: RelayRecords.RelayPage, gone: Dictionary) -> void:
	var present := {}
	for group: RelayRecords.RelayGroup in page.groups:
		for entity_id in group.ids:
			present[entity_id] = true
	var first_id := page.page * _shape.page_ids
	for entity_id in range(first_id, first_id + _shape.page_ids):
		if not present.has(entity_id):
			gone[entity_id] = true


## Takes a group of the same entities as the page's last one; false if it is not that.
func _apply_like_before(
	tick: int, page: int, group: RelayRecords.RelayGroup, changed: Array
) -> bool:
	var block: RelayBlock = _blocks.get(page)
	if block == null or block.stride != group.stride or block.ids != group.ids:
		return false
	var stride := group.stride
	var old := block.states
	var new := group.states
	var hidden := block.hidden
	var skipped := hidden
	var is_long := stride >= _WORD_BYTES
	var at := 0
	for row in group.ids.size():
		# A word tells of most that they have changed; to compare all bytes is five times dearer.
		if is_long and old.decode_u64(at) != new.decode_u64(at):
			pass
		elif not hidden.has(row) and old.slice(at, at + stride) == new.slice(at, at + stride):
			if skipped.size() == hidden.size():
				skipped = skipped.duplicate()
			skipped.append(row)
		at += stride
	if skipped.size() > hidden.size():
		skipped.sort()
	for row in hidden:
		if (
			old.slice(row * stride, row * stride + stride)
			!= new.slice(row * stride, row * stride + stride)
		):
			_own[group.ids[row]] = [tick, group.ages[row]]
	block.states = new
	block.is_spread = false
	_tell(tick, group, skipped, changed)
	return true


## Takes a group's states, one by one.
func _apply_group(tick: int, page: int, group: RelayRecords.RelayGroup, changed: Array) -> void:
	if _blocks.has(page):
		_spread(_blocks[page])
	var stride := group.stride
	var blob := group.states
	var skipped := PackedInt32Array()  # rows that the game does not hear of
	var row := 0
	var at := 0
	for entity_id in group.ids:
		var state := blob.slice(at, at + stride)
		at += stride
		if _states.get(entity_id) == state:
			skipped.append(row)  # sent again: our ack had not arrived
		else:
			_states[entity_id] = state
			if not _visible.has(entity_id) and not _may_show(entity_id, tick, group, row):
				skipped.append(row)
		row += 1
	_remember_block(page, group)
	_tell(tick, group, skipped, changed)


## Keeps a group to compare the next one with, unless the game does not know all of its players.
func _remember_block(page: int, group: RelayRecords.RelayGroup) -> void:
	_blocks.erase(page)
	var block := RelayBlock.new()
	for row in group.ids.size():
		var entity_id := group.ids[row]
		if _visible.has(entity_id):
			continue
		if not _own.has(entity_id):
			return
		block.hidden.append(row)
	block.ids = group.ids
	block.stride = group.stride
	block.states = group.states
	_blocks[page] = block


func _spread(block: RelayBlock) -> void:
	if block.is_spread:
		return
	block.is_spread = true
	var at := 0
	for entity_id in block.ids:
		_states[entity_id] = block.states.slice(at, at + block.stride)
		at += block.stride


func _forget_blocks() -> void:
	for block: RelayBlock in _blocks.values():
		_spread(block)
	_blocks.clear()


## Appends what is news of a group: the group itself if all of it is.
func _tell(
	tick: int, group: RelayRecords.RelayGroup, skipped: PackedInt32Array, changed: Array
) -> void:
	if skipped.is_empty():
		# Arrays are shared, not copied, by assignment: what the game does with its own must not
		# change what the next group is compared with.
		var ids := group.ids.duplicate()
		var blob := group.states.duplicate()
		changed.append(_states_of(tick, group.stride, ids, group.ages, blob))
	elif skipped.size() == 1 and group.ids.size() > 1:
		changed.append(_without_one(tick, group, skipped[0]))
	elif skipped.size() < group.ids.size():
		changed.append(_without(tick, group, skipped))


func _may_show(entity_id: int, tick: int, group: RelayRecords.RelayGroup, row: int) -> bool:
	if _own.has(entity_id):
		_own[entity_id] = [tick, group.ages[row]]
		return false
	if _is_known.call(entity_id):
		_withheld.erase(entity_id)
		_show(entity_id)
		return true
	_withheld[entity_id] = _pick(tick, group, [[row, row + 1]])
	return false


## The newest state of one entity, as the game hears of it. [param sampled]: its tick and age.
func _state_of(entity_id: int, sampled: Array) -> RelayStatesScript:
	var state: PackedByteArray = _states[entity_id]
	var ages := PackedByteArray([sampled[1]])
	return _states_of(sampled[0], state.size(), [entity_id], ages, state.duplicate())


func _show(entity_id: int) -> void:
	_shown[entity_id] = true
	_visible[entity_id] = true


## Copies a group but for one row, mostly that of our own entity.
func _without_one(tick: int, group: RelayRecords.RelayGroup, row: int) -> RelayStatesScript:
	var ids := group.ids.duplicate()
	var ages := group.ages.duplicate()
	ids.remove_at(row)
	ages.remove_at(row)
	var stride := group.stride
	var blob := group.states.slice(0, row * stride)
	blob.append_array(group.states.slice((row + 1) * stride))
	return _states_of(tick, stride, ids, ages, blob)


## Copies a group but for some rows, given in ascending order.
func _without(
	tick: int, group: RelayRecords.RelayGroup, skipped: PackedInt32Array
) -> RelayStatesScript:
	var runs := []
	var first := 0
	for row in skipped:
		if row > first:
			runs.append([first, row])
		first = row + 1
	if first < group.ids.size():
		runs.append([first, group.ids.size()])
	return _pick(tick, group, runs)


## Copies runs of rows, each [first, end].
func _pick(tick: int, group: RelayRecords.RelayGroup, runs: Array) -> RelayStatesScript:
	var ids := PackedInt32Array()
	var ages := PackedByteArray()
	var blob := PackedByteArray()
	var stride := group.stride
	for run: Array in runs:
		var first: int = run[0]
		var end: int = run[1]
		ids.append_array(group.ids.slice(first, end))
		ages.append_array(group.ages.slice(first, end))
		blob.append_array(group.states.slice(first * stride, end * stride))
	return _states_of(tick, stride, ids, ages, blob)


func _states_of(
	tick: int, stride: int, ids: PackedInt32Array, ages: PackedByteArray, blob: PackedByteArray
) -> RelayStatesScript:
	var result := RelayStatesScript.new()
	result.tick = tick
	result.tick_rate = _tick_rate
	result.player_slots = _shape.player_slots
	result.ids = ids
	result.ages = ages
	result.stride = stride
	result.states = blob
	return result
