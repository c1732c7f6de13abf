extends RefCounted
## What messages and signals have in common: whom they are for, and how they are cut.

const RelayWire := preload("generated_wire.gd")

const MAX_CHANNEL := 255
## `target_count` is a u8.
const MAX_TARGETS := 255
## Kinds of messages above this are requests to the server.
const MAX_MESSAGE_KIND := RelayWire.FIRST_REQUEST_KIND - 1


## Names what is wrong with the caller's numbers; "" if nothing is.
static func problem_of(
	kind: int,
	channel: int,
	target: int,
	players: PackedInt32Array,
	max_kind: int = RelayWire.MAX_PLAYER_KIND
) -> String:
	if kind < 1 or kind > max_kind:
		return "kind is %d; permitted: 1 to %d" % [kind, max_kind]
	if channel < 0 or channel > MAX_CHANNEL:
		return "channel is %d; permitted: 0 to %d" % [channel, MAX_CHANNEL]
	if not RelayWire.Target.values().has(target):
		return "target is %d; permitted: ALL, ALL_BUT, ONE, LIST" % target
	var is_one := target == RelayWire.Target.ONE or target == RelayWire.Target.ALL_BUT
	var fewest := 0 if target == RelayWire.Target.ALL else 1
	var most := fewest if is_one or fewest == 0 else MAX_TARGETS
	if players.size() < fewest or players.size() > most:
		return "%d players; permitted for this target: %d to %d" % [players.size(), fewest, most]
	for player_id in players:
		if player_id < 0 or player_id > RelayWire.NO_PLAYER:
			return "player id is %d; permitted: 0 to %d" % [player_id, RelayWire.NO_PLAYER]
	return ""


## Encodes player ids that were checked.
static func encode(players: PackedInt32Array) -> PackedByteArray:
	var bytes := PackedByteArray()
	bytes.resize(2 * players.size())
	for i in players.size():
		bytes.encode_u16(2 * i, players[i])
	return bytes


## Cuts a payload into pieces of [param size] bytes; an empty one is one empty piece.
static func split(payload: PackedByteArray, size: int) -> Array[PackedByteArray]:
	var pieces: Array[PackedByteArray] = []
	for at in range(0, payload.size(), size):
		pieces.append(payload.slice(at, at + size))
	if pieces.is_empty():
		pieces.append(PackedByteArray())
	return pieces
