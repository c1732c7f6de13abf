extends SceneTree
## Does with the add-on's connections what was recorded of Python's, and tells the first difference
## of each. Argument: the path of the recording, one connection a line.

const Connection := preload("res://addons/tickrelay/relay_connection.gd")
const Events := preload("res://addons/tickrelay/relay_events.gd")
const Request := preload("res://addons/tickrelay/relay_request.gd")
const States := preload("res://addons/tickrelay/relay_states.gd")
const Values := preload("res://addons/tickrelay/relay_values.gd")
const Wire := preload("res://addons/tickrelay/generated_wire.gd")

var num_steps := 0
var num_events := 0
var num_datagrams := 0


func _initialize() -> void:
	var file := FileAccess.open(OS.get_cmdline_user_args()[0], FileAccess.READ)
	var number := 0
	while not file.eof_reached():
		var line := file.get_line()
		if line.is_empty():
			continue
		var difference := _replay(JSON.parse_string(line))
		if not difference.is_empty():
			tell("difference", {"connection": number, "text": difference})
		number += 1
	var counts := {"connections": number, "steps": num_steps, "events": num_events}
	counts["datagrams"] = num_datagrams
	tell("end", counts)
	quit()


func tell(event: String, values: Dictionary) -> void:
	values["event"] = event
	print("@", JSON.stringify(values))


func _time(bits: String) -> float:
	return bits.hex_decode().decode_double(0)


func _replay(recording: Dictionary) -> String:
	var request := Request.new()
	for field: String in recording.request:
		var value: Variant = recording.request[field]
		if field in ["identity", "secret"]:
			value = value.hex_decode()
		elif field == "session":
			value = value.hex_decode().decode_u64(0) if value else 0
		request.set(field, value)
	var nonce: int = recording.nonce.hex_decode().decode_u64(0)
	var connection := Connection.new(request, nonce, _time(recording.now))
	for i in recording.steps.size():
		num_steps += 1
		var difference := _do(connection, recording.steps[i])
		if not difference.is_empty():
			return "step %d, %s: %s" % [i, recording.steps[i][0], difference]
	var dropped := {}
	for reason: int in connection.dropped:
		dropped[Wire.DropReason.find_key(reason)] = float(connection.dropped[reason])
	if dropped != recording.end.dropped:
		return "dropped %s instead of %s" % [dropped, recording.end.dropped]
	if connection.next_poll_at() != _time(recording.end.next_poll_at):
		return "next poll at %s" % connection.next_poll_at()
	return ""


func _do(connection: Connection, step: Array) -> String:
	match step[0]:
		"receive":
			connection.receive(step[2].hex_decode(), _time(step[1]))
		"tick":
			return _compare_datagrams(connection.tick(_time(step[1])), step[2])
		"poll":
			return _compare_datagrams(connection.poll(_time(step[1])), step[2])
		"events":
			return _compare_events(connection.take_events(), step[1])
		"publish", "remove", "request":
			return _do_and_compare(connection, step)
		"message":
			connection.send_message(
				step[1].hex_decode(),
				int(step[2]),
				int(step[3]),
				int(step[4]),
				PackedInt32Array(step[5]),
				int(step[6])
			)
		"signal":
			connection.send_signal(
				step[1].hex_decode(),
				int(step[2]),
				int(step[3]),
				int(step[4]),
				PackedInt32Array(step[5]),
				int(step[6])
			)
		"close":
			connection.close(_time(step[1]))
	return ""


func _do_and_compare(connection: Connection, step: Array) -> String:
	var expected: Variant = step[-1]
	var found: Variant
	match step[0]:
		"publish":
			var state: PackedByteArray = step[3].hex_decode()
			found = connection.publish_entity(int(step[2]), state, _time(step[1])) == OK
		"remove":
			found = connection.remove_entity(int(step[1])) == OK
		"request":
			found = float(connection.send_request(int(step[1]), step[2].hex_decode()))
	return "" if found == expected else "%s instead of %s" % [found, expected]


