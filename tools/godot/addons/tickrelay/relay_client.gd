# gdlint: disable=max-public-methods
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
## A connection that is lost comes back by itself while the relay keeps the place (60 s unless it is
## configured otherwise): [signal connection_lost], then [signal resumed]. What the game does
## meanwhile is kept. A game that crashed comes back with [method resume].
## [br][br]
## Everything goes on while the game is paused. Outside of the scene tree call [method poll] once
## a frame.

## We are in the room, and know all of it: who is there ([signal player_joined] for everybody and
## us), [signal host_changed], properties, kept messages and states were told before. Now we may
## publish and send.
signal joined
## Joining failed. [param text] is for the player; [param reason] is a Refusal of the relay or a
## [enum Problem].
signal join_refused(reason: int, text: String)
## The session ended, and does not come back. [param text] is for the player; [param reason] is a
## ByeReason.
signal disconnected(reason: int, text: String)
## Nothing came from the relay for [member silence_timeout_s]: we try to come back. Either
## [signal resumed] or [signal disconnected] follows.
signal connection_lost
## We are back in our place. [param afresh]: more was missed than the relay keeps. Then messages of
## ours that were under way are lost, and all messages that are kept were told again; what else
## changed was told as always. After [method resume] it comes right behind [signal joined].
signal resumed(afresh: bool)
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
## The relay has not heard another player for a while (10 s). Its place, entities and properties are
## kept until [signal player_back] or [signal player_left].
signal player_away(player_id: int)
## Another player who was away is there again.
signal player_back(player_id: int)
## Another player is the host: whoever has been in the room longest and is not away, or whom the
## host chose. -1 = nobody.
signal host_changed(player_id: int)
## A property of the room ([param owner] -1) or of a player was set, or removed: then [param value]
## is null. [param by]: who did it; -1 = it was there before us. A player who leaves takes its own
## along without this.
signal property_changed(owner: int, key: String, value: Variant, by: int)
## The host locked the room, or opened it again.
signal room_locked(is_locked: bool)
## Messages are no longer kept for those who join later: [param by] asked for that with [method
## clear_kept]. [param indexes]: the [member message_index] of each. What goes with a player who
## leaves is not told so.
signal kept_cleared(indexes: PackedInt64Array, by: int)
## The relay did not do what [param request_id] asked for, see [method set_room_property] and
## others; or it did not keep a message of ours. [param text] is for a human; [param reason] is a
## RequestRefusal.
signal request_refused(request_id: int, reason: int, text: String)
## [param owner] publishes an entity from now on; HOST = whoever is host. Its state stays.
signal entity_owner_changed(entity_id: int, owner: int)
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
	## In a room, but the connection is lost: [signal resumed] or [signal disconnected] comes.
	RESUMING,
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
const _RelayPlace := preload("relay_place.gd")
const _RelayProbe := preload("relay_probe.gd")
const _RelayProperties := preload("relay_properties.gd")
const _RelayRequest := preload("relay_request.gd")
const _RelayClientScript := preload("relay_client.gd")
const _RelayStatesScript := preload("relay_states.gd")
const _RelayTeller := preload("relay_teller.gd")
const _RelayValues := preload("relay_values.gd")
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
## Why the relay does not do what we ask: [code]RelayClient.RequestRefusal.NOT_HOST[/code] and so
## on.
const RequestRefusal := _RelayWire.RequestRefusal  # gdlint:ignore = constant-name
## Player id of nobody.
const NOBODY := -1
## Owner of an entity that is the host's, whoever that is.
const HOST := 65535
## Request id of a request that was not sent.
const NO_REQUEST := 0

const _NO_PLACE_TEXT := "There is no place in a room to come back to. Join again."
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
## Every player may set properties of the room, not only the host.
@export var anyone_sets := false
@export_group("Network")
## Joining fails after this many seconds.
@export_range(0.1, 60.0) var join_timeout_s := 5.0
## Silence of the relay after which the connection is lost, seconds. 0 = what the relay says (10).
@export_range(0.0, 60.0) var silence_timeout_s := 5.0
## Come back by itself when the connection is lost. Otherwise the session ends then.
@export var reconnect := true
## Joining the room in which this game was when it crashed means [method resume]; if our place is no
## longer kept, we join as usual.
@export var resume_when_joining := false
## Read the socket in a thread. Then round trips are measured without the frame's delay, and packets
## are read on while the game loads a scene. Costs about 2 % of a core.
@export var read_in_thread := false

