extends Node
## The calls that rpc.gd measures, below one of its two multiplayer APIs.

signal answered(number: int)
signal met(calls: Node, id: int)

const FRAME_USEC := 16667


## Tells clients who calls; they answer with who they are.
func introduce_to_others() -> void:
	for id in multiplayer.get_peers():
		if id != 1:
			greet.rpc_id(id)


@rpc("any_peer", "reliable")
func greet() -> void:
	be_greeted.rpc_id(multiplayer.get_remote_sender_id())


@rpc("any_peer", "reliable")
func be_greeted() -> void:
	met.emit(self, multiplayer.get_remote_sender_id())


@rpc("any_peer", "reliable")
func ask_reliably(number: int) -> void:
	answer_reliably.rpc_id(multiplayer.get_remote_sender_id(), number)


@rpc("any_peer", "reliable")
func answer_reliably(number: int) -> void:
	answered.emit(number)


@rpc("any_peer", "unreliable")
func ask_unreliably(number: int) -> void:
	answer_unreliably.rpc_id(multiplayer.get_remote_sender_id(), number)


@rpc("any_peer", "unreliable")
func answer_unreliably(number: int) -> void:
	answered.emit(number)


## Moves this process' frames by a random part of one. The engine makes up for a shorter delay.
@rpc("any_peer", "reliable")
func move() -> void:
	OS.delay_usec(3 * FRAME_USEC + randi() % FRAME_USEC)
