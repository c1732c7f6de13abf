extends SceneTree
## A player that does what a test orders and tells every signal that it hears.
##
## Orders are lines of JSON, appended to the file of the option --orders: the name of a method or
## property of the client ("is_host") or its room ("room.kick"), or of a function below that begins
## with "do_", and arguments. Numbers without a fraction become int; {"hex": "00ff"} becomes bytes,
## {"float": 1} a float. What a method returns, or a property is, is told as "result".

const RelayClient := preload("res://addons/tickrelay/relay_client.gd")
const RelayListedRoom := preload("res://addons/tickrelay/relay_listed_room.gd")
const RelayRoomList := preload("res://addons/tickrelay/relay_room_list.gd")
const RelayStates := preload("res://addons/tickrelay/relay_states.gd")

var client: RelayClient = RelayClient.new()
var room_list: RelayRoomList = RelayRoomList.new()
var options := {}
var orders: FileAccess
var rest := ""
var published_id := -1
var counter := 0
var states := {}  # entity id -> hex
var last_state_ms := 0
var longest_gap_ms := 0


func _initialize() -> void:
	Engine.max_fps = 60
	for argument in OS.get_cmdline_user_args():
		var parts := argument.trim_prefix("--").split("=")
		options[parts[0]] = parts[1] if parts.size() > 1 else "1"
	orders = FileAccess.open(options["orders"], FileAccess.READ)
	root.add_child.call_deferred(client)
	root.add_child.call_deferred(room_list)
	room_list.listed.connect(_on_listed)
	room_list.failed.connect(
		func(reason: int, text: String) -> void: tell("failed", {"reason": reason, "text": text})
	)
	client.game = options.get("game", "")
	client.game_version = options.get("version", "")
	client.max_players = int(options.get("max_players", "0"))
	client.port = int(options.get("port", "24545"))
	client.player_name = options.get("name", "Puppet")
	client.silence_timeout_s = float(options.get("silence", "0"))
	client.entities_per_player = int(options.get("entities", "2"))
	client.anyone_sets = options.has("anyone_sets")
	client.resume_when_joining = options.has("resume_when_joining")
	for info: Dictionary in client.get_script().get_script_signal_list():
		if info["name"] not in ["state_received", "message_received"]:
			_listen(
				info["name"], info["args"].map(func(it: Dictionary) -> String: return it["name"])
			)
	client.state_received.connect(_on_states)
	client.message_received.connect(_on_message)
	tell("started", {"can_resume": client.can_resume()})


func tell(event: String, values: Dictionary) -> void:
	values["event"] = event
	values["ms"] = Time.get_ticks_msec()
	print("@", JSON.stringify(values))


func _process(_delta: float) -> bool:
	rest += orders.get_buffer(65536).get_string_from_utf8()
	while rest.contains("\n"):
		_obey(JSON.parse_string(rest.get_slice("\n", 0)))
		rest = rest.substr(rest.find("\n") + 1)
	if published_id >= 0 and client.is_joined():
		counter += 1
		var state := PackedByteArray()
		state.resize(8)
		state.encode_u32(0, client.player_id)
		state.encode_u32(4, counter)
		client.publish_entity(published_id, state)
	return false


func _obey(order: Array) -> void:
	var name: String = order[0]
	var arguments := order.slice(1).map(_read)
	var value: Variant
	if has_method("do_" + name):
		value = callv("do_" + name, arguments)
	else:
		var of: Object = client.room if name.begins_with("room.") else client
		var member := name.trim_prefix("room.")
		value = of.callv(member, arguments) if of.has_method(member) else of.get(member)
	tell("result", {"of": name, "value": _shown(value)})


func _read(value: Variant) -> Variant:
	if value is Dictionary and value.has("hex"):
		return value["hex"].hex_decode()
	if value is Dictionary and value.has("float"):
		return float(value["float"])
	if value is float and value == floorf(value):
		return int(value)
	if value is Array and not value.is_empty() and value[0] is String:
		return PackedStringArray(value)
	return PackedInt32Array(value) if value is Array else value


