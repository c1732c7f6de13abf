class_name RelayMultiplayerPeer
extends MultiplayerPeerExtension
## A [MultiplayerPeer] over a tickrelay server, in place of [ENetMultiplayerPeer].
##
## RPCs, [MultiplayerSpawner], [MultiplayerSynchronizer], [member SceneMultiplayer.auth_callback],
## [method SceneMultiplayer.send_bytes] and [method MultiplayerPeer.disconnect_peer] work as they
## are. Nobody needs an open port, for all connect to the relay.
## [codeblock]
## var peer := RelayMultiplayerPeer.new()
## peer.create_host("relay.example.org", "LOBBY")  # the others: peer.join(...)
## multiplayer.multiplayer_peer = peer
## [/codeblock]
## The player who created the room is the server: peer id 1. When it leaves, the others get
## [signal MultiplayerAPI.server_disconnected]. Packets between clients take one hop over the relay,
## not a detour by the host.
## [br][br]
## Reliable packets arrive once and in one order that is the same for all. Unreliable ones arrive
## once or not at all, and not before the reliable packets that were sent before them; only large
## ones, of more than about 16 KiB, they pass.
## [br][br]
## As with ENet, only the host and a client authenticate each other; the other clients hear of a
## newcomer when the host has let it pass.

## We are in the room and the host has let us in (or we are the host). Just before
## [signal MultiplayerAPI.connected_to_server].
signal joined
## Joining failed. Just after [signal MultiplayerAPI.connection_failed], so that the peer may join
## again in either. [param text] is for the player; [param reason] is a RelayClient.Refusal or a
## [enum Problem].
signal join_refused(reason: int, text: String)
## The session ended, and not by [method MultiplayerPeer.close]. Just after
## [signal MultiplayerAPI.server_disconnected], so that the peer may join again in either.
## [param text] is for the player; [param reason] is a RelayClient.ByeReason or a [enum Problem].
signal disconnected(reason: int, text: String)

## Reasons that are not the relay's. The first ones are those of RelayClient.Problem.
enum Problem {
	## Nothing answered in time, or the name of the relay is unknown.
	NO_ANSWER = 256,
	## The game runs where there is no UDP: in a browser.
	NO_UDP = 257,
	## The host has left; a room ends with its host.
	HOST_LEFT = 259,
	## The host did not answer in time: it hangs, or it does not use a RelayMultiplayerPeer.
	NO_HOST = 260,
	## The host lets nobody in: [member MultiplayerPeer.refuse_new_connections].
	NOT_ADMITTED = 261,
	## The relay let us in, and ended the session before the host had answered.
	ENDED = 262,
}

const _RelayAddress := preload("relay_address.gd")
const _RelayConnection := preload("relay_connection.gd")
const _RelayEvents := preload("relay_events.gd")
const _RelayLink := preload("relay_link.gd")
const _RelayMesh := preload("relay_mesh.gd")
const _RelayMeshBudget := preload("relay_mesh_budget.gd")
const _RelayMeshPackets := preload("relay_mesh_packets.gd")
const _RelayPlace := preload("relay_place.gd")
const _RelayProofs := preload("relay_proofs.gd")
const _RelayRequest := preload("relay_request.gd")
const _RelayMeshUploads := preload("relay_mesh_uploads.gd")
const _RelayOutbox := preload("relay_outbox.gd")
const _RelayVisit := preload("relay_visit.gd")
const _RelayWarnings := preload("relay_warnings.gd")
const _RelayWire := preload("generated_wire.gd")

## Everything that is put into the peer leaves in the same frame. A frame has two ends (after the
## network's turn and after the game's), and at 60 of them and 30 ticks that makes four.
const DATA_PER_TICK := 4.0
## The highest channel that a packet may have.
const MAX_CHANNEL := 255

const _BAD_PORT_TEXT := "The port of the relay's address must be a number from 1 to 65535."
const _WEB_TEXT := "Browser games cannot send UDP; not supported yet"

