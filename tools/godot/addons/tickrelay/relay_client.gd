@icon("icons/relay_client.svg")
class_name RelayClient
extends Node
## One player in one room of a tickrelay server: joins, publishes state, sends and receives.
##
## Put it into a scene (or make it an autoload), set [member address] and [member player_name],
## connect the signals, and call [method join_or_create_room]:
## [codeblock]
## func _ready() -> void:
##     $RelayClient.joined.connect(_on_joined)
##     $RelayClient.join_refused.connect(func(_reason, text): $Label.text = text)
##     $RelayClient.state_received.connect(_on_state_received)
##     $RelayClient.join_or_create_room("LOBBY")
##
## func _physics_process(_delta: float) -> void:
##     $RelayClient.publish_state(var_to_bytes(position))
## [/codeblock]
## A game sends three kinds of things. [b]State[/b] ([method publish_state]) is the newest bytes of
## an entity: newest wins. A [b]message[/b] ([method send_message]) arrives exactly once, and all
## players receive all messages in one order. A [b]signal[/b] ([method send_signal]) arrives once or
## not at all. Lost packets are sent again by themselves.
## [br][br]
## Signals come in the order in which things happened; properties such as [member players] are those
## of the newest. So who left may still have sent the message that comes now:
## [code]players.get(sender, "?")[/code].
## [br][br]
## Everything goes on while the game is paused. Outside of the scene tree call [method poll] once
## a frame.

# gdlint: disable=max-public-methods

## The relay let us in: [member room_code], [member player_id] and [method room_limits] are known,
## and we may publish and send. Who else is there comes next, with [signal player_joined] for
## everybody and us, and [signal host_changed].
signal joined
## Joining failed. [param text] is for the player; [param reason] is a Refusal of the relay or a
## [enum Problem].
signal join_refused(reason: int, text: String)
## The session ended. [param text] is for the player; [param reason] is a ByeReason.
signal disconnected(reason: int, text: String)
## Answer to [method connect_to_relay]: [code]release, tick_rate, load_percent, players,
## max_players, rooms, round_trip_s[/code].
signal relay_answered(info: Dictionary)
## Nothing answered [method connect_to_relay], or nothing that we understand. [param text] is for
## the player; [param reason] is a [enum Problem].
signal relay_unreachable(reason: int, text: String)
## Somebody is in the room: first those who were there before us, then we, then who comes.
signal player_joined(player_id: int, player_name: String)
## Somebody left; [param reason] is a ByeReason. Their entities go with
## [signal entities_removed], before or after this.
signal player_left(player_id: int, reason: int)
## Another player is the host: whoever has been in the room longest. -1 = nobody.
signal host_changed(player_id: int)
## Entities of other players changed. A [RelayStates] holds many; there may be several signals per
## tick.
signal state_received(states: _RelayStatesScript)
## Entities of other players are gone.
signal entities_removed(entity_ids: PackedInt32Array)
## A message, exactly once and in the same order at everybody. Messages to all come back to their
## sender too.
signal message_received(sender: int, payload: PackedByteArray, channel: int, kind: int)
## A signal, at most once.
signal signal_received(sender: int, payload: PackedByteArray, channel: int, kind: int)

## What a client is doing.
enum Status {
	## Not in a room, and not on the way into one.
	OFFLINE,
	## Asked to be let in: [signal joined] or [signal join_refused] comes.
	JOINING,
	## In a room.
	JOINED,
}
## Reasons that are not the relay's. Numbers of the relay are below 256.
enum Problem {
	## Nothing answered in time, or the name of the relay is unknown.
	NO_ANSWER = 256,
	## The game runs where there is no UDP: in a browser.
	NO_UDP = 257,
	## Answer to [method connect_to_relay]: relay and game speak different versions.
	VERSION = 258,
}

const _RelayAddress := preload("relay_address.gd")
const _RelayConnection := preload("relay_connection.gd")
const _RelayLink := preload("relay_link.gd")
const _RelayProbe := preload("relay_probe.gd")
const _RelayRequest := preload("relay_request.gd")
const _RelayClientScript := preload("relay_client.gd")
const _RelayStatesScript := preload("relay_states.gd")
const _RelayVisit := preload("relay_visit.gd")
const _RelayWarnings := preload("relay_warnings.gd")
const _RelayWire := preload("generated_wire.gd")

