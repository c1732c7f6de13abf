extends RefCounted
## Which properties of a node a state holds, and where: properties to bytes, bytes to numbers,
## numbers to properties.
##
## Properties of 4 bytes a number come first, then 2, then 1. So all that is a float is read by one
## bulk conversion, and nothing depends on the order in which properties stand in the inspector
## except among those of one width. "Numbers" are a state decoded: one float32 after the other.

enum RelayBlend { STEP, LINEAR, ANGLE, TURN }

const RelayPropertyScript := preload("relay_property.gd")

const _STEPS_16 := 65535.0
const _STEPS_8 := 255.0
const _DIRECTIONS_16 := 65536.0
const _DIRECTIONS_8 := 256.0
## Variant type -> how many numbers it is made of.
const _NUMBERS := {
	TYPE_BOOL: 1,
	TYPE_INT: 1,
	TYPE_FLOAT: 1,
	TYPE_VECTOR2: 2,
	TYPE_VECTOR2I: 2,
	TYPE_VECTOR3: 3,
	TYPE_VECTOR3I: 3,
	TYPE_VECTOR4: 4,
	TYPE_QUATERNION: 4,
	TYPE_COLOR: 4,
}

## Bytes of a state.
var size := 0
## What could not be taken, in words.
var problems: Array[String] = []
var _fields: Array[RelayField] = []
var _num_numbers := 0
var _num_floats := 0


class RelayField:
	extends RefCounted
	var node: Node
	var property: NodePath
	var value_type := TYPE_NIL
	var encoding := RelayPropertyScript.Encoding.FLOAT
	var blend := RelayBlend.LINEAR
	var low := 0.0
	var high := 1.0
	## Numbers in it.
	var count := 0
	## Its first byte, and its first number.
	var at := 0
	var first := 0


## Lays out [param properties] (of type RelayProperty) of [param root] and of nodes below it.
func _init(root: Node, properties: Array) -> void:
	for property: RelayPropertyScript in properties:
		_add(root, property)
	_fields.sort_custom(
		func(a: RelayField, b: RelayField) -> bool:
			var width_a := RelayPropertyScript.BYTES[a.encoding]
			var width_b := RelayPropertyScript.BYTES[b.encoding]
			return width_a > width_b or (width_a == width_b and a.first < b.first)
	)
	_num_numbers = 0
	for field in _fields:
		field.at = size
		field.first = _num_numbers
		size += field.count * RelayPropertyScript.BYTES[field.encoding]
		_num_numbers += field.count
		if field.encoding == RelayPropertyScript.Encoding.FLOAT:
			_num_floats += field.count


## Writes what the properties are now.
func encode() -> PackedByteArray:
	var bytes := PackedByteArray()
	bytes.resize(size)
	for field in _fields:
		if not is_instance_valid(field.node):
			continue
		var at := field.at
		for number in _numbers_of(field.node.get_indexed(field.property), field.value_type):
			_write(field, number, bytes, at)
			at += RelayPropertyScript.BYTES[field.encoding]
	return bytes


## Reads the state that begins at [param start] and is [member size] long. Returns an empty array if
## a float in it is none: strangers write states too.
func decode(bytes: PackedByteArray, start: int) -> PackedFloat32Array:
	var numbers := bytes.slice(start, start + _num_floats * 4).to_float32_array()
	for number in numbers:
		if not is_finite(number):
			return PackedFloat32Array()
	numbers.resize(_num_numbers)
	for field in _fields:
		if field.encoding != RelayPropertyScript.Encoding.FLOAT:
			_read(field, bytes, start + field.at, numbers)
	return numbers


## Mixes two states: [param weight] 0 is [param a], 1 is [param b].
func blend(a: PackedFloat32Array, b: PackedFloat32Array, weight: float) -> PackedFloat32Array:
	var result := a.duplicate()
	for field in _fields:
		if field.blend == RelayBlend.STEP:
			continue
		if field.blend == RelayBlend.TURN:
			_turn(a, b, weight, field.first, result)
			continue
		for i in range(field.first, field.first + field.count):
			if field.blend == RelayBlend.ANGLE:
				result[i] = wrapf(lerp_angle(a[i], b[i], weight), -PI, PI)
			else:
				result[i] = lerpf(a[i], b[i], weight)
	return result


## Sets the properties.
func apply(numbers: PackedFloat32Array) -> void:
	for field in _fields:
		if is_instance_valid(field.node):
			field.node.set_indexed(field.property, _value_of(field, numbers))