## Our name in the room: 1 to 32 bytes of UTF-8. Set it before joining.
var player_name := "Player"
## Of the room; empty for none. Set it before creating or joining.
var password := ""
## Which game this is, see [member RelayClient.game]. Set it before creating or joining.
var game := ""
## Its version, see [member RelayClient.game_version].
var game_version := ""
## Players that a room takes which we create, 1 to 256; 0 = the relay's default (16).
var max_players := 0
## Joining fails after this many seconds; those in which the game loads a scene do not count.
var join_timeout_s := 5.0
## Silence of the relay after which the session ends, seconds. 0 = what the relay says (10). A game
## that loads a scene does not read meanwhile; that is no silence, for what waits is read first.
var silence_timeout_s := 5.0
## Read the socket in a thread, see [member RelayClient.read_in_thread].
var read_in_thread := false
## Code of the room; "" while not in one. Made up by the relay if [method create_host] had none.
var room_code: String:
	get:
		return _RelayConnection.RelayHandshake.code_of(_welcome()) if _is_in_room() else ""
## Why joining failed or the session ended, in words for the player; "" while all is well.
var problem_text := ""
## Peer id -> name of everybody who is connected, us included.
var player_names: Dictionary:
	get:
		return _names()
## Smoothed time to the relay and back, seconds; -1 until measured.
var round_trip_s: float:
	get:
		return _visit.connection.session.round_trip_s() if _is_in_room() else -1.0
## Share of the relay's datagrams that got lost lately, 0 to 1.
var loss_down: float:
	get:
		return _visit.connection.session.loss_down() if _is_in_room() else 0.0
## Share of our datagrams that got lost lately, 0 to 1.
var loss_up: float:
	get:
		return _visit.connection.session.loss_up() if _is_in_room() else 0.0

var _status := CONNECTION_DISCONNECTED
var _relay: _RelayAddress
var _code := ""
var _mode := _RelayWire.JoinMode.JOIN
var _visit: _RelayVisit
var _queue := _RelayMeshPackets.new()
var _room := _RelayMesh.new(_queue, false)
var _uploads := _RelayMeshUploads.new()
var _connected := {}  # peer id -> player id, of those whom the game has heard of
var _greeted: Array[int] = []  # host: peers whom the game may still be authenticating
var _deadline_at := 0.0
var _polled_at := 0.0
var _is_flush_planned := false
var _place := _RelayPlace.new()
var _warnings := _RelayWarnings.new("RelayMultiplayerPeer")
var _budget := _RelayMeshBudget.new()
var _target_peer := 0
var _transfer_mode := TRANSFER_MODE_RELIABLE
var _transfer_channel := 0


func _notification(what: int) -> void:
	# The engine does not call _close() when the game quits. Our own functions cannot be called any
	# more either: there is no reference left to call them on.
	if what == NOTIFICATION_PREDELETE and _visit != null:
		_visit.leave_at_once(_RelayLink.clock())


## Creates a room on a relay, as its host. [param address] is a name or an IP address, with a port
## if it is not the usual one: [code]relay.example.org:24545[/code], [code][::1]:24545[/code].
## Without [param code] the relay makes one up, see [member room_code].
## [br][br]
## Afterwards assign the peer. The status is CONNECTION_CONNECTING until [signal joined]; peer id
## 1 is ours at once. Returns ERR_ALREADY_IN_USE if the peer is not disconnected.
func create_host(address: String, code: String = "") -> Error:
	return _enter_room(_RelayWire.JoinMode.CREATE, address, code)


## Joins a room that exists. The rest as for [method create_host].
func join(address: String, code: String) -> Error:
	return _enter_room(_RelayWire.JoinMode.JOIN, address, code)


