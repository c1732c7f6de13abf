extends "res://addons/tickrelay/relay_multiplayer_peer.gd"
## A peer at which everything of the host's arrives late. The room's order is kept, or, as a relay
## would have it that orders per sender only, broken.

var delay_s := 0.0
var is_order_kept := true
var _late := []  # [due, event], as they arrived


func _take(events: Array) -> void:
	var now := _RelayLink.clock()
	for event: RefCounted in events:
		var is_of_player := (
			event is _RelayEvents.RelayMessageReceived or event is _RelayEvents.RelaySignalReceived
		)
		var is_late: bool = is_of_player and event.sender == 0
		_late.append([now + (delay_s if is_late else 0.0), event])
	var due := []
	var waiting := []
	for item: Array in _late:
		var is_held: bool = item[0] > now or (is_order_kept and not waiting.is_empty())
		(waiting if is_held else due).append(item)
	_late = waiting
	super(due.map(func(item: Array) -> RefCounted: return item[1]))
