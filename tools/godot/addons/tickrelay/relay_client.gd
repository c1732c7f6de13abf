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
## not at all. Lost packets are sent again by themselves. What is set rather than sent, as
## properties are, and what the host may do stands in [member room].
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
## Joining failed: it comes instead of [signal joined]. [param text] is for the player;
## [param reason] is a Refusal of the relay or a [enum Problem].
signal join_refused(reason: int, text: String)
## The session ended after [signal joined], and does not come back. [param text] is for the player;
## [param reason] is a ByeReason.
signal disconnected(reason: int, text: String)
## Nothing came from the relay for [member silence_timeout_s]: we try to come back. Either
## [signal resumed] or [signal disconnected] follows.
signal connection_lost
## We are back in our place. [param afresh]: more was missed than the relay keeps. Then messages of
## ours that were under way are lost, and all messages that are kept were told again; what else
## changed was told as always. After [method resume] it comes right behind [signal joined].
signal resumed(afresh: bool)
## Answer to [method connect_to_relay]: [code]release, region, tick_rate, load_percent, players,
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
## All who play this game find the room in lists and quick matches from now on, or only who knows
## its code.
signal room_shown(is_listed: bool)
## Messages are no longer kept for those who join later: [param by] asked for that with [method
## RelayRoom.clear_kept]. [param indexes]: the [member message_index] of each. What goes with a
## player who leaves is not told so.
signal kept_cleared(indexes: PackedInt64Array, by: int)
## The relay did not do what [param request_id] asked for, see [RelayRoom] and
## [method give_entity]; or it did not keep the message of ours that had this
## [member last_message_id]. [param text] is for a human; [param reason] is a RequestRefusal.
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
	## We were let in, and removed before we knew all of the room: the host did not want us, say.
	ENDED = 262,
}

const _RelayClientScript := preload("relay_client.gd")
const _RelayHandshake := preload("relay_handshake.gd")
const _RelayInquiry := preload("relay_inquiry.gd")
const _RelayLink := preload("relay_link.gd")
const _RelayRequest := preload("relay_request.gd")
const _RelayRoomScript := preload("relay_room.gd")
const _RelayStatesScript := preload("relay_states.gd")
const _RelayVisitor := preload("relay_visitor.gd")
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
const NO_REQUEST := _RelayVisitor.NO_REQUEST

## Name or IP address of the relay, with or without ":port" behind it.
@export var address := "127.0.0.1"
## UDP port of the relay if [member address] names none.
@export_range(1, 65535) var port: int = _RelayWire.DEFAULT_PORT
## Our name in the room: 1 to 32 bytes of UTF-8. Set it before joining.
@export var player_name := "Player"
## Which game this is, such as "org.example.kart", at most 32 bytes of UTF-8: rooms of other games
## on the relay are not seen, and may have the same codes.
@export var game := ""
## Its version, at most 16 bytes of UTF-8: a room that another version opened refuses us. What can
## play together must have the same.
@export var game_version := ""
@export_group("Rooms that we create")
## Players that the room takes, 1 to 256; 0 = the relay's default (16).
@export_range(0, 256) var max_players: int = 0
## Entities that each player may publish, 1 to 256; 0 = the relay's default (1).
@export_range(0, 256) var entities_per_player: int = 0
## Longest state of an entity, 1 to 255 bytes; 0 = the relay's default (32).
@export_range(0, 255) var max_state_bytes: int = 0
## Every player may set properties of the room, not only the host.
@export var anyone_sets := false
## All who play this game find the room, see [RelayRoomList]; else only who knows its code.
@export var listed := false
## What lists show beside the code, at most 48 bytes of UTF-8.
@export var room_name := ""
## Up to 8 of 1 to 16 bytes, which lists and quick matches can ask for.
@export var room_tags := PackedStringArray()
## Up to 8 properties that the room begins with, see [method RelayRoom.set_property].
@export var room_properties: Dictionary = {}
## Up to 8 keys of the room's properties that lists show.
@export var shown_properties := PackedStringArray()
@export_group("Network")
## Joining fails after this many seconds.
@export_range(0.1, 60.0) var join_timeout_s := 5.0
## Silence of the relay after which the connection is lost, seconds. 0 = what the relay says (10).
## At least two and a half times what the relay keeps silent while there is nothing to say (1 s).
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
		return _RelayHandshake.code_of(_visitor.welcome()) if _visitor.is_in_room() else ""
## Our number in the room, -1 while in none. Known, as all that follows, before [signal joined]:
## what is told of the room before it may need it.
var player_id: int:
	get:
		return _visitor.welcome().player_id if _visitor.is_in_room() else NOBODY