## Why a relay refuses: [code]RelayClient.Refusal.ROOM_FULL[/code] and so on.
const Refusal := _RelayWire.Refusal  # gdlint:ignore = constant-name
## Why a session ends: [code]RelayClient.ByeReason.SHUTDOWN[/code] and so on.
const ByeReason := _RelayWire.ByeReason  # gdlint:ignore = constant-name
## Whom a message or signal is for: ALL (us too), ALL_BUT, ONE, LIST.
const Target := _RelayWire.Target  # gdlint:ignore = constant-name
## Why something from the network was not taken: keys of [code]statistics()["dropped"][/code].
const DropReason := _RelayWire.DropReason  # gdlint:ignore = constant-name
## Player id of nobody.
const NOBODY := -1

const _BAD_PORT_TEXT := "%s is no address with a port from 1 to 65535."
const _WEB_TEXT := "Browser games cannot send UDP; not supported yet"

## Name or IP address of the relay, with or without ":port" behind it.
@export var address := "127.0.0.1"
## UDP port of the relay if [member address] names none.
@export_range(1, 65535) var port: int = _RelayWire.DEFAULT_PORT
## Our name in the room: 1 to 32 bytes of UTF-8. Set it before joining.
@export var player_name := "Player"
@export_group("Rooms that we create")
## Players that the room takes, 1 to 256; 0 = the relay's default (16).
@export_range(0, 256) var max_players: int = 0
## Entities that each player may publish, 1 to 256; 0 = the relay's default (1).
@export_range(0, 256) var entities_per_player: int = 0
## Longest state of an entity, 1 to 255 bytes; 0 = the relay's default (32).
@export_range(0, 255) var max_state_bytes: int = 0
@export_group("Network")
## Joining fails after this many seconds.
@export_range(0.1, 60.0) var join_timeout_s := 5.0
## Silence of the relay after which the session ends, seconds. 0 = what the relay says (10).
@export_range(0.0, 60.0) var silence_timeout_s := 5.0
## Read the socket in a thread. Then round trips are measured without the frame's delay, and packets
## are read on while the game loads a scene. Costs about 2 % of a core.
@export var read_in_thread := false

## What we are doing.
var status: _RelayClientScript.Status:
	get:
		return _status()
## Code of the room; "" while not joined. Made up by the relay if [method create_room] had none.
var room_code: String:
	get:
		return _RelayConnection.RelayHandshake.code_of(_welcome()) if is_joined() else ""
## Our number in the room, -1 while not joined.
var player_id: int:
	get:
		return _welcome().player_id if is_joined() else NOBODY
## The host's number, -1 if there is none.
var host_id: int:
	get:
		return _visit.connection.session.roster.host if is_joined() else NOBODY
## Player id -> name of everybody in the room, us included.
var players: Dictionary:
	get:
		return _visit.connection.session.roster.members.duplicate() if is_joined() else {}
## The relay's newest tick that we know of; 0 while not joined.
var tick: int:
	get:
		return _visit.connection.session.tick if is_joined() else 0
## Ticks of the relay per second; 0 while not joined.
var tick_rate: int:
	get:
		return _welcome().tick_rate if is_joined() else 0
## Estimate of the relay's time now, seconds since its tick 0.
var server_time: float:
	get:
		return _visit.connection.session.server_time(_RelayLink.clock()) if is_joined() else 0.0
## Smoothed time to the relay and back, seconds; -1 until measured.
var round_trip_s: float:
	get:
		return _visit.connection.session.round_trip_s() if is_joined() else -1.0
## Share of the relay's datagrams that got lost lately, 0 to 1.
var loss_down: float:
	get:
		return _visit.connection.session.loss_down() if is_joined() else 0.0
## Share of our datagrams that got lost lately, 0 to 1.
var loss_up: float:
	get:
		return _visit.connection.session.loss_up() if is_joined() else 0.0

var _visit: _RelayVisit
var _probe: _RelayProbe
var _leaving: Array[_RelayVisit] = []
var _failure: _RelayConnection.RelayEvents.RelayRefused
var _is_polling := false
var _is_send_planned := false
var _warnings := _RelayWarnings.new("RelayClient")


func _enter_tree() -> void:
	if process_mode == PROCESS_MODE_INHERIT:
		process_mode = PROCESS_MODE_ALWAYS  # a paused game must go on acknowledging
	process_priority = -1000  # before the game's own nodes: they see what this frame brought


func _process(_delta: float) -> void:
	poll()