## Joins a room; creates it if there is none with this code. Who comes first is the host: see
## [method MultiplayerAPI.is_server] after [signal joined].
func join_or_create(address: String, code: String) -> Error:
	return _enter_room(_RelayWire.JoinMode.JOIN_OR_CREATE, address, code)


## Number of a connected peer in the room (as RelayClient has it), -1 if there is none.
func get_player_id(peer: int) -> int:
	return _room.me if peer == _get_unique_id() else _room.player_of(peer)


## Counters of this session, as [method RelayClient.statistics], and:
## [codeblock lang=text]
## packets_put        packets that the game put, once per receiver
## uploads_waiting    messages and signals that the connection has not taken yet
## signals_late       unreliable_ordered packets that came after a newer one of more than 8 KiB
## messages_late      unreliable_ordered packets of more than 8 KiB that came after a newer one
## packets_malformed  packets that were none, or of nobody in the game
## [/codeblock]
## What came too late was not handed over. Small packets among each other are counted under
## [code]signals_superseded[/code].
func statistics() -> Dictionary:
	if _visit == null:
		return {}
	var result := _visit.statistics()
	result["packets_put"] = _uploads.num_put
	result["uploads_waiting"] = _uploads.num_ready()
	result["signals_late"] = _room.num_late_signals
	result["messages_late"] = _room.num_late_messages
	result["packets_malformed"] = _room.num_dropped
	return result


func _poll() -> void:
	var keep_alive: MultiplayerPeer = self  # a handler may drop the last reference of the game
	if _visit != null:
		_seal()  # for those of whom the game knew when it sent this
		_take(_visit.receive())
	_apply_marks(true)
	if _is_host_overdue():
		_finish(Problem.NO_HOST, "The host of this room does not answer.")
	_admit_authenticated()
	_plan_flush()
	keep_alive = null


func _get_available_packet_count() -> int:
	# What comes behind news of a player is for this frame, too.
	_apply_marks(false)
	return _queue.num_ready() if _status == CONNECTION_CONNECTED else 0


func _get_packet_script() -> PackedByteArray:
	return _queue.pop().payload if _is_packet_next() else PackedByteArray()


func _get_packet_peer() -> int:
	return _queue.head().peer if _is_packet_next() else 0


func _get_packet_channel() -> int:
	return _queue.head().channel if _is_packet_next() else 0


func _get_packet_mode() -> MultiplayerPeer.TransferMode:
	return _queue.head().mode if _is_packet_next() else TRANSFER_MODE_RELIABLE


func _put_packet_script(buffer: PackedByteArray) -> Error:
	if _status != CONNECTION_CONNECTED:
		return ERR_UNCONFIGURED
	if _transfer_channel < 0 or _transfer_channel > MAX_CHANNEL:
		return ERR_INVALID_PARAMETER
	if _target_peer > 0 and not _connected.has(_target_peer):
		return ERR_INVALID_PARAMETER
	for peer: int in [_target_peer] if _target_peer > 0 else _connected.keys():
		if peer == -_target_peer:
			continue
		var player: int = _connected[peer]
		var error := _uploads.put(buffer, _transfer_channel, _transfer_mode, player)
		if error != OK:
			_warnings.give(
				"a packet was not sent: it has more than 32 MiB, or 64 MiB wait already",
				"send less; the relay takes %d KiB a second" % (_welcome().bytes_per_s >> 10)
			)
			return error
	_plan_flush()
	return OK


func _get_max_packet_size() -> int:
	return _RelayMeshUploads.MAX_PACKET_BYTES


func _set_target_peer(peer: int) -> void:
	_target_peer = peer


func _set_transfer_mode(mode: MultiplayerPeer.TransferMode) -> void:
	_transfer_mode = mode


func _get_transfer_mode() -> MultiplayerPeer.TransferMode:
	return _transfer_mode


func _set_transfer_channel(channel: int) -> void:
	_transfer_channel = channel


func _get_transfer_channel() -> int:
	return _transfer_channel


