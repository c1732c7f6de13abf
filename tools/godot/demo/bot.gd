extends Node
## Plays instead of a player and tells what it sees: for tests, and for company.
##
## Every line that it prints begins with its name. The last is "report" and a JSON object.

const Arena := preload("res://demo/arena.gd")
const Avatar := preload("res://demo/avatar.gd")
const Client := preload("res://addons/tickrelay/relay_client.gd")
const Field := preload("res://demo/field.gd")
const RelayText := preload("res://addons/tickrelay/relay_text.gd")

const LINES: Array[String] = [
	"hello there",
	"nice room",
	"who made these pillars?",
	"I go round and round",
	"anybody lagging?",
	"not me",
	"catch me!",
	"one more lap",
]
const _NEAR := 30.0
const _PACE := 0.75
const _FIRST_LINE_S := 1.0
const _LINE_EVERY_S := Vector2(3.0, 7.0)
const _PULSE_EVERY_S := 2.5
const _FPS := 60

var _goal := Vector2.ZERO
var _heard: Array[String] = []
var _next_line_s := _FIRST_LINE_S
var _next_pulse_s := _PULSE_EVERY_S
var _seconds := 0.0
var _is_over := false
@onready var _main := get_parent()
@onready var _client: Client = _main.client
@onready var _arena: Arena = _main.arena


func _ready() -> void:
	Engine.max_fps = _FPS
	_client.joined.connect(_on_joined)
	_client.join_refused.connect(_on_over.bind(1))
	_client.disconnected.connect(_on_over.bind(0))
	_client.player_joined.connect(_on_player_joined)
	_client.player_left.connect(_on_player_left)
	_client.message_received.connect(_on_message_received)


func _process(delta: float) -> void:
	var avatar := _arena.own_avatar()
	if avatar == null or _is_over:
		return
	_seconds += delta
	if _goal == Vector2.ZERO or avatar.position.distance_to(_goal) < _NEAR or randf() < 0.004:
		_goal = _somewhere()
	avatar.wish = (_goal - avatar.position).normalized() * _PACE
	_next_line_s -= delta
	if _next_line_s < 0.0:
		_next_line_s = randf_range(_LINE_EVERY_S.x, _LINE_EVERY_S.y)
		_main.say(LINES.pick_random())
	_next_pulse_s -= delta
	if _next_pulse_s < 0.0:
		_next_pulse_s = _PULSE_EVERY_S * randf_range(0.6, 1.6)
		_arena.pulse()
	if _main.launch.seconds > 0.0 and _seconds > _main.launch.seconds:
		_finish()


func _somewhere() -> Vector2:
	var shares := Vector2(randf(), randf())
	return Field.nearest_free(Field.FLOOR.position + Field.FLOOR.size * shares, Avatar.RADIUS)


func _tell(text: String) -> void:
	print("%s: %s" % [_main.launch.player_name, text])


func _finish() -> void:
	var ways := {}
	for avatar: Avatar in _arena.avatars():
		if avatar != _arena.own_avatar():
			ways[avatar.player_name] = avatar.way
	var report := {
		"heard": _heard,
		"players": _client.players.values(),
		"saw_move": ways,
		"round_trip_s": _client.round_trip_s,
		"loss_down": _client.loss_down,
		"loss_up": _client.loss_up,
	}
	_tell("report %s" % JSON.stringify(report))
	_client.leave_room()


func _on_joined() -> void:
	_tell("joined room %s as player %d" % [_client.room_code, _client.player_id])


func _on_over(_reason: int, text: String, code: int) -> void:
	_is_over = true
	_tell(text)
	await get_tree().create_timer(0.2).timeout  # the goodbye goes out
	get_tree().quit(code)


func _on_player_joined(player_id: int, player_name: String) -> void:
	_tell("player %d is %s" % [player_id, player_name])


func _on_player_left(player_id: int, _reason: int) -> void:
	_tell("player %d left" % player_id)


func _on_message_received(sender: int, payload: PackedByteArray, _channel: int, _kind: int) -> void:
	var said := "%s: %s" % [_client.players.get(sender, "?"), RelayText.decode(payload)]
	_heard.append(said)
	_tell("heard %s" % said)
