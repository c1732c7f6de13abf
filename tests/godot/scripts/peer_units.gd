extends SceneTree
## A RelayMultiplayerPeer under a SceneMultiplayer, with what the relay would have sent put in by
## hand: what happens in the same frame, in handlers, and when too much waits.

const Peer := preload("res://addons/tickrelay/relay_multiplayer_peer.gd")
const Connection := preload("res://addons/tickrelay/relay_connection.gd")
const Events := preload("res://addons/tickrelay/relay_events.gd")
const Link := preload("res://addons/tickrelay/relay_link.gd")
const Room := preload("res://addons/tickrelay/relay_mesh.gd")
const Session := preload("res://addons/tickrelay/relay_session.gd")
const Uploads := preload("res://addons/tickrelay/relay_mesh_uploads.gd")
const Wire := preload("res://addons/tickrelay/generated_wire.gd")

const RELIABLE := MultiplayerPeer.TRANSFER_MODE_RELIABLE
const UNRELIABLE := MultiplayerPeer.TRANSFER_MODE_UNRELIABLE
const HOST := 0
const OURS := 1
const JOINED_AT := 21
const ADDRESS := "127.0.0.1:1"
## First byte of what SceneMultiplayer.send_bytes sends.
const _RAW := 3

var failures: Array[String] = []
var told: Array[String] = []
var api: SceneMultiplayer
var peer: Peer


func _initialize() -> void:
	await _test_joining_again_in_a_handler("disconnected")
	await _test_joining_again_in_a_handler("server_disconnected")
	await _test_joining_again_in_a_handler("peer_disconnected")
	_test_closing_and_joining_at_once()
	await _test_joining_again_when_refused()
	await _test_an_address_without_a_right_port()
	await _test_the_end_is_told_when_nobody_holds_the_peer()
	await _test_a_greeting_read_after_the_deadline()
	await _test_a_scene_is_loaded_while_joining()
	_test_signals_pass_a_file()
	_test_signals_do_not_pass_small_messages()
	_test_what_comes_too_late_is_counted()
	_test_warnings()
	print("@", JSON.stringify({"event": "result", "failures": failures}))
	quit()


func _check(is_right: bool, what: String) -> void:
	if not is_right:
		failures.append(what)


## A client that waits for its WELCOME.
func _start() -> void:
	told.clear()
	api = SceneMultiplayer.new()
	api.root_path = NodePath("/root")
	peer = Peer.new()
	for how in ["connection_failed", "server_disconnected", "connected_to_server"]:
		api.connect(how, func() -> void: told.append(how))
	api.peer_disconnected.connect(func(id: int) -> void: told.append("peer_disconnected %d" % id))
	for how in ["disconnected", "join_refused"]:
		peer.connect(how, func(_reason: int, text: String) -> void: told.append(how + " " + text))
	peer.join(ADDRESS, "ARENA")
	api.multiplayer_peer = peer


## The relay lets us in. The host does too, unless [param is_greeted] is false.
func _enter(is_greeted: bool = true) -> void:
	var fields := Wire.RelayWelcomeFields.new()
	fields.code = "ARENA".to_ascii_buffer()
	fields.player_id = OURS
	fields.player_slots = 4
	fields.entities_per_player = 1
	fields.tick_rate = 30
	fields.timeout_ms = 10_000
	fields.messages_per_s = 200
	fields.signals_per_s = 300
	fields.bytes_per_s = 200 << 10
	fields.datagrams_per_s = 200
	fields.message_credit = 64
	var connection := peer._visit.connection
	connection.session = Session.new(fields, Link.clock(), {}, connection._events, 0.0)
	_tell(Events.RelayJoined.new())
	for player: int in [HOST, OURS]:
		var member := Events.RelayPlayerJoined.new()
		member.player_id = player
		member.index = JOINED_AT
		_tell(member)
		if player == HOST:
			_tell(Events.RelayHostChanged.new())
	if is_greeted:
		var greeting := Events.RelayMessageReceived.new()
		greeting.kind = Room.GREET
		greeting.payload.resize(8)
		greeting.payload.encode_u32(0, 2)
		greeting.payload.encode_u32(4, JOINED_AT)
		_tell(greeting)