func _get_connection_status() -> MultiplayerPeer.ConnectionStatus:
	return _status


func _get_unique_id() -> int:
	if _status == CONNECTION_CONNECTING and _mode == _RelayWire.JoinMode.CREATE:
		return _RelayMesh.HOST_ID  # a host may spawn its level before the relay has answered
	return _room.own_id if _status != CONNECTION_DISCONNECTED else 0


func _is_server() -> bool:
	return _get_unique_id() == _RelayMesh.HOST_ID


func _is_server_relay_supported() -> bool:
	return false  # packets between clients go straight over the relay


func _disconnect_peer(peer: int, force: bool) -> void:
	if peer == _RelayMesh.HOST_ID and not _is_server():
		_room.end(_RelayWire.ByeReason.LEFT, _RelayWire.BYE_TEXTS[_RelayWire.ByeReason.LEFT])
	elif _connected.has(peer):
		var player: int = _connected[peer]
		_room.forget(player)
		_queue.purge(peer)
		_greeted.erase(peer)
		if force:
			_connected.erase(peer)
		else:
			_queue.push_mark(_RelayMeshPackets.RelayChange.LEFT, peer)
		if _is_server():
			_say(_RelayMesh.KICK, _room.build_kick(player), _RelayWire.Target.ALL)


func _close() -> void:
	_status = CONNECTION_DISCONNECTED
	if _visit != null:
		_seal()
		_upload()
		_visit.leave_at_once(_RelayLink.clock())
		_visit = null
	_queue.clear()
	_uploads.clear()
	_connected.clear()
	_greeted.clear()


func _is_in_room() -> bool:
	return _visit != null and _visit.connection.state() == _RelayConnection.RelayPhase.JOINED


## Tells whether the host has had its time. While the game stands still none goes by.
func _is_host_overdue() -> bool:
	var now := _RelayLink.clock()
	if now - _polled_at > _RelayVisit.STOOD_STILL_S:
		_deadline_at += now - _polled_at
	_polled_at = now
	return _status == CONNECTION_CONNECTING and _is_in_room() and now >= _deadline_at


func _is_packet_next() -> bool:
	return _queue.head() is _RelayMeshPackets.RelayPacket


func _welcome() -> _RelayWire.RelayWelcomeFields:
	return _visit.connection.session.welcome


func _names() -> Dictionary:
	var names := {}
	if _status == CONNECTION_CONNECTED:
		names[_room.own_id] = _room.members.get(_room.me, player_name)
		for peer: int in _connected:
			names[peer] = _room.members.get(_connected[peer], "")
	return names


func _enter_room(mode: _RelayWire.JoinMode, address: String, code: String) -> Error:
	if _status != CONNECTION_DISCONNECTED:
		return ERR_ALREADY_IN_USE
	var api := _api()
	if api != null:
		api.clear()  # of a session that was closed since the engine looked at the status
	_mode = mode
	_code = code.strip_edges().to_upper()
	_relay = _RelayAddress.new(address, _RelayWire.DEFAULT_PORT)
	_status = CONNECTION_CONNECTING
	problem_text = ""
	_polled_at = _RelayLink.clock()
	_deadline_at = _polled_at + join_timeout_s
	_start()
	return OK


func _start() -> void:
	_queue.clear()
	_uploads.clear()
	_warnings.clear()
	_budget = _RelayMeshBudget.new()
	_room = _RelayMesh.new(_queue, _mode != _RelayWire.JoinMode.JOIN)
	var request := _RelayRequest.new()
	request.mode = _mode
	request.code = _code
	for wish: String in ["player_name", "password", "game", "game_version", "max_players"]:
		request.set(wish, get(wish))
	request.deadline_s = maxf(_deadline_at - _RelayLink.clock(), 0.1)
	request.silence_s = silence_timeout_s
	if OS.has_feature("web"):
		_fail(Problem.NO_UDP, _WEB_TEXT)
	elif _relay.port == 0:
		_fail(Problem.NO_ANSWER, _BAD_PORT_TEXT)
	elif request.problem() != 0:
		_fail(request.problem(), _RelayWire.REFUSAL_TEXTS[request.problem()])
	else:
		var nonce := _RelayProofs.random_nonce()
		request.identity = _place.identity()
		_visit = _RelayVisit.new(
			_relay.host, _relay.port, read_in_thread, request, nonce, _RelayLink.clock()
		)
		_visit.data_per_tick = DATA_PER_TICK
		_plan_flush()