func _compare_datagrams(datagrams: Array[PackedByteArray], expected: Array) -> String:
	num_datagrams += datagrams.size()
	var found := datagrams.map(func(data: PackedByteArray) -> String: return data.hex_encode())
	return "" if found == expected else "sent %s instead of %s" % [found, expected]


func _compare_events(events: Array, expected: Array) -> String:
	num_events += expected.size()
	var found := []
	for event: RefCounted in events:
		found.append_array(_described(event))
	for i in maxi(found.size(), expected.size()):
		if i >= found.size() or i >= expected.size() or not _is_same(found[i], expected[i]):
			return "told %s instead of %s" % [found.slice(i, i + 3), expected.slice(i, i + 3)]
	return ""


## JSON knows floats only.
func _is_same(found: Array, expected: Array) -> bool:
	return JSON.parse_string(JSON.stringify(found)) == expected


func _described(event: RefCounted) -> Array:
	if event is States:
		return range(event.size()).map(
			func(row: int) -> Array:
				var ms := roundi(event.sample_time(row) * 1000)
				return ["state", event.ids[row], event.state(row).hex_encode(), ms]
		)
	if event is Events.RelayEntitiesRemoved:
		return [["removed", Array(event.ids)]]
	if event is Events.RelayMessageReceived:
		var text: String = event.payload.hex_encode()
		var is_kept: bool = event.flags & Wire.MessageFlag.KEPT != 0
		var flags: int = event.flags & (Wire.MessageFlag.KEEP | Wire.MessageFlag.OUTLIVES_SENDER)
		return [
			["message", event.sender, event.kind, event.channel, text, event.index, is_kept, flags]
		]
	if event is Events.RelaySignalReceived:
		var text: String = event.payload.hex_encode()
		return [["signal", event.sender, event.kind, event.channel, text, event.sequence]]
	return [_described_rare(event)]


func _described_rare(event: RefCounted) -> Array:
	if event is Events.RelayPlayerJoined:
		return ["player_joined", event.player_id, event.player_name]
	if event is Events.RelayPlayerLeft:
		return ["player_left", event.player_id, event.reason]
	if event is Events.RelayHostChanged:
		return ["host_changed", event.player_id]
	if event is Events.RelayPlayerAway:
		return ["player_away", event.player_id]
	if event is Events.RelayPlayerBack:
		return ["player_back", event.player_id, event.is_afresh]
	return _described_of_room(event)


func _described_of_room(event: RefCounted) -> Array:
	if event is Events.RelayPropertyChanged:
		var value := Values.encode(event.value).hex_encode()
		return ["property_changed", event.owner, event.key, value, event.by]
	if event is Events.RelayEntityOwnerChanged:
		return ["entity_owner_changed", event.entity_id, event.owner]
	if event is Events.RelayRoomLocked or event is Events.RelayRoomShown:
		var is_lock := event is Events.RelayRoomLocked
		return ["room_locked", event.is_locked] if is_lock else ["room_shown", event.is_listed]
	if event is Events.RelayKeptCleared:
		return ["kept_cleared", Array(event.indexes), event.by]
	if event is Events.RelayRequestRefused:
		var text: String = Wire.REQUEST_TEXTS.get(event.reason, "")
		return ["request_refused", event.message_id, event.request, event.reason, text]
	return _described_of_connection(event)


func _described_of_connection(event: RefCounted) -> Array:
	if event is Events.RelayConnectionLost:
		return ["connection_lost"]
	if event is Events.RelayForgotten:
		return ["room_reset"]
	if event is Events.RelayResumed:
		return ["resumed", event.is_afresh]
	if event is Events.RelayJoined:
		return ["joined"]
	if event is Events.RelayRefused:
		var is_local: bool = event.reason == Connection.NO_ANSWER
		return ["refused", event.reason] if is_local else ["refused", event.reason, event.text]
	return ["disconnected", event.reason, event.text]