## The host's number, -1 if there is none.
var host_id: int:
	get:
		return _visitor.room().roster.host if _visitor.is_in_room() else NOBODY
## Player id -> name of everybody in the room, us and those who are away included.
var players: Dictionary:
	get:
		return _visitor.room().roster.members.duplicate() if _visitor.is_in_room() else {}
## Player ids of those who are away.
var away_players: PackedInt32Array:
	get:
		return PackedInt32Array(_visitor.room().roster.away.keys()) if _visitor.is_in_room() else []
## While [signal message_received] is told: whether the message was sent before we came, and kept
## for us. Who sent it may have left: then its sender is -1.
var message_is_kept := false
## While [signal message_received] is told: the message's place in the room's log when it was sent,
## the same for all, for [method RelayRoom.clear_kept].
var message_index := 0
## Number of the message or request that we sent last: right behind [method send_message] that of
## the message, for [signal request_refused]. 0 while in no room.
var last_message_id: int:
	get:
		return _visitor.session().outbox.last_id if _visitor.is_in_room() else 0
## The relay's newest tick that we know of; 0 while not joined.
var tick: int:
	get:
		return _visitor.session().tick if _visitor.is_in_room() else 0
## Ticks of the relay per second; 0 while not joined.
var tick_rate: int:
	get:
		return _visitor.welcome().tick_rate if _visitor.is_in_room() else 0
## Estimate of the relay's time now, seconds since its tick 0.
var server_time: float:
	get:
		return _visitor.session().server_time(_RelayLink.clock()) if _visitor.is_in_room() else 0.0
## Smoothed time to the relay and back, seconds; -1 until measured.
var round_trip_s: float:
	get:
		return _visitor.session().round_trip_s() if _visitor.is_in_room() else -1.0
## Share of the relay's datagrams that got lost lately, 0 to 1.
var loss_down: float:
	get:
		return _visitor.session().loss_down() if _visitor.is_in_room() else 0.0
## Share of our datagrams that got lost lately, 0 to 1.
var loss_up: float:
	get:
		return _visitor.session().loss_up() if _visitor.is_in_room() else 0.0

## What the room keeps, and what the host may do: properties, kick, ban, lock and so on. Always the
## same object, whatever room we are in.
var room: _RelayRoomScript:
	get:
		return _room

var _warnings := _RelayWarnings.new("RelayClient")
var _visitor := _RelayVisitor.new(self, _warnings)
var _room := _RelayRoomScript.new(_visitor, _warnings)
var _inquiry := _RelayInquiry.new(self)
var _is_polling := false


func _enter_tree() -> void:
	if process_mode == PROCESS_MODE_INHERIT:
		process_mode = PROCESS_MODE_ALWAYS  # a paused game must go on acknowledging
	process_priority = -1000  # before the game's own nodes: they see what this frame brought


func _process(_delta: float) -> void:
	poll()


func _notification(what: int) -> void:
	if what == NOTIFICATION_PREDELETE:
		_inquiry.close()
		_visitor.leave_at_once()


## Looks whether a relay is there, without joining: [signal relay_answered] or
## [signal relay_unreachable]. While offline it sets [member address] and [member port] where given;
## while in a room it asks only, for a list of servers, say. Rooms may be joined without it.
func connect_to_relay(relay_address: String = "", relay_port: int = 0) -> void:
	var asked_address := address if relay_address.is_empty() else relay_address
	var asked_port := relay_port if relay_port > 0 else port
	if status == Status.OFFLINE:
		address = asked_address
		port = asked_port
	_inquiry.ask(asked_address, asked_port, join_timeout_s, _visitor.has_udp)


## Creates a room and joins it. Without [param code] the relay makes one up, see [member room_code].
func create_room(code: String = "", password: String = "") -> void:
	_enter_room(_RelayWire.JoinMode.CREATE, code, password)


## Joins a room that exists.
func join_room(code: String, password: String = "") -> void:
	_enter_room(_RelayWire.JoinMode.JOIN, code, password)


## Joins a room; creates it if there is none with this code.
func join_or_create_room(code: String, password: String = "") -> void:
	_enter_room(_RelayWire.JoinMode.JOIN_OR_CREATE, code, password)


## Joins the fullest listed room of our [member game] and [member game_version] that has a free
## place, these tags, and these values among its properties. If there is none it creates one with
## them, for the next who asks for the same.
func quick_match(
	tags: PackedStringArray = PackedStringArray(), properties: Dictionary = {}
) -> void:
	_enter_room(_RelayWire.JoinMode.QUICK, "", "", tags, properties)