## Ends it behind all that has arrived; nothing more is read.
func _fail(reason: int, text: String) -> void:
	_room.end(reason, text)


func _take(events: Array) -> void:
	var now := _RelayLink.clock()
	if _is_in_room():
		_room.me = _welcome().player_id
		if _visit.connection.fingerprint_differs:
			_warnings.give("the relay is of another build", "use game and relay of one release")
	for event: RefCounted in events:
		if event is _RelayEvents.RelayRefused or event is _RelayEvents.RelayDisconnected:
			_fail(event.reason, event.text)
		else:
			_room.take(event, now)


## Tells the game what stands before the next packet. The end waits for [method _poll], after which
## the engine looks at the status.
func _apply_marks(may_end: bool) -> void:
	var keep_alive: MultiplayerPeer = self
	while _queue.head() is _RelayMeshPackets.RelayMark:
		var mark: _RelayMeshPackets.RelayMark = _queue.head()
		if mark.change == _RelayMeshPackets.RelayChange.ENDED and not may_end:
			return
		_queue.pop()
		match mark.change:
			_RelayMeshPackets.RelayChange.STARTED:
				_status = CONNECTION_CONNECTED
				joined.emit()
			_RelayMeshPackets.RelayChange.JOINED:
				_introduce(mark.peer, mark.player)
			_RelayMeshPackets.RelayChange.LEFT:
				_greeted.erase(mark.peer)
				if _connected.erase(mark.peer):
					peer_disconnected.emit(mark.peer)
			_RelayMeshPackets.RelayChange.ENDED:
				_finish(mark.reason, mark.text)
	keep_alive = null


func _introduce(peer: int, player: int) -> void:
	if _room.player_of(peer) != player:
		return  # it has left meanwhile
	if _is_server():
		if refuse_new_connections:
			_room.forget(player)
			_say(_RelayMesh.KICK, _room.build_kick(player), _RelayWire.Target.ALL)
			return
		_say(_RelayMesh.GREET, _room.build_greeting(peer), _RelayWire.Target.ONE, [player])
		_greeted.append(peer)
	_connected[peer] = player
	_emit_connected(peer)
	_admit_authenticated()


## The host authenticates for all: to another client a newcomer is one whom the host let pass.
func _emit_connected(peer: int) -> void:
	var api := _api()
	if (
		api == null
		or _is_server()
		or peer == _RelayMesh.HOST_ID
		or not api.auth_callback.is_valid()
	):
		peer_connected.emit(peer)
		return
	var callback := api.auth_callback
	api.auth_callback = Callable()
	peer_connected.emit(peer)
	api.auth_callback = callback


## The SceneMultiplayer that listens to us, null if another API does.
func _api() -> SceneMultiplayer:
	for connection in peer_connected.get_connections():
		var api := (connection["callable"] as Callable).get_object() as SceneMultiplayer
		if api != null:
			return api
	return null


## Host: tells all of newcomers who passed, once the game has sent them what is there.
func _admit_authenticated() -> void:
	if _greeted.is_empty():
		return
	var api := _api()
	for peer: int in _greeted.duplicate():
		if api == null or peer in api.get_peers():
			_greeted.erase(peer)
			_seal()
			_say(_RelayMesh.ADMIT, _room.admit(peer), _RelayWire.Target.ALL)