## What we are doing.
var status: _RelayClientScript.Status:
	get:
		return _status()
## Code of the room; "" while in none. Made up by the relay if [method create_room] had none.
var room_code: String:
	get:
		return _RelayConnection.RelayHandshake.code_of(_welcome()) if _is_in_room() else ""
## Our number in the room, -1 while in none. Known, as all that follows, before [signal joined]:
## what is told of the room before it may need it.
var player_id: int:
	get:
		return _welcome().player_id if _is_in_room() else NOBODY
## The host's number, -1 if there is none.
var host_id: int:
	get:
		return _room().roster.host if _is_in_room() else NOBODY
## Player id -> name of everybody in the room, us and those who are away included.
var players: Dictionary:
	get:
		return _room().roster.members.duplicate() if _is_in_room() else {}
## Player ids of those who are away.
var away_players: PackedInt32Array:
	get:
		return PackedInt32Array(_room().roster.away.keys()) if _is_in_room() else []
## Whether nobody can join the room.
var is_room_locked: bool:
	get:
		return _is_in_room() and _room().is_locked
## While [signal message_received] is told: whether the message was sent before we came, and kept
## for us. Who sent it may have left: then its sender is -1.
var message_is_kept := false
## While [signal message_received] is told: the message's place in the room's log when it was sent,
## the same for all, for [method clear_kept].
var message_index := 0
## The relay's newest tick that we know of; 0 while not joined.
var tick: int:
	get:
		return _visit.connection.session.tick if _is_in_room() else 0
## Ticks of the relay per second; 0 while not joined.
var tick_rate: int:
	get:
		return _welcome().tick_rate if _is_in_room() else 0
## Estimate of the relay's time now, seconds since its tick 0.
var server_time: float:
	get:
		return _visit.connection.session.server_time(_RelayLink.clock()) if _is_in_room() else 0.0
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

var _place := _RelayPlace.new()
var _visit: _RelayVisit
var _next_request: _RelayRequest  # if our place is no longer kept
var _teller: _RelayTeller
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


## Whether a game of ours was in a room when it crashed, so that [method resume] may bring it back.
## The relay keeps the place for a while only (60 s unless it is configured otherwise).
func can_resume() -> bool:
	return status == Status.OFFLINE and _place.has_token()


## Comes back as the same player into the room in which this game was when it crashed, with the
## relay's address of then: [signal joined], then [signal resumed]; or [signal join_refused]. Our
## entities are told like others' ([signal state_received]), until we publish them: there we go on.
## [br][br]
## Of several games on one machine each comes back to its own place, if they are started with
## [code]-- --tickrelay-profile=0[/code], [code]=1[/code] and so on; without that, in any order.
func resume() -> void:
	leave_room()
	if _visit != null or _failure != null:
		return  # a handler of disconnected has entered another room
	if not _place.has_token():
		_fail(Refusal.CANNOT_RESUME, _NO_PLACE_TEXT)
		return
	_enter(_place.address(), _place.port(), _place.request(_new_request()))


## Leaves the room: [signal disconnected] with ByeReason.LEFT. An attempt to join is given up
## without a signal. What the relay does not have yet is lost: wait for [method is_idle] first if
## that matters.
func leave_room() -> void:
	_failure = null
	if _visit == null:
		return
	var visit := _visit
	var was_joined := _teller.has_joined
	_forget_visit()
	_place.forget()
	visit.leave(_RelayLink.clock())
	_leaving.append(visit)
	if was_joined:
		disconnected.emit(
			_RelayWire.ByeReason.LEFT, _RelayWire.BYE_TEXTS[_RelayWire.ByeReason.LEFT]
		)


## Whether we are in a room, from [signal joined] to [signal disconnected]: also while the
## connection is lost and comes back, see [member status].
func is_joined() -> bool:
	return _is_in_room() and _teller.has_joined


## Whether we are the host.
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


## As [method publish_state], for an entity that was handed over to us, or that is the host's while
## we are. Returns ERR_UNAUTHORIZED if it is not ours, see [method get_entity_owner].
func publish_entity(entity_id: int, state: PackedByteArray) -> Error:
	if not is_joined():
		return ERR_UNAVAILABLE
	return _visit.connection.publish_entity(entity_id, state, _RelayLink.clock())


## Takes one of our entities out of the room. Others get [signal entities_removed].
func remove_state(local_index: int = 0) -> Error:
	return _visit.connection.remove(local_index) if is_joined() else ERR_UNAVAILABLE


