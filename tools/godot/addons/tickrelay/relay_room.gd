class_name RelayRoom
extends RefCounted
## The room that a [RelayClient] is in: what it keeps for all who are there and who come later, and
## what the host may do.
##
## [member RelayClient.room] is the only one, in whatever room the client is:
## [codeblock]
## client.room.set_property("round", 3)
## client.room.set_player_property("team", "red")
## if client.is_host():
##     client.room.kick(player_id, "Be nice.")
## [/codeblock]
## What it knows is known before [signal RelayClient.joined]. While the client is in no room there
## are no properties.
## [br][br]
## What changes the room is a request to the relay. It goes out at the end of the frame, and returns
## its number; RelayClient.NO_REQUEST: it was not sent. Either all, us too, are told of the change
## by a signal of the client; or we get [signal RelayClient.request_refused] with this number.

## Stands for our own number in [method set_player_property] and
## [method compare_and_set_player_property].
const ME := -2

const _RelayLabels := preload("relay_labels.gd")
const _RelayProperties := preload("relay_properties.gd")
const _RelayText := preload("relay_text.gd")
const _RelayValues := preload("relay_values.gd")
const _RelayVisitor := preload("relay_visitor.gd")
const _RelayWarnings := preload("relay_warnings.gd")
const _RelayWire := preload("generated_wire.gd")

## `log_index` is a u32.
const _MAX_INDEX := 0xFFFFFFFF

## Whether nobody can join the room.
var is_locked: bool:
	get:
		return _visitor.is_in_room() and _visitor.room().is_locked

## Whether all who play this game find the room in lists and quick matches; else only who knows its
## code.
var is_listed: bool:
	get:
		return _visitor.is_in_room() and _visitor.room().is_listed

var _visitor: _RelayVisitor
var _warnings: _RelayWarnings


func _init(visitor: _RelayVisitor, warnings: _RelayWarnings) -> void:
	_visitor = visitor
	_warnings = warnings


## What the room permits, as the relay said when we joined: [code]max_players, player_slots,
## entities_per_player, max_state_bytes, messages_per_s, signals_per_s, grace_s[/code] (how long the
## place of a lost player is kept). Empty while in none.
func limits() -> Dictionary:
	if not _visitor.is_in_room():
		return {}
	var welcome := _visitor.welcome()
	return {
		"max_players": welcome.max_players,
		"player_slots": welcome.player_slots,
		"entities_per_player": welcome.entities_per_player,
		"max_state_bytes": welcome.max_state_bytes,
		"messages_per_s": welcome.messages_per_s,
		"signals_per_s": welcome.signals_per_s,
		"grace_s": welcome.grace_s,
	}


## A property of the room; [param default] if there is none.
func get_property(key: String, default: Variant = null) -> Variant:
	return _value(_RelayProperties.ROOM, key, default)


## A property of a player; [param default] if there is none.
func get_player_property(of_player: int, key: String, default: Variant = null) -> Variant:
	return _value(of_player, key, default) if of_player != _RelayProperties.ROOM else default


## Key -> value of all properties of the room.
func properties() -> Dictionary:
	return _all_of(_RelayProperties.ROOM)


## Key -> value of all properties of a player.
func player_properties(of_player: int) -> Dictionary:
	return _all_of(of_player) if of_player != _RelayProperties.ROOM else {}


## Sets a property of the room: null (remove it), bool, int, float, String or PackedByteArray, the
## last two of at most 200 bytes; [param key] has 1 to 32 bytes. Permitted to the host, or to all if
## the room was created with [member RelayClient.anyone_sets]. A room has up to 64. All get
## [signal RelayClient.property_changed].
func set_property(key: String, value: Variant) -> int:
	return _ask_to_set("set_property", _RelayProperties.ROOM, key, value)


## As [method set_property], if the property is [param expected] (null: if there is none) and nobody
## changes it before us: of several who try, exactly one succeeds. The others get
## [signal RelayClient.request_refused] with RequestRefusal.CHANGED.
func compare_and_set_property(key: String, expected: Variant, value: Variant) -> int:
	var owner := _RelayProperties.ROOM
	var version := _version_if(owner, key, expected)
	return _ask_to_set("compare_and_set_property", owner, key, value, version)


## Sets a property of ours, or, as the host, of another player. A player has up to 16. The rest as
## for [method set_property].
func set_player_property(key: String, value: Variant, of_player: int = ME) -> int:
	var owner := _numbered(of_player)
	if not _is_player("set_player_property", owner):
		return _RelayVisitor.NO_REQUEST
	return _ask_to_set("set_player_property", owner, key, value)


## As [method compare_and_set_property], for a property of ours, or, as the host, of another player:
## what both change, as a score, loses no change.
func compare_and_set_player_property(
	key: String, expected: Variant, value: Variant, of_player: int = ME
) -> int:
	var owner := _numbered(of_player)
	if not _is_player("compare_and_set_player_property", owner):
		return _RelayVisitor.NO_REQUEST
	var version := _version_if(owner, key, expected)
	return _ask_to_set("compare_and_set_player_property", owner, key, value, version)