func _notification(what: int) -> void:
	if what == NOTIFICATION_PREDELETE:
		_say_goodbye()


## Looks whether a relay is there, without joining: [signal relay_answered] or
## [signal relay_unreachable]. While offline it sets [member address] and [member port] where given;
## while in a room it asks only, for a list of servers, say. Rooms may be joined without it.
func connect_to_relay(relay_address: String = "", relay_port: int = 0) -> void:
	var asked_address := address if relay_address.is_empty() else relay_address
	var asked_port := relay_port if relay_port > 0 else port
	if status == Status.OFFLINE:
		address = asked_address
		port = asked_port
	_close_probe()
	var parsed := _RelayAddress.new(asked_address, asked_port)
	_probe = _RelayProbe.new(parsed.host, parsed.port, join_timeout_s, _nonce(), _RelayLink.clock())


## Creates a room and joins it. Without [param code] the relay makes one up, see [member room_code].
func create_room(code: String = "", password: String = "") -> void:
	_enter_room(_RelayWire.JoinMode.CREATE, code, password)


## Joins a room that exists.
func join_room(code: String, password: String = "") -> void:
	_enter_room(_RelayWire.JoinMode.JOIN, code, password)


## Joins a room; creates it if there is none with this code.
func join_or_create_room(code: String, password: String = "") -> void:
	_enter_room(_RelayWire.JoinMode.JOIN_OR_CREATE, code, password)


## Leaves the room: [signal disconnected] with ByeReason.LEFT. An attempt to join is given up
## without a signal. What the relay does not have yet is lost: wait for [method is_idle] first if
## that matters.
func leave_room() -> void:
	_failure = null
	if _visit == null:
		return
	var visit := _visit
	var was_joined := is_joined()
	_visit = null
	visit.leave(_RelayLink.clock())
	_leaving.append(visit)
	if was_joined:
		disconnected.emit(
			_RelayWire.ByeReason.LEFT, _RelayWire.BYE_TEXTS[_RelayWire.ByeReason.LEFT]
		)


## Whether we are in a room.
func is_joined() -> bool:
	return _visit != null and _visit.connection.state() == _RelayConnection.RelayPhase.JOINED


## Whether we are the host: the player who has been in the room longest.
func is_host() -> bool:
	return is_joined() and host_id == player_id


## Whether the relay has everything that was published and sent.
func is_idle() -> bool:
	return _visit == null or _visit.connection.is_idle()


## Sets the newest bytes of one of our entities: 1 to [member max_state_bytes] of the room. They go
## out with the next tick and again until the relay has them. Call it as often as you like. While
## not joined nothing happens.
func publish_state(state: PackedByteArray, local_index: int = 0) -> Error:
	if not is_joined():
		return ERR_UNAVAILABLE
	var error := _visit.connection.publish(local_index, state, _RelayLink.clock())
	if error == ERR_INVALID_PARAMETER:
		var permitted := [_welcome().max_state_bytes, _welcome().entities_per_player - 1]
		_warnings.give(
			"publish_state of %d bytes for index %d" % [state.size(), local_index],
			"this room takes 1 to %d bytes and indexes 0 to %d; see max_state_bytes" % permitted,
			"publish_state"
		)
	return error


## Takes one of our entities out of the room. Others get [signal entities_removed].
func remove_state(local_index: int = 0) -> Error:
	return _visit.connection.remove(local_index) if is_joined() else ERR_UNAVAILABLE


## Sends a message: exactly once, in the same order for everybody. It leaves at the frame's end.
## [br][br]
## [param payload]: at most 1 MiB. [param target]: ALL (us too), ALL_BUT and ONE with one player in
## [param to_players], LIST with up to 255. [param channel] 0 to 255 and [param kind] 1 to 127 are
## for the game to use. Returns ERR_OUT_OF_MEMORY while more than 4 MiB wait.
func send_message(
	payload: PackedByteArray,
	target: int = Target.ALL,
	to_players: PackedInt32Array = PackedInt32Array(),
	channel: int = 0,
	kind: int = 1
) -> Error:
	if not is_joined():
		return _warn_too_early("send_message")
	var connection := _visit.connection
	var error := connection.send_message(payload, kind, channel, target, to_players)
	_after_sending("send_message", error, payload.size())
	return error