## Whether a game of ours was in a room when it crashed, so that [method resume] may bring it back.
## The relay keeps the place for a while only (60 s unless it is configured otherwise); a little
## later this is false.
func can_resume() -> bool:
	return status == Status.OFFLINE and _visitor.place.has_token()


## Comes back as the same player into the room in which this game was when it crashed, with the
## relay's address of then: [signal joined], then [signal resumed]; or [signal join_refused], after
## which [method can_resume] tells whether another attempt may succeed. Our entities are told like
## others' ([signal state_received]), until we publish them: there we go on.
## [br][br]
## Of several games on one machine each comes back to its own place, if they are started with
## [code]-- --tickrelay-profile=0[/code], [code]=1[/code] and so on; without that, in any order.
func resume() -> void:
	if _leave_to_enter():
		_visitor.come_back(_new_request(), read_in_thread)


## Leaves the room: [signal disconnected] with ByeReason.LEFT. An attempt to join is given up
## without a signal. What the relay does not have yet is lost: wait for [method is_idle] first if
## that matters.
func leave_room() -> void:
	_visitor.leave()


## Whether we are in a room, from [signal joined] to [signal disconnected]: also while the
## connection is lost and comes back, see [member status].
func is_joined() -> bool:
	return _visitor.is_joined()


## Whether we are the host.
func is_host() -> bool:
	return is_joined() and host_id == player_id


## Whether the relay has everything that was published and sent.
func is_idle() -> bool:
	return _visitor.visit == null or _visitor.visit.connection.is_idle()


## Sets the newest bytes of one of our entities: 1 to [member max_state_bytes] of the room. They go
## out with the next tick and again until the relay has them. Call it as often as you like. While
## not joined nothing happens.
func publish_state(state: PackedByteArray, local_index: int = 0) -> Error:
	if not is_joined():
		return ERR_UNAVAILABLE
	var error := _visitor.visit.connection.publish(local_index, state, _RelayLink.clock())
	if error == ERR_INVALID_PARAMETER:
		var limits := room.limits()
		var permitted := [limits["max_state_bytes"], limits["entities_per_player"] - 1]
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
	return _visitor.visit.connection.publish_entity(entity_id, state, _RelayLink.clock())


## Takes one of our entities out of the room. Others get [signal entities_removed].
func remove_state(local_index: int = 0) -> Error:
	return _visitor.visit.connection.remove(local_index) if is_joined() else ERR_UNAVAILABLE


## As [method remove_state], for an entity that was handed over to us, or that is the host's while
## we are.
func remove_entity(entity_id: int) -> Error:
	return _visitor.visit.connection.remove_entity(entity_id) if is_joined() else ERR_UNAVAILABLE


## Sends a message: exactly once, in the same order for everybody. It leaves at the frame's end.
## [br][br]
## [param payload]: at most 1 MiB. [param target]: ALL (us too), ALL_BUT and ONE with one player in
## [param to_players], LIST with up to 255. [param channel] 0 to 255 and [param kind] 1 to 111 are
## for the game to use. Returns ERR_OUT_OF_MEMORY while more than 4 MiB wait.
## [br][br]
## [param keep]: who joins later gets it too (at most 1,020 bytes, to ALL), until it is cleared
## ([method RelayRoom.clear_kept]) or we leave; with [param outlives_sender] also after that. A room
## that is full of them does not keep it: [signal request_refused] with [member last_message_id].
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
		return _visitor.warn_too_early("send_message")
	var flags := _RelayWire.MessageFlag.KEEP if keep or outlives_sender else 0
	flags |= _RelayWire.MessageFlag.OUTLIVES_SENDER if outlives_sender else 0
	var connection := _visitor.visit.connection
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
		return _visitor.warn_too_early("send_signal")
	var flags := _RelayWire.SignalFlag.NEWEST_FIRST if newest_first else 0
	flags |= _RelayWire.SignalFlag.AFTER_LOG if after_log else 0
	var connection := _visitor.visit.connection
	var error := connection.send_signal(payload, kind, channel, target, to_players, flags)
	_after_sending("send_signal", error, payload.size())
	return error


## Newest bytes of any player's entity, our own included; empty if there is none.
func get_state(of_player: int, local_index: int = 0) -> PackedByteArray:
	return get_entity_state(entity_id_of(of_player, local_index))


## Newest bytes of any entity; empty if there is none.
func get_entity_state(entity_id: int) -> PackedByteArray:
	if not _visitor.is_in_room():
		return PackedByteArray()
	return _visitor.session().table.states().get(entity_id, PackedByteArray()).duplicate()


