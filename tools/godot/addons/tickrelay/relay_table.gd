extends RefCounted
## The room's table as it comes down in pages (SPEC 8), and what of it the game has been shown.
##
## The table itself is only ever changed by pages. What the game sees differs in two ways: its own
## entities come back and are left out, and a state of a player whom the log has not announced yet
## is withheld and shown with player_joined.

const Events := preload("relay_events.gd")
const Records := preload("relay_records.gd")
const States := preload("relay_states.gd")

## Entity id -> newest state, our own and withheld ones included.
var states := {}
var _shape: Records.RoomShape
var _player_id: int
var _tick_rate: int
var _page_ticks := {}  # page -> newest tick applied
var _announced := {}  # player id -> true
var _shown := {}  # entity id -> true: the game knows of it
var _visible := {}  # entity id -> true: shown, and its player is announced
var _withheld := {}  # entity id -> RelayStates of one row


func _init(shape: Records.RoomShape, player_id: int, tick_rate: int) -> void:
	_shape = shape
	_player_id = player_id
	_tick_rate = tick_rate


## Tells whether every section can be applied or ignored; one built on a tick that we lack can not.
func fits(tick: int, pages: Array[Records.Page]) -> bool:
	for page in pages:
		var applied: int = _page_ticks.get(page.page, 0)
		if tick > applied and page.since > applied:
			return false
	return true


## Brings pages that passed [method fits] to [param tick], and appends what the game must hear.
func apply(tick: int, pages: Array[Records.Page], events: Array) -> void:
	var removed := PackedInt32Array()
	var changed: Array[States] = []
	for page in pages:
		if tick > _page_ticks.get(page.page, 0):
			_page_ticks[page.page] = tick
			_remove(page, removed)
			for group in page.groups:
				_apply_group(tick, group, changed)
	if not removed.is_empty():
		var event := Events.EntitiesRemoved.new()
		event.ids = removed
		events.append(event)
	events.append_array(changed)


## The log told of a player: from now on their states are shown. Appends those withheld so far.
func announce(player_id: int, events: Array) -> void:
	_announced[player_id] = true
	for entity_id: int in _withheld.keys():
		if entity_id % _shape.player_slots == player_id:
			events.append(_withheld[entity_id])
			_withheld.erase(entity_id)
			_show(entity_id)


## The log told that a player left. Their entities stay until a page removes them.
func retire(player_id: int) -> void:
	_announced.erase(player_id)
	for entity_id: int in _visible.keys():
		if entity_id % _shape.player_slots == player_id:
			_visible.erase(entity_id)


func _remove(page: Records.Page, removed: PackedInt32Array) -> void:
	if page.since > 0 and page.removed.is_empty():
		return
	var gone := {}
	for entity_id in page.removed:
		gone[entity_id] = true
	if page.since == 0:
		_add_absent(page, gone)
	var ids := gone.keys()
	ids.sort()
	for entity_id: int in ids:
		if not states.erase(entity_id):
			continue
		_withheld.erase(entity_id)
		_visible.erase(entity_id)
		if _shown.erase(entity_id):
			removed.append(entity_id)


## A whole page: what does not stand in it is gone. An id that stands in it and is not listed as
## removed lived all the time.
func _add_absent(page: Records.Page, gone: Dictionary) -> void:
	var present := {}
	for group in page.groups:
		for entity_id in group.ids:
			present[entity_id] = true
	var first_id := page.page * _shape.page_ids
	for entity_id in range(first_id, first_id + _shape.page_ids):
		if not present.has(entity_id):
			gone[entity_id] = true


## Takes a group's states. What the game hears of them is the group itself if all of it is news.
func _apply_group(tick: int, group: Records.Group, changed: Array[States]) -> void:
	var stride := group.stride
	var news := PackedInt32Array()
	var row := 0
	for entity_id in group.ids:
		var at := row * stride
		var state := group.states.slice(at, at + stride)
		if states.get(entity_id) != state:  # else sent again: our ack had not arrived
			states[entity_id] = state
			if _visible.has(entity_id) or _may_show(entity_id, tick, group, row):
				news.append(row)
		row += 1
	if news.size() == row:
		changed.append(_states_of(tick, stride, group.ids, group.ages, group.states))
	elif not news.is_empty():
		changed.append(_pick(tick, group, news))


func _may_show(entity_id: int, tick: int, group: Records.Group, row: int) -> bool:
	var creator := entity_id % _shape.player_slots
	if creator == _player_id:
		return false
	if _announced.has(creator):
		_show(entity_id)
		return true
	_withheld[entity_id] = _pick(tick, group, PackedInt32Array([row]))
	return false


func _show(entity_id: int) -> void:
	_shown[entity_id] = true
	_visible[entity_id] = true


## Copies some rows of a group, those side by side at once: mostly it is all but our own.
func _pick(tick: int, group: Records.Group, rows: PackedInt32Array) -> States:
	var ids := PackedInt32Array()
	var ages := PackedByteArray()
	var blob := PackedByteArray()
	var i := 0
	while i < rows.size():
		var first := rows[i]
		var end := first + 1
		i += 1
		while i < rows.size() and rows[i] == end:
			end += 1
			i += 1
		ids.append_array(group.ids.slice(first, end))
		ages.append_array(group.ages.slice(first, end))
		blob.append_array(group.states.slice(first * group.stride, end * group.stride))
	return _states_of(tick, group.stride, ids, ages, blob)


func _states_of(
	tick: int, stride: int, ids: PackedInt32Array, ages: PackedByteArray, blob: PackedByteArray
) -> States:
	var result := States.new()
	result.tick = tick
	result.tick_rate = _tick_rate
	result.player_slots = _shape.player_slots
	result.ids = ids
	result.ages = ages
	result.stride = stride
	result.states = blob
	return result
