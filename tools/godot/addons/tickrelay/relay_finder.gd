extends RefCounted
## Finds the RelayClient that a node belongs to.

const RelayClientScript := preload("relay_client.gd")


## The nearest one: for each node upwards from [param node], that node itself or one of its
## children. So a client in the same scene comes before an autoload. Null if there is none.
static func find(node: Node) -> RelayClientScript:
	var at := node.get_parent()
	while at != null:
		if at is RelayClientScript:
			return at
		for child in at.get_children():
			if child is RelayClientScript:
				return child
		at = at.get_parent()
	return null


## Whether the game will find none, as far as the editor can tell. Only the main scene is the whole
## game: another one may be put where there is a client, and an autoload may be or hold one.
static func is_missing(node: Node) -> bool:
	if find(node) != null:
		return false
	var scene := node.owner if node.owner != null else node
	if scene.scene_file_path.is_empty() or scene.scene_file_path != _main_scene():
		return false
	return not ProjectSettings.get_property_list().any(
		func(setting: Dictionary) -> bool: return setting["name"].begins_with("autoload/")
	)


static func _main_scene() -> String:
	var path: String = ProjectSettings.get_setting("application/run/main_scene", "")
	if path.begins_with("uid://"):
		var id := ResourceUID.text_to_id(path)
		return ResourceUID.get_id_path(id) if ResourceUID.has_id(id) else ""
	return path