## As [method remove_state], for an entity that was handed over to us, or that is the host's while
## we are.
func remove_entity(entity_id: int) -> Error:
	return _visit.connection.remove_entity(entity_id) if is_joined() else ERR_UNAVAILABLE


## Sends a message: exactly once, in the same order for everybody. It leaves at the frame's end.
## [br][br]
## [param payload]: at most 1 MiB. [param target]: ALL (us too), ALL_BUT and ONE with one player in
## [param to_players], LIST with up to 255. [param channel] 0 to 255 and [param kind] 1 to 111 are
## for the game to use. Returns ERR_OUT_OF_MEMORY while more than 4 MiB wait.
## [br][br]
## [param keep]: who joins later gets it too (at most 1,020 bytes, to ALL), until it is cleared
## ([method clear_kept]) or we leave; with [param outlives_sender] also after that.
func send_message(
	payload: PackedByteArray,
	target: int = Target.ALL,
	to_players: PackedInt32Array = PackedInt32Array(),
	channel: int = 0,
	kind: int = 1,
	keep: bool = false,
	outlives_sender: bool = false
) -> Error:
	if not is_joined():
		return _warn_too_early("send_message")
	var flags := _RelayWire.MessageFlag.KEEP if keep or outlives_sender else 0
	flags |= _RelayWire.MessageFlag.OUTLIVES_SENDER if outlives_sender else 0
	var connection := _visit.connection
	var error := connection.send_message(payload, kind, channel, target, to_players, flags)
	_after_sending("send_message", error, payload.size())
	return error


## Sends a signal: at most once, never again. It leaves at the end of this frame.
## [br][br]
## [param payload]: at most 8 KiB. [param newest_first]: who has seen a newer one of ours on this
## channel drops it. [param after_log]: it does not overtake the messages sent before it; false for
## voice. [param kind]: 1 to 127. The rest as for [method send_message].
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
	return get_entity_state(entity_id_of(of_player, local_index))


## Newest bytes of any entity; empty if there is none.
func get_entity_state(entity_id: int) -> PackedByteArray:
	if not _is_in_room():
		return PackedByteArray()
	return _visit.connection.session.table.states().get(entity_id, PackedByteArray()).duplicate()


## Number of an entity in this room: [code]local_index * player_slots + player[/code].
func entity_id_of(of_player: int, local_index: int = 0) -> int:
	return local_index * _welcome().player_slots + of_player if _is_in_room() else NOBODY


## The player whose number an entity has: who publishes it, unless it was handed over.
func player_of(entity_id: int) -> int:
	return entity_id % _welcome().player_slots if _is_in_room() else NOBODY


## The player who publishes an entity now. Of one that is the host's: the host, -1 if there is none.
func get_entity_owner(entity_id: int) -> int:
	if not _is_in_room():
		return NOBODY
	var owner := _room().owners.owner_of(entity_id)
	return host_id if owner == HOST else owner


## Whether we have published an entity, or removed it, since it is ours. Else its newest state is
## another's, or that of our game before it crashed: a good one to go on from.
func is_published(entity_id: int) -> bool:
	return _is_in_room() and _visit.connection.session.table.is_own(entity_id)


## A property of the room; [param default] if there is none.
func get_room_property(key: String, default: Variant = null) -> Variant:
	return _property(_RelayProperties.ROOM, key, default)


## A property of a player; [param default] if there is none.
func get_player_property(of_player: int, key: String, default: Variant = null) -> Variant:
	return _property(of_player, key, default)


## Key -> value of all properties of the room.
func room_properties() -> Dictionary:
	return _room().properties.all_of(_RelayProperties.ROOM) if _is_in_room() else {}


## Key -> value of all properties of a player.
func player_properties(of_player: int) -> Dictionary:
	return _room().properties.all_of(of_player) if _is_in_room() else {}


## Asks the relay to set a property of the room: null (remove it), bool, int, float, String or
## PackedByteArray, the last two of at most 200 bytes; [param key] has 1 to 32 bytes. Permitted to
## the host, or to all if the room was created with [member anyone_sets]. A room has up to 64.
## [br][br]
## Everybody, us too, gets [signal property_changed]; or we get [signal request_refused] with the
## number that this returns. NO_REQUEST: it was not sent.
func set_room_property(key: String, value: Variant) -> int:
	return _set_property("set_room_property", _RelayProperties.ROOM, key, value)