## How far apart the positions in two states are; 0 if "position" of the root is not shared.
func distance(root: Node, a: PackedFloat32Array, b: PackedFloat32Array) -> float:
	for field in _fields:
		if field.node == root and field.property == ^":position":
			var from := Vector3(a[field.first], a[field.first + 1], 0.0)
			var to := Vector3(b[field.first], b[field.first + 1], 0.0)
			if field.count == 3:
				from.z = a[field.first + 2]
				to.z = b[field.first + 2]
			return from.distance_to(to)
	return 0.0


func _add(root: Node, property: RelayPropertyScript) -> void:
	if property == null or property.path.is_empty():
		problems.append("an entry of the list of properties is empty: set its path, or remove it")
		return
	var node_name := String(property.path).get_slice(":", 0)
	var node := root if node_name.is_empty() else root.get_node_or_null(node_name)
	var names := property.path.get_concatenated_subnames()
	if node == null or names.is_empty() or not _has(node, property.path.get_subname(0)):
		problems.append(
			(
				'"%s" has no property "%s": write it like ":modulate" or "Turret:rotation"'
				% [root.name, property.path]
			)
		)
		return
	var field := RelayField.new()
	field.node = node
	field.property = NodePath(":" + names)
	field.value_type = _type_of(node, field.property)
	if field.value_type == TYPE_NIL and Engine.is_editor_hint():
		return  # a variable without a type: what it is shows when the game runs
	if not _NUMBERS.has(field.value_type):
		problems.append(
			(
				'"%s" is of type %s: share numbers, bools, vectors, colours or quaternions'
				% [property.path, type_string(field.value_type)]
			)
		)
		return
	if property.max_value <= property.min_value:
		problems.append('"%s": max_value must be above min_value' % property.path)
		return
	field.count = _NUMBERS[field.value_type]
	field.first = _fields.size()
	_choose(field, property, names)
	_fields.append(field)


## Whether a node has a property. In the editor scripts do not run: their variables are only listed.
static func _has(node: Node, property_name: StringName) -> bool:
	return property_name in node or _listed_type(node, property_name) >= 0


static func _type_of(node: Node, property: NodePath) -> int:
	var value: Variant = node.get_indexed(property)
	if value == null and property.get_subname_count() == 1:
		return maxi(_listed_type(node, property.get_subname(0)), TYPE_NIL)
	return typeof(value)


static func _listed_type(node: Node, property_name: StringName) -> int:
	var script: Script = node.get_script()
	if script != null:
		for entry in script.get_script_property_list():
			if entry["name"] == property_name:
				return entry["type"]
	return -1


func _choose(field: RelayField, property: RelayPropertyScript, names: String) -> void:
	field.encoding = property.encoding
	field.low = property.min_value
	field.high = property.max_value
	if field.encoding == RelayPropertyScript.Encoding.AUTO:
		field.encoding = _encoding_for(field.value_type, names)
		if field.value_type == TYPE_QUATERNION:
			field.low = -1.0
			field.high = 1.0
	field.blend = RelayBlend.LINEAR
	if field.value_type == TYPE_BOOL or not property.interpolate:
		field.blend = RelayBlend.STEP
	elif field.value_type == TYPE_QUATERNION:
		field.blend = RelayBlend.TURN
	elif (
		field.encoding
		in [RelayPropertyScript.Encoding.ANGLE_16, RelayPropertyScript.Encoding.ANGLE_8]
	):
		field.blend = RelayBlend.ANGLE


func _encoding_for(value_type: int, names: String) -> RelayPropertyScript.Encoding:
	if names == "rotation":
		return RelayPropertyScript.Encoding.ANGLE_16
	match value_type:
		TYPE_BOOL:
			return RelayPropertyScript.Encoding.WHOLE_8
		TYPE_INT, TYPE_VECTOR2I, TYPE_VECTOR3I:
			return RelayPropertyScript.Encoding.WHOLE_16
		TYPE_COLOR:
			return RelayPropertyScript.Encoding.RANGE_8
		TYPE_QUATERNION:
			return RelayPropertyScript.Encoding.RANGE_16
	return RelayPropertyScript.Encoding.FLOAT


