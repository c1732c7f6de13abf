extends RefCounted
## Warnings for the game's developer, each once per session: who, what is wrong, and the cure.

## What was warned of.
var given := {}
var _who: String


## [param who]: node or class that is at fault.
func _init(who: String) -> void:
	_who = who


## Warns, unless this was said before. [param key]: what it is about, where the words differ from
## time to time.
func give(what: String, cure: String, key: String = "") -> void:
	if key.is_empty():
		key = what
	if not given.has(key):
		given[key] = cure
		push_warning("%s: %s: %s." % [_who, what, cure])


## A new session begins; [param who] may have moved.
func clear(who: String = _who) -> void:
	_who = who
	given.clear()
