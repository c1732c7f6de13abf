extends RefCounted
## Warnings for the game's developer, each once per session: who, what is wrong, and the cure.

## What was warned of.
var given := {}
var _who: String


func _init(who: String) -> void:
	_who = who


## Warns, unless this was said before.
func give(what: String, cure: String) -> void:
	if not given.has(what):
		given[what] = cure
		push_warning("%s: %s: %s." % [_who, what, cure])


## A new session begins.
func clear() -> void:
	given.clear()