## Sends a signal: at most once, never again. It leaves at the end of this frame.
## [br][br]
## [param payload]: at most 8 KiB. [param newest_first]: who has seen a newer one of ours on this
## channel drops it. [param after_log]: it does not overtake the messages sent before it; false for
## voice. The rest as for [method send_message].
func send_signal(
	payload: PackedByteArray,
	target: int = Target.ALL,
	to_players: PackedInt32Array = PackedInt32Array(),
	channel: int = 0,
	newest_first: bool = false,
	after_log: bool = true,
	kind: int = 1
) -> Error:
	if not is_joined():
		return _warn_too_early("send_signal")
	var flags := _RelayWire.SignalFlag.NEWEST_FIRST if newest_first else 0
	flags |= _RelayWire.SignalFlag.AFTER_LOG if after_log else 0
	var connection := _visit.connection
	var error := connection.send_signal(payload, kind, channel, target, to_players, flags)
	_after_sending("send_signal", error, payload.size())
	return error


## Newest bytes of any player's entity, our own included; empty if there is none.
func get_state(of_player: int, local_index: int = 0) -> PackedByteArray:
	if not is_joined():
		return PackedByteArray()
	var entity_id := entity_id_of(of_player, local_index)
	return _visit.connection.session.table.states().get(entity_id, PackedByteArray()).duplicate()


## Number of an entity in this room: [code]local_index * player_slots + player[/code].
func entity_id_of(of_player: int, local_index: int = 0) -> int:
	return local_index * _welcome().player_slots + of_player if is_joined() else NOBODY


## The player who published an entity.
func player_of(entity_id: int) -> int:
	return entity_id % _welcome().player_slots if is_joined() else NOBODY


## What the room permits, as the relay said when we joined: [code]max_players, player_slots,
## entities_per_player, max_state_bytes, messages_per_s, signals_per_s[/code]. Empty while offline.
func room_limits() -> Dictionary:
	if not is_joined():
		return {}
	var welcome := _welcome()
	return {
		"max_players": welcome.max_players,
		"player_slots": welcome.player_slots,
		"entities_per_player": welcome.entities_per_player,
		"max_state_bytes": welcome.max_state_bytes,
		"messages_per_s": welcome.messages_per_s,
		"signals_per_s": welcome.signals_per_s,
	}


## Counters of this session: [code]datagrams_in, datagrams_out, bytes_in, bytes_out,
## messages_waiting, messages_resent, signals_unsent, signals_superseded[/code] (came after a newer
## one that asked for newest_first order), [code]dropped[/code] (reason -> count of what was not
## taken).
func statistics() -> Dictionary:
	return {} if _visit == null else _visit.statistics()


## Reads the network, emits signals, and plans what is to be sent for the end of the frame. In the
## scene tree this happens by itself once a frame; calling it more often does no harm.
func poll() -> void:
	if _is_polling:
		return  # called from a signal that this function emits
	_is_polling = true
	_poll_probe()
	if _failure != null:
		var failure := _failure
		_failure = null
		join_refused.emit(failure.reason, failure.text)
	if _visit != null:
		_tell(_visit, _visit.receive())
	_plan_sending()
	_is_polling = false


func _status() -> _RelayClientScript.Status:
	if is_joined():
		return Status.JOINED
	return Status.JOINING if _visit != null or _failure != null else Status.OFFLINE


func _welcome() -> _RelayWire.RelayWelcomeFields:
	return _visit.connection.session.welcome


## Whether this platform has UDP sockets at all.
func _has_udp() -> bool:
	return not OS.has_feature("web")


func _enter_room(mode: _RelayWire.JoinMode, code: String, password: String) -> void:
	leave_room()
	if _visit != null or _failure != null:
		return  # a handler of disconnected has entered another room
	_close_probe()
	var relay := _RelayAddress.new(address, port)
	var request := _RelayRequest.new()
	request.mode = mode
	request.code = code.strip_edges().to_upper()
	request.player_name = player_name
	request.password = password
	request.max_players = max_players
	request.entities_per_player = entities_per_player
	request.max_state_bytes = max_state_bytes
	request.deadline_s = join_timeout_s
	request.silence_s = silence_timeout_s
	if not _has_udp():
		_fail(Problem.NO_UDP, _WEB_TEXT)
	elif relay.port == 0:
		_fail(Problem.NO_ANSWER, _BAD_PORT_TEXT % address)
	elif request.problem() != 0:
		_fail(request.problem(), _RelayWire.REFUSAL_TEXTS[request.problem()])
	else:
		_warnings.clear(str(get_path()) if is_inside_tree() else "RelayClient")
		var now := _RelayLink.clock()
		_visit = _RelayVisit.new(relay.host, relay.port, read_in_thread, request, _nonce(), now)
		_tell(_visit, _visit.send(now))  # a scene may be loaded in this frame


