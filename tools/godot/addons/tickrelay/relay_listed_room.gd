class_name RelayListedRoom
extends RefCounted
## A room that a [RelayRoomList] found, as it was when the relay answered: joining it may still be
## refused.

## What [method RelayClient.join_room] takes.
var code := ""
## What its creator called it; may be empty.
var room_name := ""
## Version of the game that it was opened with.
var version := ""
## Players who are in it.
var num_players := 0
## Players whom it takes.
var max_players := 0
## What it was opened with, for lists and quick matches to ask for.
var tags := PackedStringArray()
## Key -> value of those of its properties that its host shows.
var properties := {}
## Nobody can join it now.
var is_locked := false
## Only who knows its password can join it.
var has_password := false


## Whether there is a free place, and it is not locked.
func is_open() -> bool:
	return num_players < max_players and not is_locked
