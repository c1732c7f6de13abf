extends RefCounted
## What a connection tells the game, in order. A state event is a RelayStates (relay_states.gd).


## We are in the room and have been told all of it: members, properties, owners, kept messages and
## states stand before this.
class RelayJoined:
	extends RefCounted


## Nothing came for too long: the connection tries to come back.
class RelayConnectionLost:
	extends RefCounted


## We came back, but not into what we knew: all that was told of the room is void, and is told anew.
class RelayForgotten:
	extends RefCounted
	## What was told: RelayRoomFacts, and ids of entities.
	var room: RefCounted
	var shown_ids := []


## The connection is back, and we have been told what we missed; all of it if is_afresh.
class RelayResumed:
	extends RefCounted
	var is_afresh := false


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


## Nothing came from a player for too long: its place is kept for a while.
class RelayPlayerAway:
	extends RefCounted
	var player_id := 0


## A player who was away is there again; one that is_afresh knows nothing of what was before.
class RelayPlayerBack:
	extends RefCounted
	var player_id := 0
	var is_afresh := false


## Another player is the host now; NOBODY if nobody is.
class RelayHostChanged:
	extends RefCounted
	var player_id := 0


## Somebody set a property, or we are told of one that was set before we came.
class RelayPropertyChanged:
	extends RefCounted
	## Player id, or NO_PLAYER for the room.
	var owner := 0
	var key := ""
	## Null: there is no such property any more.
	var value: Variant = null
	## Player id; NO_PLAYER if it was before we came.
	var by := 0
	## Log index of the entry that set it.
	var version := 0


## Another player publishes an entity from now on.
class RelayEntityOwnerChanged:
	extends RefCounted
	var entity_id := 0
	## Player id, or NO_PLAYER for whoever is host.
	var owner := 0


## Nobody can join any more, or everybody can again.
class RelayRoomLocked:
	extends RefCounted
	var is_locked := false


## All find the room in lists, or only who knows its code.
class RelayRoomShown:
	extends RefCounted
	var is_listed := false


## Messages are kept no longer, for somebody asked for that.
class RelayKeptCleared:
	extends RefCounted
	## The index of each, as in RelayMessageReceived.
	var indexes := PackedInt64Array()
	## Player id of who asked.
	var by := 0


## The server did not do what we asked for, or did not keep a message.
class RelayRequestRefused:
	extends RefCounted
	## Whole id of our message.
	var message_id := 0
	## Its kind: RelayWire.RequestKind, or that of the message that was to be kept.
	var request := 0
	## RelayWire.RequestRefusal.
	var reason := 0


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
	## RelayWire.MessageFlag: whether it is kept for those who join later, and was for us.
	var flags := 0
	## Whole log index; that of the last fragment. Of one that was kept for us: where it stood when it
	## was sent, so that all know it by one number.
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
