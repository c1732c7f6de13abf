extends SceneTree
## A RelayClient that believes it runs in a browser.

const RelayClient := preload("res://addons/tickrelay/relay_client.gd")

var client: RelayClient = RelayClient.new()


func _initialize() -> void:
	client._visitor.has_udp = false
	root.add_child.call_deferred(client)
	client.join_refused.connect(_on_join_refused)
	client.relay_unreachable.connect(_on_relay_unreachable)
	client.join_or_create_room("LOBBY")


func tell(event: String, reason: int, text: String) -> void:
	print("@", JSON.stringify({"event": event, "reason": reason, "text": text}))


func _on_join_refused(reason: int, text: String) -> void:
	tell("join_refused", reason, text)
	client.connect_to_relay()


func _on_relay_unreachable(reason: int, text: String) -> void:
	tell("relay_unreachable", reason, text)
	quit()
