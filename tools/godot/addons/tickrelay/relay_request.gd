extends RefCounted
## What the game asks for when it joins, checked before a byte is sent.

const RelayLabels := preload("relay_labels.gd")
const RelayText := preload("relay_text.gd")
const RelayWire := preload("generated_wire.gd")

const MAX_PASSWORD_BYTES := 1024

## CREATE, JOIN, JOIN_OR_CREATE or QUICK; RESUME with [member session] and [member secret].
var mode := RelayWire.JoinMode.JOIN_OR_CREATE
## The player's name: 1 to 32 bytes of UTF-8 without control characters.
var player_name := ""
## 1 to 16 of A-Z 0-9 -. Empty (CREATE, and always QUICK): the server makes one up.
var code := ""
## Empty for none, as for QUICK. It never crosses the wire.
var password := ""
## Which game this is, and its version: labels of up to 32 and 16 bytes.
var game := ""
var game_version := ""
## For a room that is created, 1 to 256; 0 = the server's default.
var max_players := 0
## For a room that is created, 1 to 256; 0 = the server's default.
var entities_per_player := 0
## For a room that is created, 1 to 255; 0 = the server's default.
var max_state_bytes := 0
## For a room that is created: every player may set its properties, not only the host.
var anyone_sets := false
## For a room that is created: what lists show of it, and whether they do.
var room_name := ""
var listed := false
## Keys of its properties that lists show.
var shown := PackedStringArray()
## For a room that is created, and for QUICK.
var tags := PackedStringArray()
var properties := {}
## 16 random bytes that a profile makes once and keeps; empty for none.
var identity := PackedByteArray()
## RESUME: the old session, and what proves that it was ours.
var session := 0
var secret := PackedByteArray()
## RESUME: our cursor in the log, if we still have all that we were told; else 0.
var log_index := 0
## Whether to come back by itself when the connection is lost, as long as the server keeps our
## place.
var reconnect := false
## The attempt ends after this many seconds.
var deadline_s := 5.0
## Silence of the relay after which the connection is lost, seconds; 0 = what the relay asks for.
var silence_s := 0.0
## Name and release of the game, for the server's statistics.
var client_name := "tickrelay-godot"
var client_release := ""


## Tells what the relay would refuse, as a reason of RelayWire.Refusal; 0 if nothing.
func problem() -> int:
	var is_quick := mode == RelayWire.JoinMode.QUICK
	var may_be_empty := mode == RelayWire.JoinMode.CREATE or is_quick
	if not RelayText.is_code(code) and not (may_be_empty and code.is_empty()):
		return RelayWire.Refusal.BAD_CODE
	if not RelayText.is_name(player_name) and mode != RelayWire.JoinMode.RESUME:
		return RelayWire.Refusal.BAD_NAME
	var fits := (
		max_players in range(RelayWire.MAX_PLAYERS_PER_ROOM + 1)
		and entities_per_player in range(RelayWire.MAX_ENTITIES_PER_PLAYER + 1)
		and max_state_bytes in range(RelayWire.MAX_STATE_BYTES + 1)
		and password.to_utf8_buffer().size() <= MAX_PASSWORD_BYTES
		and not (is_quick and not password.is_empty())
		and _are_labels_good()
	)
	return 0 if fits else RelayWire.Refusal.BAD_OPTIONS


## Takes over the wishes that a game has for every attempt. [param client]: a RelayClient.
func take(client: Node) -> void:
	player_name = client.player_name
	game = client.game
	game_version = client.game_version
	max_players = client.max_players
	entities_per_player = client.entities_per_player
	max_state_bytes = client.max_state_bytes
	anyone_sets = client.anyone_sets
	room_name = client.room_name
	listed = client.listed
	shown = client.shown_properties
	tags = client.room_tags
	properties = client.room_properties
	deadline_s = client.join_timeout_s
	silence_s = client.silence_timeout_s
	reconnect = client.reconnect


## Asks to come back to a session, with the same wishes otherwise.
func to_resume(
	of_session: int, of_secret: PackedByteArray, of_code: String, cursor: int
) -> RefCounted:
	var request: RefCounted = (get_script() as GDScript).new()
	request.mode = RelayWire.JoinMode.RESUME
	request.session = of_session
	request.secret = of_secret
	request.code = of_code
	request.log_index = cursor
	request.player_name = player_name
	request.game = game
	request.game_version = game_version
	request.identity = identity
	request.client_name = client_name
	request.client_release = client_release
	return request


func _are_labels_good() -> bool:
	return (
		RelayLabels.is_label(game, RelayWire.GAME_BYTES)
		and RelayLabels.is_label(game_version, RelayWire.GAME_VERSION_BYTES)
		and RelayLabels.is_label(room_name, RelayWire.ROOM_NAME_BYTES)
		and RelayLabels.are_labels(tags, RelayWire.MAX_TAGS, RelayWire.TAG_BYTES)
		and RelayLabels.are_labels(shown, RelayWire.MAX_SHOWN, RelayWire.MAX_KEY_BYTES)
		and RelayLabels.are_properties(properties)
	)
