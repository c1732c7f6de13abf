extends SceneTree
## A player for tests: joins as its arguments say, tells what it hears, does what messages say.
##
## Kinds of messages: 1 text that is recorded; 2 "go": send what was asked for; 3 "done"; 4
## "report": tell all; 5 rejoin: leave, join again, then say "back" (kind 1); 6 "leave" once the
## report is out: who leaves takes its states along, and others want to tell of them.

const RelayClient := preload("res://addons/tickrelay/relay_client.gd")
const RelayStates := preload("res://addons/tickrelay/relay_states.gd")

const GO := 2
const DONE := 3
const REPORT := 4
const REJOIN := 5
const LEAVE := 6
## Time for the last states to arrive, seconds.
const SETTLE_S := 1.5

var client: RelayClient = RelayClient.new()
var options := {}
var heard: Array[String] = []
var whispers := 0
var signals := {}  # sender -> count
var late_signals := 0
var states := {}  # "player/index" -> hex, as the signals told
var removed := 0
var order_of_players: Array[String] = []
var counter := 0
var own_state := PackedByteArray()
var is_running := false
var report_at := INF
var has_reported := false
var may_leave := false
var last_of_sender := {}


func _initialize() -> void:
	Engine.max_fps = 60
	for argument in OS.get_cmdline_user_args():
		var parts := argument.trim_prefix("--").split("=")
		options[parts[0]] = parts[1] if parts.size() > 1 else "1"
	root.add_child.call_deferred(client)
	client.address = options.get("address", "127.0.0.1")
	client.port = int(options.get("port", "24545"))
	client.player_name = options.get("name", "Bot")
	client.read_in_thread = options.has("thread")
	client.join_timeout_s = float(options.get("deadline", "5"))
	client.silence_timeout_s = float(options.get("silence", "5"))
	client.max_players = int(options.get("max_players", "0"))
	client.entities_per_player = int(options.get("entities", "0"))
	client.joined.connect(_on_joined)
	client.join_refused.connect(_on_end.bind("join_refused"))
	client.disconnected.connect(_on_end.bind("disconnected"))
	client.relay_unreachable.connect(_on_end.bind("relay_unreachable"))
	client.relay_answered.connect(func(info: Dictionary) -> void: tell("relay_answered", info))
	client.player_joined.connect(_on_player_joined)
	client.player_left.connect(_on_player_left)
	client.host_changed.connect(func(id: int) -> void: tell("host_changed", {"player_id": id}))
	client.message_received.connect(_on_message)
	client.signal_received.connect(_on_signal)
	client.state_received.connect(_on_states)
	client.entities_removed.connect(_on_removed)
	enter()


func enter() -> void:
	var code: String = options.get("code", "")
	var password: String = options.get("password", "")
	tell("entering")
	match options.get("mode", "any"):
		"create":
			client.create_room(code, password)
		"join":
			client.join_room(code, password)
		"ping":
			client.connect_to_relay()
		_:
			client.join_or_create_room(code, password)


func tell(event: String, values: Dictionary = {}) -> void:
	var line := values.duplicate()
	line["event"] = event
	line["ms"] = Time.get_ticks_msec()
	print("@", JSON.stringify(line))


func _process(_delta: float) -> bool:
	if not client.is_joined():
		return false
	if not is_running or counter < int(options.get("steps", "30")):
		_step()
	if Time.get_ticks_msec() / 1000.0 > report_at:
		_report()
	if may_leave and has_reported:
		_leave()
	return false


