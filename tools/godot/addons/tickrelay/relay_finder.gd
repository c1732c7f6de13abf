extends RefCounted
## Finds the RelayClient that a node belongs to.

const Client := preload("relay_client.gd")


## The nearest one: for each node upwards from [param node], that node itself or one of its
## children. So a client in the same scene comes before an autoload. Null if there is none.
static func find(node: Node) -> Client:
	var at := node.get_parent()
	while at != null:
		if at is Client:
			return at
		for child in at.get_children():
			if child is Client:
				return child
		at = at.get_parent()
	return null