func _finish(reason: int, text: String) -> void:
	var was_connected := _status == CONNECTION_CONNECTED
	var may_try_again := reason == Problem.HOST_LEFT and _mode == _RelayWire.JoinMode.JOIN_OR_CREATE
	if not was_connected and may_try_again and _RelayLink.clock() < _deadline_at:
		_visit.leave_at_once(_RelayLink.clock())
		_start()
		return
	problem_text = text
	var visit := _visit
	if not was_connected and visit != null:
		reason = visit.as_refusal(reason)
	if was_connected and _connected.has(_RelayMesh.HOST_ID):
		peer_disconnected.emit(_RelayMesh.HOST_ID)  # as ENet does
	if _visit == visit:  # else a handler closed it, and may have joined again
		_close()
	_tell_end.call_deferred(disconnected if was_connected else join_refused, reason, text, self)


## Comes when the engine has seen the end: a handler that joins again would hide it.
func _tell_end(how: Signal, reason: int, text: String, _keep_alive: MultiplayerPeer) -> void:
	how.emit(reason, text)


## Puts a word of the host behind the packets that were put before it.
func _say(kind: int, payload: PackedByteArray, target: int, players: PackedInt32Array = []) -> void:
	_seal()
	_uploads.add_word(kind, payload, target, players)
	_plan_flush()


func _seal() -> void:
	_uploads.seal(_room.me, _room.known(), _room.serial)


func _plan_flush() -> void:
	if _is_flush_planned or _visit == null:
		return
	if not _uploads.is_empty() or _visit.is_due(_RelayLink.clock()):
		_is_flush_planned = true
		_flush.call_deferred()


## Sends what this frame has brought so far.
func _flush() -> void:
	_is_flush_planned = false
	if _visit == null:
		return
	_seal()
	_upload()
	_take(_visit.send(_RelayLink.clock()))


## Hands uploads over to the connection, as many as it takes.
func _upload() -> void:
	if not _is_in_room():
		return
	var signals_pass := false
	var upload := _uploads.next(signals_pass)
	while upload != null:
		if _hand_over(upload) != ERR_OUT_OF_MEMORY:
			_uploads.pop(upload)
			_visit.flush_soon()
		elif _is_behind_large(upload):
			signals_pass = true
		else:
			return  # the next frame tries again
		upload = _uploads.next(signals_pass)


func _hand_over(upload: _RelayMeshUploads.RelayUpload) -> Error:
	var connection := _visit.connection
	if not upload.is_signal:
		return connection.send_message(
			upload.payload, upload.kind, upload.channel, upload.target, upload.players
		)
	var flags := _RelayWire.SignalFlag.AFTER_LOG
	if upload.kind & _RelayMeshUploads.MODE_MASK == TRANSFER_MODE_UNRELIABLE_ORDERED:
		flags |= _RelayWire.SignalFlag.NEWEST_FIRST
	if not _budget.takes(upload, _welcome().signals_per_s, _RelayLink.clock()):
		_warnings.give(
			(
				"more than %d unreliable uploads a second: the relay drops some"
				% _welcome().signals_per_s
			),
			"send less often, or run the relay with more signals_per_s"
		)
	return (
		connection
		. send_signal(
			upload.payload,
			upload.kind,
			upload.channel,
			upload.target,
			upload.players,
			flags,
			# What a game sends without reliability does not wait behind a file, as with ENet.
			connection.session.outbox.last_before_large()
		)
	)


## Tells whether all that may wait for a message that finds no room may pass it: it is large, or
## stands behind a large one. Signals wait for the small ones that were put before them.
func _is_behind_large(message: _RelayMeshUploads.RelayUpload) -> bool:
	var outbox := _visit.connection.session.outbox
	var is_large := (
		message.payload.size() > _RelayOutbox.LARGE_FRAGMENTS * _RelayWire.MAX_FRAGMENT_BYTES
	)
	return is_large or outbox.last_before_large() < outbox.last_id