## Tells of a failure with the next poll: who calls and then waits for the signal must not miss it.
func _fail(reason: int, text: String) -> void:
	_failure = _RelayConnection.RelayEvents.RelayRefused.new()
	_failure.reason = reason
	_failure.text = text


func _poll_probe() -> void:
	if _probe == null:
		return
	var problem := Problem.NO_ANSWER
	if not _has_udp():
		problem = Problem.NO_UDP
		_probe.problem = _WEB_TEXT
	elif not _probe.poll(_RelayLink.clock()):
		return
	elif _probe.is_version_problem:
		problem = Problem.VERSION
	var probe := _probe
	_close_probe()
	if probe.problem.is_empty():
		relay_answered.emit(probe.answer)
	else:
		relay_unreachable.emit(problem, probe.problem)


func _close_probe() -> void:
	if _probe != null:
		_probe.line.close()
		_probe = null


func _nonce() -> int:
	return Crypto.new().generate_random_bytes(_RelayWire.NONCE_BYTES).decode_u64(0)


## Emits signals for events of a visit, as long as the game does not end it meanwhile.
func _tell(visit: _RelayVisit, events: Array) -> void:
	for event: RefCounted in events:
		if visit != _visit:
			return
		if event is _RelayStatesScript:
			state_received.emit(event)
		elif event is _RelayConnection.RelayEvents.RelayMessageReceived:
			message_received.emit(event.sender, event.payload, event.channel, event.kind)
		elif event is _RelayConnection.RelayEvents.RelaySignalReceived:
			signal_received.emit(event.sender, event.payload, event.channel, event.kind)
		elif event is _RelayConnection.RelayEvents.RelayEntitiesRemoved:
			entities_removed.emit(event.ids)
		else:
			_tell_rare(visit, event)


func _tell_rare(visit: _RelayVisit, event: RefCounted) -> void:
	if event is _RelayConnection.RelayEvents.RelayPlayerJoined:
		player_joined.emit(event.player_id, event.player_name)
	elif event is _RelayConnection.RelayEvents.RelayPlayerLeft:
		player_left.emit(event.player_id, event.reason)
	elif event is _RelayConnection.RelayEvents.RelayHostChanged:
		host_changed.emit(event.player_id)
	elif event is _RelayConnection.RelayEvents.RelayJoined:
		if visit.connection.fingerprint_differs:
			_warnings.give("the relay is of another build", "use game and relay of one release")
		joined.emit()
	else:
		_visit = null
		_leaving.append(visit)
		if event is _RelayConnection.RelayEvents.RelayRefused:
			join_refused.emit(event.reason, event.text)
		else:
			disconnected.emit(event.reason, event.text)


func _after_sending(what: String, error: Error, size: int) -> void:
	match error:
		OK:
			_visit.flush_soon()
			_plan_sending()
		ERR_INVALID_PARAMETER:
			_warnings.give(
				"%s of %d bytes was not sent" % [what, size],
				"check size, target, players, channel and kind against the help of %s" % what,
				what
			)
		ERR_OUT_OF_MEMORY:
			_warnings.give(what + ": 4 MiB wait to be sent", "send less, or wait for is_idle()")


func _warn_too_early(what: String) -> Error:
	_warnings.give(what + " while not joined: nothing is sent", "wait for the signal joined")
	return ERR_UNAVAILABLE


## Sends at the end of this frame, when the game has said all that it has to say.
func _plan_sending() -> void:
	if _is_send_planned:
		return
	var now := _RelayLink.clock()
	if (_visit != null and _visit.is_due(now)) or not _leaving.is_empty():
		_is_send_planned = true
		_send.call_deferred()


func _send() -> void:
	_is_send_planned = false
	var now := _RelayLink.clock()
	for visit: _RelayVisit in _leaving.duplicate():
		visit.send(now)
		if visit.is_over() or not visit.line.is_open():
			visit.line.close()
			_leaving.erase(visit)
	if _visit != null:
		_tell(_visit, _visit.send(now))


func _say_goodbye() -> void:
	_close_probe()
	if _visit != null:
		_leaving.append(_visit)
	for visit in _leaving:
		visit.leave_at_once(_RelayLink.clock())
	_leaving.clear()
	_visit = null
