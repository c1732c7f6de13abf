@tool
class_name RelayProperty
extends Resource
## One property that a [RelaySync] shares: which one, and in how many bytes.
##
## A property is made of numbers: a [Vector2] of two, a [Color] or a [Quaternion] of four, a
## [float], an [int] or a [bool] of one. Each takes as many bytes as [member encoding] says:
## [codeblock lang=text]
## encoding   bytes  range                       differs by at most
## FLOAT          4  any                         nothing (what a Vector2 or Vector3 holds)
## RANGE_16       2  min_value to max_value      (max_value - min_value) / 131070
## RANGE_8        1  min_value to max_value      (max_value - min_value) / 510
## ANGLE_16       2  radians, all the way round  0.00005 (0.003 degrees)
## ANGLE_8        1  radians, all the way round  0.0123 (0.7 degrees)
## WHOLE_16       2  -32768 to 32767             0.5; nothing for whole numbers
## WHOLE_8        1  0 to 255                    0.5; nothing for whole numbers
## [/codeblock]
## AUTO is FLOAT for floats and vectors, ANGLE_16 for "rotation", WHOLE_16 for an int, WHOLE_8 for
## a bool, RANGE_8 for a Color, RANGE_16 from -1 to 1 for a Quaternion. What is out of
## range is sent as the end of the range. Both sides must use the same.

## How each number of a property is written.
enum Encoding {
	## What suits the type of the property.
	AUTO,
	## 4 bytes: as it is.
	FLOAT,
	## 2 bytes: 65536 steps from [member min_value] to [member max_value].
	RANGE_16,
	## 1 byte: 256 steps from [member min_value] to [member max_value].
	RANGE_8,
	## 2 bytes: 65536 directions. In between the short way round is taken.
	ANGLE_16,
	## 1 byte: 256 directions. In between the short way round is taken.
	ANGLE_8,
	## 2 bytes: the nearest whole number.
	WHOLE_16,
	## 1 byte: the nearest whole number, not below 0.
	WHOLE_8,
}

## Bytes of one number; 0 for AUTO.
const BYTES: PackedByteArray = [0, 4, 2, 1, 2, 1, 2, 1]

## The property, seen from the node above the RelaySync: [code]:modulate[/code] is that node's own,
## [code]Turret:rotation[/code] one of its child Turret, [code]:velocity:x[/code] a part of one.
@export var path: NodePath:
	set(value):
		path = value
		emit_changed()
## How each number of it is written.
@export var encoding := Encoding.AUTO:
	set(value):
		encoding = value
		emit_changed()
## Least number that RANGE_16 and RANGE_8 can say.
@export var min_value := 0.0:
	set(value):
		min_value = value
		emit_changed()
## Largest number that RANGE_16 and RANGE_8 can say.
@export var max_value := 1.0:
	set(value):
		max_value = value
		emit_changed()
## Whether there is something between two values. Whole numbers, bools and what must not be seen in
## between (a frame of an animation) change at once. Always off for bools.
@export var interpolate := true:
	set(value):
		interpolate = value
		emit_changed()


## Makes one by code: [code]RelayProperty.create(^":health", RelayProperty.Encoding.WHOLE_8)[/code].
static func create(
	of_path: NodePath, with_encoding := Encoding.AUTO, least := 0.0, most := 1.0
) -> Resource:
	var property: Resource = new()
	property.path = of_path
	property.encoding = with_encoding
	property.min_value = least
	property.max_value = most
	return property