func _step() -> void:
	# One array for all states, as a game may have: what was published must not change with it.
	own_state.resize(8)
	own_state.encode_u32(0, client.player_id)
	own_state.encode_u32(4, Engine.get_process_frames())
	client.publish_state(own_state)
	if not is_running:
		return
	counter += 1
	client.send_message(("%s:%d" % [client.player_name, counter]).to_utf8_buffer())
	var number := PackedByteArray()
	number.resize(4)
	number.encode_u32(0, counter)
	client.send_signal(number, RelayClient.Target.ALL_BUT, [client.player_id], 3, true)
	if counter == 1 and options.has("large"):
		var large := PackedByteArray()
		large.resize(int(options["large"]))
		large.fill(client.player_id)
		client.send_message(large, RelayClient.Target.ALL, [], 7)
	if counter == int(options.get("steps", "30")):
		client.send_message(PackedByteArray(), RelayClient.Target.ALL, [], 0, DONE)


func _report() -> void:
	report_at = INF
	var own := client.get_state(client.player_id).hex_encode()
	tell(
		"report",
		{
			"name": client.player_name,
			"player_id": client.player_id,
			"heard": heard,
			"whispers": whispers,
			"signals": signals,
			"late_signals": late_signals,
			"states": states,
			"own": own,
			"published": own_state.hex_encode(),
			"players": client.players,
			"host_id": client.host_id,
			"statistics": client.statistics(),
			"round_trip_s": client.round_trip_s,
			"loss_down": client.loss_down,
			"loss_up": client.loss_up,
			"tick": client.tick,
			"server_time": client.server_time,
			"tick_rate": client.tick_rate,
			"limits": client.room.limits(),
		}
	)
	has_reported = true


func _leave() -> void:
	may_leave = false
	client.leave_room()
	await create_timer(0.1).timeout
	quit()


func _on_joined() -> void:
	tell("joined", {"code": client.room_code, "player_id": client.player_id})


func _on_end(reason: int, text: String, event: String) -> void:
	tell(event, {"reason": reason, "text": text, "status": client.status})
	var is_own_wish := event == "disconnected" and reason == RelayClient.ByeReason.LEFT
	if not is_own_wish:
		quit()


func _on_player_joined(id: int, player_name: String) -> void:
	order_of_players.append(player_name)
	tell("player_joined", {"player_id": id, "name": player_name})


func _on_player_left(id: int, reason: int) -> void:
	last_of_sender.erase(id)
	tell("player_left", {"player_id": id, "reason": reason})


func _on_message(sender: int, payload: PackedByteArray, channel: int, kind: int) -> void:
	match kind:
		GO:
			is_running = true
		REPORT:
			report_at = Time.get_ticks_msec() / 1000.0 + SETTLE_S
		REJOIN:
			_rejoin()
		LEAVE:
			may_leave = true
		1:
			if channel == 9:
				whispers += 1
				return
			var text := (
				payload.get_string_from_utf8() if payload.size() < 1000 else _digest(payload)
			)
			heard.append("%d %d %s" % [sender, channel, text])
			if text.contains(":"):
				last_of_sender[sender] = int(text.get_slice(":", 1))


func _digest(payload: PackedByteArray) -> String:
	var hashing := HashingContext.new()
	hashing.start(HashingContext.HASH_SHA256)
	hashing.update(payload)
	return "%d bytes %s" % [payload.size(), hashing.finish().hex_encode()]


## Each was sent right after the message with its number, and so must be heard after it.
func _on_signal(sender: int, payload: PackedByteArray, channel: int, _kind: int) -> void:
	if channel != 3:
		return
	signals[sender] = signals.get(sender, 0) + 1
	if payload.decode_u32(0) > last_of_sender.get(sender, 0):
		late_signals += 1


func _on_states(batch: RelayStates) -> void:
	for row in batch.size():
		var key := "%d/%d" % [batch.player_id(row), batch.local_index(row)]
		states[key] = batch.state(row).hex_encode()
	batch.states.fill(0)  # what is the game's to do with as it likes must not reach the table
	batch.ids.clear()


func _on_removed(ids: PackedInt32Array) -> void:
	removed += ids.size()
	for id in ids:
		states.erase("%d/%d" % [client.player_of(id), 0])


func _rejoin() -> void:
	client.leave_room()
	heard.clear()
	states.clear()
	enter()
	await client.joined
	client.send_message("back".to_utf8_buffer())
