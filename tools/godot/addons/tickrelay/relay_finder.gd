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