## As [method set_room_property], if the property is [param expected] (null: if there is none) and
## nobody changes it before us: of several who try, exactly one succeeds. The others get
## [signal request_refused] with RequestRefusal.CHANGED.
func compare_and_set_room_property(key: String, expected: Variant, value: Variant) -> int:
	var version := _RelayProperties.NEVER
	if _is_in_room() and _RelayValues.is_same(get_room_property(key), expected):
		version = _room().properties.version(_RelayProperties.ROOM, key)
	return _set_property(
		"compare_and_set_room_property", _RelayProperties.ROOM, key, value, version
	)


## Asks the relay to set a property of ours, or, as the host, of another player. A player has up to
## 16. The rest as for [method set_room_property].
func set_player_property(key: String, value: Variant, of_player: int = NOBODY) -> int:
	var owner := player_id if of_player == NOBODY else of_player
	return _set_property("set_player_property", owner, key, value)


## Hands an entity over: [param to_player] publishes it from now on, HOST = whoever is host.
## Permitted to its owner and the host. All get [signal entity_owner_changed]; see [method
## set_room_property] for what this returns.
func give_entity(entity_id: int, to_player: int) -> int:
	var payload := _RelayWire.RelayGiveEntityPayload.new()
	payload.entity_id = entity_id
	payload.owner = to_player
	return _request(_RelayWire.RequestKind.GIVE_ENTITY, payload.encode())


## Keeps a message no longer: that with this [member message_index], 0 = all that we may clear.
## Permitted to its sender and the host. All get [signal kept_cleared].
func clear_kept(index: int = 0) -> int:
	var payload := _RelayWire.RelayClearKeptPayload.new()
	payload.log_index = index
	return _request(_RelayWire.RequestKind.CLEAR_KEPT, payload.encode())


## Host: makes another player the host, who must not be away. All get [signal host_changed].
func hand_over_host(to_player: int) -> int:
	var payload := _RelayWire.RelayHandOverHostPayload.new()
	payload.player_id = to_player
	return _request(_RelayWire.RequestKind.HAND_OVER_HOST, payload.encode())


## Host: removes a player from the room, who gets [signal disconnected] with [param text] (at most
## 200 bytes). It may join again.
func kick(of_player: int, text: String = "") -> int:
	var payload := _RelayWire.RelayKickPayload.new()
	payload.player_id = of_player
	payload.text = text.to_utf8_buffer()
	return _request(_RelayWire.RequestKind.KICK, payload.encode())


## Host: removes a player, who cannot join this room again with the same installation of the game;
## with [param by_address] nobody can from the same internet address.
func ban(of_player: int, text: String = "", by_address: bool = false) -> int:
	var payload := _RelayWire.RelayBanPayload.new()
	payload.player_id = of_player
	payload.flags = _RelayWire.BanFlag.ADDRESS if by_address else 0
	payload.text = text.to_utf8_buffer()
	return _request(_RelayWire.RequestKind.BAN, payload.encode())


## Host: lets nobody join any more, or everybody again. Who is away can come back. All get
## [signal room_locked].
func lock_room(is_locked: bool = true) -> int:
	var payload := _RelayWire.RelayLockPayload.new()
	payload.is_locked = int(is_locked)
	return _request(_RelayWire.RequestKind.LOCK, payload.encode())


