extends SceneTree
## Measures what an UPDATE costs the add-on, from its bytes to the game's handler.
##
## Run: [code]godot --headless --path tools/godot --script res://bench/decode.gd[/code]
## [br]
## A room of 33 players; the 32 others change all 24 bytes of their states in every tick, and our
## own entity comes back in the same page. Best of 20 batches of 100, microseconds per UPDATE.

const Connection := preload("res://addons/tickrelay/relay_connection.gd")
const RelayClient := preload("res://addons/tickrelay/relay_client.gd")
const RelayStates := preload("res://addons/tickrelay/relay_states.gd")
const Session := preload("res://addons/tickrelay/relay_session.gd")
const Wire := preload("res://addons/tickrelay/generated_wire.gd")

const NUM_OTHERS := 32
const STRIDE := 24
const SLOTS := 66
const BATCHES := 20
const UPDATES := 100

var handled := 0
var positions: Array[Vector3] = []
var client: RelayClient = RelayClient.new()


func _initialize() -> void:
	positions.resize(SLOTS)
	for with_own: bool in [false, true]:
		var what := "32 entities of 24 bytes"
		if with_own:
			what += ", and our own between them"
		_print(what + ", whole", _measure(with_own, _handle_whole))
		_print(what + ", positions to 32 objects", _measure(with_own, _handle_each))
	client.free()
	quit()


func _print(what: String, usec: float) -> void:
	print("%5.1f us per UPDATE: %s" % [usec, what])


func _handle_whole(states: RelayStates) -> void:
	handled += states.states.to_float32_array().size()


func _handle_each(states: RelayStates) -> void:
	var floats := states.states.to_float32_array()
	for row in states.ids.size():
		var at := row * 6
		positions[states.ids[row]] = Vector3(floats[at], floats[at + 1], floats[at + 2])


func _measure(with_own: bool, handler: Callable) -> float:
	client.state_received.connect(handler)
	var events := []
	var session := Session.new(_welcome(), 0.0, {}, events, 0.0)
	for player in range(1, NUM_OTHERS + 1):
		session.table.announce(player, events)
	var best := INF
	var tick := 1
	for _batch in BATCHES:
		var datagrams: Array[PackedByteArray] = []
		for _i in UPDATES:
			tick += 1
			datagrams.append(_update(tick, with_own))
		var started := Time.get_ticks_usec()
		for data in datagrams:
			session.handle_update(data, tick / 30.0)
			for event: RefCounted in events:
				client.state_received.emit(event)
			events.clear()
		best = minf(best, float(Time.get_ticks_usec() - started) / UPDATES)
	client.state_received.disconnect(handler)
	return best


func _welcome() -> Wire.RelayWelcomeFields:
	var welcome := Wire.RelayWelcomeFields.new()
	welcome.code = "BENCH".to_ascii_buffer()
	welcome.player_slots = SLOTS
	welcome.entities_per_player = 1
	welcome.max_state_bytes = STRIDE
	welcome.page_ids = 34
	welcome.tick_rate = 30
	welcome.keepalive_ms = 1000
	welcome.timeout_ms = 10000
	return welcome


func _update(tick: int, with_own: bool) -> PackedByteArray:
	var update := Wire.RelayUpdateHeader.new()
	update.seq = tick & 0xFFFF
	update.tick = tick
	update.flags = Wire.AckFlag.NOTHING_RECEIVED
	var page := Wire.RelayPageHeader.new()
	page.since = tick - 1 if tick > 2 else 0
	page.group_count = 1
	var group := Wire.RelayGroupHeader.new()
	var first := 0 if with_own else 1
	group.count = NUM_OTHERS + 1 - first
	group.stride = STRIDE
	var columns := PackedByteArray()
	columns.resize(group.count * (3 + STRIDE))
	for row in group.count:
		columns.encode_u16(2 * row, first + row)
		for at in range(0, STRIDE, 4):
			columns.encode_float(3 * group.count + row * STRIDE + at, tick + row + at)
	var section := Wire.RelaySectionHeader.new()
	section.type = Wire.UpdateSection.PAGE
	section.length = Wire.RelayPageHeader.SIZE + Wire.RelayGroupHeader.SIZE + columns.size()
	var data := update.encode()
	for part: PackedByteArray in [section.encode(), page.encode(), group.encode(), columns]:
		data.append_array(part)
	return data