func _tell(event: RefCounted) -> void:
	peer._visit.connection._events.append(event)


func _lose() -> void:
	var event := Events.RelayDisconnected.new()
	event.text = "over"
	_tell(event)


func _play() -> void:
	_start()
	_enter()
	api.poll()
	_check(told == ["connected_to_server"], "a game begins: %s" % [told])
	_check(peer.get_connection_status() == Peer.CONNECTION_CONNECTED, "and is connected")
	told.clear()


## The engine used to see CONNECTING after CONNECTED: it told of no end and kept the peers.
func _test_joining_again_in_a_handler(where: String) -> void:
	_play()
	var again := func(_a: Variant = null, _b: Variant = null) -> void:
		peer.close()
		_check(peer.join(ADDRESS, "ARENA") == OK, "join in " + where)
	(peer if where == "disconnected" else api).connect(where, again)
	_lose()
	api.poll()
	await process_frame
	_check(peer.get_connection_status() == Peer.CONNECTION_CONNECTING, where + ": joins again")
	_check(peer._visit != null, where + ": nobody closed it")
	_check(api.get_peers().is_empty(), where + ": peers of the first session are gone")
	var end := ["peer_disconnected 1", "server_disconnected", "disconnected over"]
	if where == "peer_disconnected":
		end.erase("server_disconnected")  # the game closed it before
	_check(told == end, "%s: %s" % [where, told])
	told.clear()
	_enter()
	api.poll()
	_check(told == ["connected_to_server"], "%s: then %s" % [where, told])
	_check(Array(api.get_peers()) == [1], where + ": the host is there")
	peer.close()


## From a button, say: the engine does not see the status between the two.
func _test_closing_and_joining_at_once() -> void:
	_play()
	peer.close()
	peer.join(ADDRESS, "ARENA")
	_check(api.get_peers().is_empty(), "peers of what was closed are gone")
	_enter()
	api.poll()
	_check(told == ["connected_to_server"], "at once: %s" % [told])
	peer.close()


func _test_joining_again_when_refused() -> void:
	_start()
	var again := func(_reason: int, _text: String) -> void: peer.join(ADDRESS, "ARENA")
	peer.join_refused.connect(again)
	var event := Events.RelayRefused.new()
	event.text = "full"
	_tell(event)
	api.poll()
	await process_frame
	_check(told == ["connection_failed", "join_refused full"], "refused: %s" % [told])
	_check(peer.get_connection_status() == Peer.CONNECTION_CONNECTING, "tries again")
	peer.close()


func _test_an_address_without_a_right_port() -> void:
	_start()
	peer.close()
	_check(peer.join("127.0.0.1:70000", "ARENA") == OK, "join tells of problems by a signal")
	api.poll()
	await process_frame
	_check("from 1 to 65535" in str(told), "wrong port: %s" % [told])


func _test_the_end_is_told_when_nobody_holds_the_peer() -> void:
	_play()
	api.server_disconnected.connect(func() -> void: api.multiplayer_peer = null)
	_lose()
	peer = null
	api.poll()
	await process_frame
	_check(told.back() == "disconnected over", "told of an end: %s" % [told])


## A scene was loaded meanwhile: the greeting came in time, but was read late.
func _test_a_greeting_read_after_the_deadline() -> void:
	for is_greeted: bool in [true, false]:
		_start()
		_enter(is_greeted)
		peer._deadline_at = 0.0
		api.poll()
		await process_frame
		var words := ["connected_to_server"] if is_greeted else ["connection_failed"]
		_check(told.slice(0, 1) == words, "read late: %s" % [told])
		_check(told.size() == (1 if is_greeted else 2), "then: %s" % [told])
		peer.close()


## It was loaded while we joined: the host has had no time yet.
func _test_a_scene_is_loaded_while_joining() -> void:
	_start()
	peer.join_timeout_s = 0.3
	peer.close()
	peer.join(ADDRESS, "ARENA")
	OS.delay_msec(400)
	_enter(false)
	api.poll()
	await process_frame
	_check(told.is_empty(), "no time has gone by: %s" % [told])
	peer.close()


