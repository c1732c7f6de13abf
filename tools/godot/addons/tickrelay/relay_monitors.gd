@tool
@icon("icons/relay_monitors.svg")
class_name RelayMonitors
extends Node
## Shows the connection under Debugger > Monitors in the editor, in the group "Tickrelay".
##
## Put one into the scene of the [RelayClient]. The figures are drawn while the game runs from the
## editor: round trip in ms, loss in both directions in percent, bytes and datagrams per second,
## players in the room, and messages that wait. All are 0 once the client is freed. In a release
## build it does nothing.

const _RelayClientScript := preload("relay_client.gd")
const _RelayFinder := preload("relay_finder.gd")

const _GROUP := "Tickrelay/"
const _MS := 1000.0
const _PERCENT := 100.0
## Time over which rates are taken, seconds.
const _RATE_OVER_S := 1.0

## The client to show. Empty: the nearest one upwards in the tree, then autoloads.
@export var client: _RelayClientScript:
	set(value):
		client = value
		update_configuration_warnings()

var _ids: Array[StringName] = []
var _rates := {}  # counter -> per second
var _counted := {}  # counter -> at the last look
var _next_look_s := 0.0


func _ready() -> void:
	set_process(false)
	if Engine.is_editor_hint():
		return
	if not is_instance_valid(client):
		client = _RelayFinder.find(self)
	if client == null:
		push_warning(
			"%s: there is no RelayClient: add one to the scene, or set client." % get_path()
		)
	if client == null or not OS.is_debug_build():
		return
	set_process(true)
	_show("Round trip (ms)", func() -> float: return maxf(client.round_trip_s, 0.0) * _MS)
	_show("Loss down (%)", func() -> float: return client.loss_down * _PERCENT)
	_show("Loss up (%)", func() -> float: return client.loss_up * _PERCENT)
	_show("Bytes in (per s)", rate.bind("bytes_in"))
	_show("Bytes out (per s)", rate.bind("bytes_out"))
	_show("Datagrams in (per s)", rate.bind("datagrams_in"))
	_show("Datagrams out (per s)", rate.bind("datagrams_out"))
	_show("Players", func() -> float: return client.players.size())
	_show(
		"Messages waiting", func() -> float: return client.statistics().get("messages_waiting", 0)
	)


func _process(delta: float) -> void:
	_next_look_s -= delta
	if _next_look_s > 0.0:
		return
	var elapsed_s := _RATE_OVER_S - _next_look_s
	_next_look_s = _RATE_OVER_S
	var statistics := client.statistics() if is_instance_valid(client) else {}
	for counter: String in ["bytes_in", "bytes_out", "datagrams_in", "datagrams_out"]:
		var count: int = statistics.get(counter, 0)
		_rates[counter] = maxf(count - _counted.get(counter, 0), 0.0) / elapsed_s
		_counted[counter] = count


func _exit_tree() -> void:
	for id in _ids:
		Performance.remove_custom_monitor(id)
	_ids.clear()
	request_ready()


func _get_configuration_warnings() -> PackedStringArray:
	if _RelayFinder.is_missing(self):
		return ["There is no RelayClient: add one to the scene or as an autoload."]
	return []


## What a counter of [method RelayClient.statistics] grew by in the last second, per second.
func rate(counter: String) -> float:
	return _rates.get(counter, 0.0)


func _show(title: String, measure: Callable) -> void:
	var id := StringName(_GROUP + title)
	if Performance.has_custom_monitor(id):  # a second client in the same game
		id = StringName("%s%s: %s" % [_GROUP, client.name, title])
	if not Performance.has_custom_monitor(id):
		Performance.add_custom_monitor(
			id, func() -> float: return measure.call() if is_instance_valid(client) else 0.0
		)
		_ids.append(id)