## Number of an entity in this room: [code]local_index * player_slots + player[/code].
func entity_id_of(of_player: int, local_index: int = 0) -> int:
	return (
		local_index * _visitor.welcome().player_slots + of_player
		if _visitor.is_in_room()
		else NOBODY
	)


## The player whose number an entity has: who publishes it, unless it was handed over.
func player_of(entity_id: int) -> int:
	return entity_id % _visitor.welcome().player_slots if _visitor.is_in_room() else NOBODY


## The player who publishes an entity now. Of one that is the host's: the host, -1 if there is none.
func get_entity_owner(entity_id: int) -> int:
	if not _visitor.is_in_room():
		return NOBODY
	var owner := _visitor.room().owners.owner_of(entity_id)
	return host_id if owner == HOST else owner


## Whether we have published an entity, or removed it, since it is ours. Else its newest state is
## another's, or that of our game before it crashed: a good one to go on from.
func is_published(entity_id: int) -> bool:
	return _visitor.is_in_room() and _visitor.session().table.is_own(entity_id)


## Hands an entity over: [param to_player] publishes it from now on, HOST = whoever is host.
## Permitted to its owner and the host. All get [signal entity_owner_changed]; see [RelayRoom] for
## what this returns.
func give_entity(entity_id: int, to_player: int) -> int:
	if _visitor.is_in_room():
		var slots := _visitor.welcome().player_slots
		var is_player := to_player >= 0 and to_player < slots
		var num_ids := slots * _visitor.welcome().entities_per_player
		if entity_id < 0 or entity_id >= num_ids or not (is_player or to_player == HOST):
			_warnings.give(
				"give_entity of %d to %d: nothing is sent" % [entity_id, to_player],
				"there are entities 0 to %d, players 0 to %d, and HOST" % [num_ids - 1, slots - 1],
				"give_entity"
			)
			return NO_REQUEST
	var payload := _RelayWire.RelayGiveEntityPayload.new()
	payload.entity_id = entity_id
	payload.owner = to_player
	return _visitor.ask(_RelayWire.RequestKind.GIVE_ENTITY, payload.encode())


## Counters of this session: [code]datagrams_in, datagrams_out, bytes_in, bytes_out,
## messages_waiting, messages_resent, signals_unsent, signals_superseded[/code] (came after a newer
## one that asked for newest_first order), [code]dropped[/code] (reason -> count of what was not
## taken).
func statistics() -> Dictionary:
	return {} if _visitor.visit == null else _visitor.visit.statistics()


## Reads the network, emits signals, and plans what is to be sent for the end of the frame. In the
## scene tree this happens by itself once a frame; calling it more often does no harm.
func poll() -> void:
	if _is_polling:
		return  # called from a signal that this function emits
	_is_polling = true
	_inquiry.poll()
	_visitor.poll()
	_is_polling = false


func _status() -> _RelayClientScript.Status:
	if _visitor.is_joined():
		return Status.RESUMING if _visitor.is_lost() else Status.JOINED
	return Status.JOINING if _visitor.is_busy() else Status.OFFLINE


func _enter_room(
	mode: _RelayWire.JoinMode,
	code: String,
	password: String,
	tags: PackedStringArray = room_tags,
	properties: Dictionary = room_properties
) -> void:
	if not _leave_to_enter():
		return
	var request := _new_request()
	request.tags = tags
	request.properties = properties
	request.mode = mode
	request.code = code.strip_edges().to_upper()
	request.password = password
	var place := _visitor.place
	if resume_when_joining and _visitor.has_udp and place.is_of(request, address, port):
		var otherwise := _visitor.enter.bind(request, address, port, read_in_thread)
		_visitor.come_back(_new_request(), read_in_thread, otherwise)
	else:
		_visitor.enter(request, address, port, read_in_thread)


## Makes room for another attempt. Returns false if a handler of [signal disconnected] has begun one
## already.
func _leave_to_enter() -> bool:
	leave_room()
	if _visitor.is_busy():
		return false
	_inquiry.close()
	return true


## What is asked for in each attempt.
func _new_request() -> _RelayRequest:
	var request := _RelayRequest.new()
	request.take(self)
	return request


func _after_sending(what: String, error: Error, size: int) -> void:
	match error:
		OK:
			_visitor.flush_soon()
		ERR_INVALID_PARAMETER:
			_warnings.give(
				"%s of %d bytes was not sent" % [what, size],
				"check size, target, players, channel and kind against the help of %s" % what,
				what
			)
		ERR_OUT_OF_MEMORY:
			_warnings.give(what + ": 4 MiB wait to be sent", "send less, or wait for is_idle()")