## As JSON that keeps the types apart: JSON has no int and no bytes.
func _shown(value: Variant) -> Variant:
	if value is PackedByteArray:
		return {"hex": value.hex_encode()}
	if value is float:
		return {"float": value}
	if value is Dictionary:
		var result := {}
		for key: Variant in value:
			result[str(key)] = _shown(value[key])
		return result
	return value


## Publishes an entity from now on, in every frame.
func do_play(entity_id: int) -> void:
	published_id = entity_id


## Lists rooms, with these members of the list set before.
func do_list(members: Dictionary) -> void:
	for member: String in members:
		room_list.set(member, _read(members[member]))
	room_list.refresh()


func do_states() -> Dictionary:
	return states


## Longest time between two states of others since the last call, ms.
func do_gap() -> int:
	var gap := maxi(longest_gap_ms, Time.get_ticks_msec() - last_state_ms)
	longest_gap_ms = 0
	return gap


func do_token() -> Dictionary:
	return client._visitor.place._token()


func do_profile() -> int:
	return client._visitor.place._profile.number


## Of the profile, and in the end that at which processes wait for each other.
func do_ports() -> Array:
	var profile := client._visitor.place._profile
	return Array(profile._ports_of(profile.number)) + [profile._guard_port()]


func do_identity() -> PackedByteArray:
	return client._visitor.place.identity()


## The game's loop stands still, as it does while a scene is loaded.
func do_sleep(ms: int) -> void:
	OS.delay_msec(ms)


func do_quit() -> void:
	quit()


## Connects a signal of up to four arguments, to be told under its name with theirs.
func _listen(event: String, names: Array) -> void:
	match names.size():
		0:
			client.connect(event, func() -> void: _hear(event, names, []))
		1:
			client.connect(event, func(a: Variant) -> void: _hear(event, names, [a]))
		2:
			client.connect(event, func(a: Variant, b: Variant) -> void: _hear(event, names, [a, b]))
		3:
			client.connect(
				event,
				func(a: Variant, b: Variant, c: Variant) -> void: _hear(event, names, [a, b, c])
			)
		_:
			client.connect(
				event,
				func(a: Variant, b: Variant, c: Variant, d: Variant) -> void:
					_hear(event, names, [a, b, c, d])
			)


func _hear(event: String, names: Array, values: Array) -> void:
	var line := {}
	for i in names.size():
		line[names[i]] = _shown(values[i])
	if event == "joined":
		line["player_id"] = client.player_id
		line["states"] = states.duplicate()
	tell(event, line)


func _on_listed(rooms: Array[RelayListedRoom]) -> void:
	var told := rooms.map(
		func(room: RelayListedRoom) -> Dictionary:
			return {
				"code": room.code,
				"name": room.room_name,
				"version": room.version,
				"players": [room.num_players, room.max_players],
				"tags": Array(room.tags),
				"properties": _shown(room.properties),
				"is_open": room.is_open(),
				"flags": [room.is_locked, room.has_password],
			}
	)
	tell("listed", {"rooms": told, "num_listed": room_list.num_listed, "region": room_list.region})


func _on_states(batch: RelayStates) -> void:
	var now := Time.get_ticks_msec()
	if last_state_ms > 0:
		longest_gap_ms = maxi(longest_gap_ms, now - last_state_ms)
	last_state_ms = now
	for row in batch.size():
		states[batch.ids[row]] = batch.state(row).hex_encode()


func _on_message(sender: int, payload: PackedByteArray, channel: int, kind: int) -> void:
	tell(
		"message",
		{
			"sender": sender,
			"text": payload.get_string_from_utf8(),
			"channel": channel,
			"kind": kind,
			"is_kept": client.message_is_kept,
			"index": client.message_index,
		}
	)