func _put(mode: MultiplayerPeer.TransferMode, size: int) -> Error:
	peer.set_target_peer(1)
	peer.transfer_mode = mode
	var payload := PackedByteArray()
	payload.resize(size)
	return peer.put_packet(payload)


## What the game put since the last frame, given to the connection.
func _send() -> Connection.RelaySession:
	peer._seal()
	peer._upload()
	return peer._visit.connection.session


func _test_signals_pass_a_file() -> void:
	_play()
	_put(RELIABLE, 10)
	_put(RELIABLE, 20 << 20)
	var before_file := _send().outbox.last_before_large()
	_put(RELIABLE, 10)
	_put(UNRELIABLE, 10)
	var session := _send()
	_check(before_file == 1, "one message before the file")
	_check(session.signals_out._queue.size() == 1, "the signal does not wait for the file")
	_check(session.signals_out._queue[0].after == before_file, "but for what is before it")
	_check(peer._uploads.num_ready() > 10, "pieces wait")
	peer.close()


func _test_signals_do_not_pass_small_messages() -> void:
	_play()
	while _send().outbox.last_id < (4 << 20) / 1100:
		for channel in 100:
			peer.transfer_channel = channel
			_put(RELIABLE, 1100)
	while peer._uploads.num_ready() == 0:
		_put(RELIABLE, 1100)
		_send()
	_put(UNRELIABLE, 10)
	var session := _send()
	_check(session.signals_out._queue.is_empty(), "a signal waits for the message before it")
	session.outbox._waiting_bytes = 0
	_send()
	_check(session.signals_out._queue[0].after == session.outbox.last_id, "and then follows it")
	peer.close()


## Ordered packets of the host: a small one and the large one that it passed, on another channel the
## other way round, and a message that is none.
func _test_what_comes_too_late_is_counted() -> void:
	_play()
	var got: Array[int] = []
	api.peer_packet.connect(func(_id: int, packet: PackedByteArray) -> void: got.append(packet[0]))
	_tell(_ordered(Events.RelaySignalReceived.new(), 1, [_RAW, 1]))
	_tell(_ordered(Events.RelayMessageReceived.new(), 1, [0, 0, _RAW, 2]))
	_tell(_ordered(Events.RelayMessageReceived.new(), 2, [2, 0, _RAW, 3]))
	_tell(_ordered(Events.RelaySignalReceived.new(), 2, [_RAW, 4]))
	_tell(_ordered(Events.RelayMessageReceived.new(), 2, [0]))
	api.poll()
	_check(got == [1, 3], "in order: %s" % [got])
	var counted := peer.statistics()
	_check(counted["messages_late"] == 1, "a large one too late")
	_check(counted["signals_late"] == 1, "a small one too late")
	_check(counted["packets_malformed"] == 1, "none at all")
	_check(counted["signals_superseded"] == 0, "nothing else was late")
	peer.close()


## The host's first signal, or a message that says what stands before it.
func _ordered(event: RefCounted, channel: int, payload: Array) -> RefCounted:
	event.sender = HOST
	event.kind = Uploads.KIND | MultiplayerPeer.TRANSFER_MODE_UNRELIABLE_ORDERED
	event.channel = channel
	event.payload = PackedByteArray(payload)
	if event is Events.RelaySignalReceived:
		event.sequence = 1
	return event


func _test_warnings() -> void:
	_play()
	for _i in 300:
		_put(UNRELIABLE, 1000)
	_send()
	_check(peer._warnings.given.is_empty(), "what the relay takes at once")
	for _i in 50:
		_put(UNRELIABLE, 1000)
	_send()
	_check("unreliable" in str(peer._warnings.given.keys()), "more than that")
	for _i in 3:
		_put(RELIABLE, 32 << 20)
	_check("was not sent" in str(peer._warnings.given.keys()), "more than fits")
	_check(peer._warnings.given.size() == 2, "each once")
	peer.close()