## What the room permits, as the relay said when we joined: [code]max_players, player_slots,
## entities_per_player, max_state_bytes, messages_per_s, signals_per_s, grace_s[/code] (how long the
## place of a lost player is kept). Empty while offline.
func room_limits() -> Dictionary:
	if not _is_in_room():
		return {}
	var welcome := _welcome()
	return {
		"max_players": welcome.max_players,
		"player_slots": welcome.player_slots,
		"entities_per_player": welcome.entities_per_player,
		"max_state_bytes": welcome.max_state_bytes,
		"messages_per_s": welcome.messages_per_s,
		"signals_per_s": welcome.signals_per_s,
		"grace_s": welcome.grace_s,
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
		var events := _visit.receive()
		_keep_place()
		_tell(_visit, events)
	_plan_sending()
	_is_polling = false


func _status() -> _RelayClientScript.Status:
	if is_joined():
		return Status.RESUMING if _teller.is_lost else Status.JOINED
	return Status.JOINING if _visit != null or _failure != null else Status.OFFLINE


func _welcome() -> _RelayWire.RelayWelcomeFields:
	return _visit.connection.session.welcome


func _room() -> _RelayConnection.RelaySession.RelayRoom:
	return _visit.connection.session.room


## From WELCOME on: before [signal joined], too.
func _is_in_room() -> bool:
	return _visit != null and _visit.connection.is_in_room()


func _property(owner: int, key: String, default: Variant) -> Variant:
	return _room().properties.value(owner, key, default) if _is_in_room() else default


func _set_property(
	what: String, owner: int, key: String, value: Variant, if_version: int = -1
) -> int:
	if not _RelayValues.is_key(key) or not _RelayValues.is_value(value):
		_warnings.give(
			"%s: key or value cannot be used" % what,
			"keys have 1 to 32 bytes; values are null, bool, int, float, String or PackedByteArray",
			what
		)
		return NO_REQUEST
	var payload := _RelayProperties.build_request(owner, key, value, if_version)
	return _request(_RelayWire.RequestKind.SET_PROPERTY, payload)


func _request(kind: _RelayWire.RequestKind, payload: PackedByteArray) -> int:
	if not is_joined():
		_warn_too_early("a request")
		return NO_REQUEST
	var id := _visit.connection.send_request(kind, payload)
	if id != NO_REQUEST:
		_visit.flush_soon()
		_plan_sending()
	return id


## Whether this platform has UDP sockets at all.
func _has_udp() -> bool:
	return not OS.has_feature("web")


func _enter_room(mode: _RelayWire.JoinMode, code: String, password: String) -> void:
	leave_room()
	if _visit != null or _failure != null:
		return  # a handler of disconnected has entered another room
	var request := _new_request()
	request.mode = mode
	request.code = code.strip_edges().to_upper()
	request.password = password
	if resume_when_joining and _has_udp() and _place.is_of(request, address, port):
		_next_request = request
		request = _place.request(_new_request())
	_enter(address, port, request)


## What is asked for in each attempt.
func _new_request() -> _RelayRequest:
	var request := _RelayRequest.new()
	request.player_name = player_name
	request.max_players = max_players
	request.entities_per_player = entities_per_player
	request.max_state_bytes = max_state_bytes
	request.anyone_sets = anyone_sets
	request.deadline_s = join_timeout_s
	request.silence_s = silence_timeout_s
	request.reconnect = reconnect
	return request


func _enter(at_address: String, at_port: int, request: _RelayRequest) -> void:
	_close_probe()
	var relay := _RelayAddress.new(at_address, at_port)
	if not _has_udp():
		_fail(Problem.NO_UDP, _WEB_TEXT)
	elif relay.port == 0:
		_fail(Problem.NO_ANSWER, _BAD_PORT_TEXT % at_address)
	elif request.problem() != 0:
		_fail(request.problem(), _RelayWire.REFUSAL_TEXTS[request.problem()])
	else:
		_warnings.clear(str(get_path()) if is_inside_tree() else "RelayClient")
		request.identity = _place.identity()
		_place.use(at_address, at_port)
		var now := _RelayLink.clock()
		_visit = _RelayVisit.new(relay.host, relay.port, read_in_thread, request, _nonce(), now)
		_teller = _RelayTeller.new(self, _visit.connection, _visit.was_resuming)
		_tell(_visit, _visit.send(now))  # a scene may be loaded in this frame


func _forget_visit() -> void:
	if _teller != null:
		_teller.is_over = true
	_visit = null
	_next_request = null


## Writes down, before the next DATA leaves, how a process that is started anew gets back here.
func _keep_place() -> void:
	if not _is_in_room():
		return
	_place.keep(_welcome())
	if _visit.connection.fingerprint_differs:
		_warnings.give("the relay is of another build", "use game and relay of one release")


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
	var end := _teller.tell(events)
	if end == null:
		return
	var next := _next_request
	_forget_visit()
	_leaving.append(visit)
	if end is _RelayConnection.RelayEvents.RelayDisconnected:
		_place.forget()
		disconnected.emit(end.reason, end.text)
		return
	if visit.was_resuming and end.reason != Problem.NO_ANSWER:
		_place.forget()
		if next != null and end.reason != Refusal.BANNED:
			_enter(address, port, next)
			return
	join_refused.emit(end.reason, end.text)


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
		_place.forget()
	for visit in _leaving:
		visit.leave_at_once(_RelayLink.clock())
	_leaving.clear()
	_forget_visit()
