extends RefCounted
## The shape of the arena: where one can stand.

## The floor.
const FLOOR := Rect2(24.0, 56.0, 912.0, 480.0)
## Centre and radius of each pillar.
const PILLARS: Array[Vector3] = [
	Vector3(250.0, 190.0, 38.0),
	Vector3(710.0, 190.0, 38.0),
	Vector3(480.0, 296.0, 56.0),
	Vector3(250.0, 402.0, 38.0),
	Vector3(710.0, 402.0, 38.0),
]


## The nearest place to [param at] where a figure can stand.
static func nearest_free(at: Vector2, radius: float) -> Vector2:
	var result := at.clamp(FLOOR.position + Vector2.ONE * radius, FLOOR.end - Vector2.ONE * radius)
	for pillar in PILLARS:
		var centre := Vector2(pillar.x, pillar.y)
		var least := pillar.z + radius
		if result.distance_squared_to(centre) < least * least:
			var away := (result - centre).normalized()
			result = centre + (away if away != Vector2.ZERO else Vector2.UP) * least
	return result