## Keeps a message no longer: that with this [member RelayClient.message_index], 0 = all that we may
## clear. Permitted to its sender and the host. All get [signal RelayClient.kept_cleared]; with 0
## nothing comes if there was nothing to clear.
func clear_kept(index: int = 0) -> int:
	if index < 0 or index > _MAX_INDEX:
		_warnings.give("clear_kept of %d" % index, "use message_index, or 0 for all", "clear_kept")
		return _RelayVisitor.NO_REQUEST
	var payload := _RelayWire.RelayClearKeptPayload.new()
	payload.log_index = index
	return _visitor.ask(_RelayWire.RequestKind.CLEAR_KEPT, payload.encode())


## Host: makes another player the host, who must not be away. All get
## [signal RelayClient.host_changed]; nothing comes if it is the host already.
func hand_over_host(to_player: int) -> int:
	if not _is_player("hand_over_host", to_player):
		return _RelayVisitor.NO_REQUEST
	var payload := _RelayWire.RelayHandOverHostPayload.new()
	payload.player_id = to_player
	return _visitor.ask(_RelayWire.RequestKind.HAND_OVER_HOST, payload.encode())


## Host: removes a player from the room, who gets [signal RelayClient.disconnected] with
## [param text], cut at 200 bytes. It may join again.
func kick(of_player: int, text: String = "") -> int:
	if not _is_player("kick", of_player):
		return _RelayVisitor.NO_REQUEST
	var payload := _RelayWire.RelayKickPayload.new()
	payload.player_id = of_player
	payload.text = _RelayText.cut(text, _RelayWire.MAX_TEXT_BYTES)
	return _visitor.ask(_RelayWire.RequestKind.KICK, payload.encode())


## Host: removes a player, who cannot join this room again with the same profile of the game: what
## it keeps in [code]user://tickrelay/[/code]. Whoever plays with another profile, as with
## [code]-- --tickrelay-profile=1[/code], is another player. With [param by_address] nobody can join
## from the same internet address. [param text] as for [method kick].
func ban(of_player: int, text: String = "", by_address: bool = false) -> int:
	if not _is_player("ban", of_player):
		return _RelayVisitor.NO_REQUEST
	var payload := _RelayWire.RelayBanPayload.new()
	payload.player_id = of_player
	payload.flags = _RelayWire.BanFlag.ADDRESS if by_address else 0
	payload.text = _RelayText.cut(text, _RelayWire.MAX_TEXT_BYTES)
	return _visitor.ask(_RelayWire.RequestKind.BAN, payload.encode())


## Host: lets nobody join any more, or everybody again. Who is away can come back. All get
## [signal RelayClient.room_locked].
func lock(closed: bool = true) -> int:
	var payload := _RelayWire.RelayLockPayload.new()
	payload.is_locked = int(closed)
	return _visitor.ask(_RelayWire.RequestKind.LOCK, payload.encode())


## Host: lists the room for all who play this game, see [RelayRoomList], or hides it. Lists show
## those of its properties whose [param keys] are named here, at most 8. All get
## [signal RelayClient.room_shown].
func show(in_lists: bool = true, keys: PackedStringArray = PackedStringArray()) -> int:
	if not _RelayLabels.are_labels(keys, _RelayWire.MAX_SHOWN, _RelayWire.MAX_KEY_BYTES):
		_warnings.give("show: these are no keys", "at most 8 of 1 to 32 bytes", "show")
		return _RelayVisitor.NO_REQUEST
	var payload := PackedByteArray([int(in_lists)])
	payload.append_array(_RelayLabels.encode_texts(keys))
	return _visitor.ask(_RelayWire.RequestKind.SHOW, payload)


func _numbered(of_player: int) -> int:
	var is_me := of_player == ME and _visitor.is_in_room()
	return _visitor.welcome().player_id if is_me else of_player


## Whether a number may be a player's. On the wire it has 16 bits: -1 would be 65535, and that the
## room, or the host. While in no room nothing is sent, whatever the number.
func _is_player(what: String, number: int) -> bool:
	if not _visitor.is_in_room() or (number >= 0 and number < _visitor.welcome().player_slots):
		return true
	_warnings.give(
		"%s: %d is no player, nothing is sent" % [what, number], "use a key of players", what
	)
	return false


func _version_if(owner: int, key: String, expected: Variant) -> int:
	if not _visitor.is_in_room():
		return _RelayProperties.NEVER
	var properties_known := _visitor.room().properties
	var is_expected := _RelayValues.is_same(properties_known.value(owner, key, null), expected)
	return properties_known.version(owner, key) if is_expected else _RelayProperties.NEVER


func _value(owner: int, key: String, default: Variant) -> Variant:
	return (
		_visitor.room().properties.value(owner, key, default) if _visitor.is_in_room() else default
	)


func _all_of(owner: int) -> Dictionary:
	return _visitor.room().properties.all_of(owner) if _visitor.is_in_room() else {}


func _ask_to_set(
	what: String, owner: int, key: String, value: Variant, if_version: int = -1
) -> int:
	if not _RelayValues.is_key(key) or not _RelayValues.is_value(value):
		_warnings.give(
			"%s: key or value cannot be used" % what,
			"keys have 1 to 32 bytes; values are null, bool, int, float, String or PackedByteArray",
			what
		)
		return _RelayVisitor.NO_REQUEST
	var payload := _RelayProperties.build_request(owner, key, value, if_version)
	return _visitor.ask(_RelayWire.RequestKind.SET_PROPERTY, payload)
