extends RefCounted
## What a connection tells the game, in order. A state event is a RelayStates (relay_states.gd).


## The server let us in; every property of the connection may be read from now on.
class RelayJoined:
	extends RefCounted


## The server did not let us in, or nothing answered. The last event of this connection.
class RelayRefused:
	extends RefCounted
	var reason := 0
	var text := ""


## The session is over, whoever ended it. The last event of this connection.
class RelayDisconnected:
	extends RefCounted
	var reason := 0
	var text := ""


## Somebody is in the room: those who were there before us first, then we, then who comes.
class RelayPlayerJoined:
	extends RefCounted
	var player_id := 0
	var player_name := ""
	## Log index of the entry that says so.
	var index := 0


class RelayPlayerLeft:
	extends RefCounted
	var player_id := 0
	var reason := 0


## Another player is the host now; NOBODY if nobody is.
class RelayHostChanged:
	extends RefCounted
	var player_id := 0


## Entities of other players are gone.
class RelayEntitiesRemoved:
	extends RefCounted
	var ids := PackedInt32Array()


## A log message, delivered exactly once and in the same order to everybody who may see it.
class RelayMessageReceived:
	extends RefCounted
	var sender := 0
	var kind := 0
	var channel := 0
	var payload := PackedByteArray()
	## Whole log index; that of the last fragment.
	var index := 0


## A signal, delivered at most once.
class RelaySignalReceived:
	extends RefCounted
	var sender := 0
	var kind := 0
	var channel := 0
	var payload := PackedByteArray()
	## Low 16 bits of the sender's count of signals.
	var sequence := 0
