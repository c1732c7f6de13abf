extends RefCounted
## What the relay takes of our signals, counted as it counts: what is beyond its rate it drops.

const RelayMeshUploads := preload("relay_mesh_uploads.gd")
const RelayParcel := preload("relay_parcel.gd")
const RelayWire := preload("generated_wire.gd")

var _fragments := 0.0  # that the relay takes at once
var _at := -INF


## Counts a signal that is being sent. Returns whether the relay will take it. [param per_s]: its
## limit.
func takes(upload: RelayMeshUploads.RelayUpload, per_s: int, now: float) -> bool:
	var size := RelayParcel.fragment_bytes(
		RelayWire.RelaySignalUpHeader.SIZE, upload.players.size()
	)
	_fragments = minf(per_s, _fragments + (now - _at) * per_s)
	_at = now
	_fragments -= maxf(1.0, ceilf(upload.payload.size() / float(size)))
	var is_within := _fragments >= 0.0
	_fragments = maxf(_fragments, 0.0)
	return is_within