func _write(field: RelayField, given: float, bytes: PackedByteArray, at: int) -> void:
	var number := given if is_finite(given) else 0.0
	var share := (clampf(number, field.low, field.high) - field.low) / (field.high - field.low)
	match field.encoding:
		RelayPropertyScript.Encoding.FLOAT:
			bytes.encode_float(at, number)
		RelayPropertyScript.Encoding.RANGE_16:
			bytes.encode_u16(at, roundi(share * _STEPS_16))
		RelayPropertyScript.Encoding.RANGE_8:
			bytes.encode_u8(at, roundi(share * _STEPS_8))
		RelayPropertyScript.Encoding.ANGLE_16:
			bytes.encode_u16(at, roundi(fposmod(number, TAU) / TAU * _DIRECTIONS_16) & 0xFFFF)
		RelayPropertyScript.Encoding.ANGLE_8:
			bytes.encode_u8(at, roundi(fposmod(number, TAU) / TAU * _DIRECTIONS_8) & 0xFF)
		RelayPropertyScript.Encoding.WHOLE_16:
			bytes.encode_s16(at, roundi(clampf(number, -32768.0, 32767.0)))
		RelayPropertyScript.Encoding.WHOLE_8:
			bytes.encode_u8(at, roundi(clampf(number, 0.0, 255.0)))


func _read(
	field: RelayField, bytes: PackedByteArray, start: int, numbers: PackedFloat32Array
) -> void:
	var at := start
	var width := RelayPropertyScript.BYTES[field.encoding]
	var scale := field.high - field.low
	for i in range(field.first, field.first + field.count):
		match field.encoding:
			RelayPropertyScript.Encoding.RANGE_16:
				numbers[i] = field.low + bytes.decode_u16(at) / _STEPS_16 * scale
			RelayPropertyScript.Encoding.RANGE_8:
				numbers[i] = field.low + bytes.decode_u8(at) / _STEPS_8 * scale
			RelayPropertyScript.Encoding.ANGLE_16:
				numbers[i] = bytes.decode_s16(at) / _DIRECTIONS_16 * TAU
			RelayPropertyScript.Encoding.ANGLE_8:
				numbers[i] = bytes.decode_s8(at) / _DIRECTIONS_8 * TAU
			RelayPropertyScript.Encoding.WHOLE_16:
				numbers[i] = bytes.decode_s16(at)
			RelayPropertyScript.Encoding.WHOLE_8:
				numbers[i] = bytes.decode_u8(at)
		at += width


func _turn(
	a: PackedFloat32Array,
	b: PackedFloat32Array,
	weight: float,
	first: int,
	result: PackedFloat32Array
) -> void:
	var turned := _quaternion(a, first).slerp(_quaternion(b, first), weight)
	result[first] = turned.x
	result[first + 1] = turned.y
	result[first + 2] = turned.z
	result[first + 3] = turned.w


## A rotation, whatever the bytes were: the engine complains of quaternions that are not normalised.
static func _quaternion(numbers: PackedFloat32Array, i: int) -> Quaternion:
	var result := Quaternion(numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3])
	return result.normalized() if result.length_squared() > 0.01 else Quaternion.IDENTITY


static func _numbers_of(value: Variant, expected_type: int) -> PackedFloat64Array:
	if typeof(value) != expected_type:  # the property changed its type: 0 is better than an error
		var zeros := PackedFloat64Array()
		zeros.resize(_NUMBERS[expected_type])
		return zeros
	match expected_type:
		TYPE_VECTOR2, TYPE_VECTOR2I:
			return PackedFloat64Array([value.x, value.y])
		TYPE_VECTOR3, TYPE_VECTOR3I:
			return PackedFloat64Array([value.x, value.y, value.z])
		TYPE_VECTOR4, TYPE_QUATERNION:
			return PackedFloat64Array([value.x, value.y, value.z, value.w])
		TYPE_COLOR:
			return PackedFloat64Array([value.r, value.g, value.b, value.a])
	return PackedFloat64Array([float(value)])


static func _value_of(field: RelayField, numbers: PackedFloat32Array) -> Variant:
	var i := field.first
	match field.value_type:
		TYPE_BOOL:
			return numbers[i] > 0.5
		TYPE_INT:
			return roundi(numbers[i])
		TYPE_VECTOR2:
			return Vector2(numbers[i], numbers[i + 1])
		TYPE_VECTOR2I:
			return Vector2i(roundi(numbers[i]), roundi(numbers[i + 1]))
		_:
			return _large_value_of(field.value_type, numbers, i)


static func _large_value_of(value_type: int, numbers: PackedFloat32Array, i: int) -> Variant:
	match value_type:
		TYPE_VECTOR3:
			return Vector3(numbers[i], numbers[i + 1], numbers[i + 2])
		TYPE_VECTOR3I:
			return Vector3i(roundi(numbers[i]), roundi(numbers[i + 1]), roundi(numbers[i + 2]))
		TYPE_VECTOR4:
			return Vector4(numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3])
		TYPE_QUATERNION:
			return _quaternion(numbers, i)
		TYPE_COLOR:
			return Color(numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3])
	return numbers[i]
