extends Node2D
## The floor, its pillars, and who runs about on it.

const Avatar := preload("res://demo/avatar.gd")
const Client := preload("res://addons/tickrelay/relay_client.gd")
const Field := preload("res://demo/field.gd")
const Spawner := preload("res://addons/tickrelay/relay_spawner.gd")
const Style := preload("res://demo/style.gd")

const _TILE := 48.0
const _PULSE_CHANNEL := 1

## Which of Style.PLAYERS our figure gets; -1 = by player id.
var colour_index := -1
var _client: Client
@onready var _spawner: Spawner = $RelaySpawner


func _ready() -> void:
	_spawner.spawned.connect(_on_spawned)


## Tells of which client's room this is the arena.
func use(client: Client) -> void:
	_client = client
	_client.signal_received.connect(_on_signal_received)


## Our own figure, null while not in a room.
func own_avatar() -> Avatar:
	return avatar_of(_client.player_id)


## The figure of a player, null if there is none.
func avatar_of(player_id: int) -> Avatar:
	return _spawner.node_of(player_id) as Avatar


## Figures of all players.
func avatars() -> Array:
	return _spawner.nodes().values()


## A ring around our figure that all see: a signal, for who misses it has missed nothing.
func pulse() -> void:
	var avatar := own_avatar()
	if avatar != null and avatar.pulse():
		_client.send_signal(
			PackedByteArray([1]),
			Client.Target.ALL_BUT,
			PackedInt32Array([_client.player_id]),
			_PULSE_CHANNEL
		)


func _draw() -> void:
	draw_rect(Field.FLOOR.grow(6.0), Style.EDGE)
	draw_rect(Field.FLOOR, Style.PANEL.darkened(0.1))
	var num_columns := int(Field.FLOOR.size.x / _TILE)
	var num_rows := ceili(Field.FLOOR.size.y / _TILE)
	for x in num_columns:
		for y in num_rows:
			if (x + y) % 2 == 0:
				var tile := Rect2(Field.FLOOR.position + Vector2(x, y) * _TILE, Vector2.ONE * _TILE)
				draw_rect(tile.intersection(Field.FLOOR), Style.PANEL.lightened(0.035))
	for pillar in Field.PILLARS:
		var centre := Vector2(pillar.x, pillar.y)
		draw_circle(centre + Vector2(0.0, 7.0), pillar.z, Style.NIGHT)
		draw_circle(centre, pillar.z, Style.EDGE)
		draw_circle(centre, pillar.z - 5.0, Style.EDGE.lightened(0.08))
		draw_arc(centre, pillar.z - 5.0, PI * 1.05, PI * 1.75, 24, Style.QUIET, 2.0, true)


func _on_spawned(node: Node, player_id: int) -> void:
	var avatar: Avatar = node
	if player_id == _client.player_id:
		var index := colour_index if colour_index >= 0 else player_id
		avatar.colour = Style.PLAYERS[index % Style.PLAYERS.size()]
		var around := Vector2.from_angle(player_id * 2.4) * 150.0
		avatar.position = Field.nearest_free(Field.FLOOR.get_center() + around, Avatar.RADIUS)


func _on_signal_received(sender: int, _bytes: PackedByteArray, channel: int, _kind: int) -> void:
	var avatar := avatar_of(sender)
	if avatar != null and channel == _PULSE_CHANNEL:
		avatar.pulse()
