extends RefCounted
## Values of properties: what a game sees, and the typed bytes on the wire (SPEC 9, Requests).

const RelayText := preload("relay_text.gd")
const RelayWire := preload("generated_wire.gd")

## What a value from the wire is that is none: a game cannot have it.
const BAD := &"bad"


## Whether a game may set a property to this: null, bool, int, float, String of at most 200 bytes of
## UTF-8, PackedByteArray of at most 200 bytes.
static func is_value(value: Variant) -> bool:
	match typeof(value):
		TYPE_NIL, TYPE_BOOL, TYPE_INT, TYPE_FLOAT:
			return true
		TYPE_STRING, TYPE_STRING_NAME:
			return str(value).to_utf8_buffer().size() <= RelayWire.MAX_VALUE_BYTES
		TYPE_PACKED_BYTE_ARRAY:
			return value.size() <= RelayWire.MAX_VALUE_BYTES
	return false


## Whether a text may be the key of a property: 1 to 32 bytes of UTF-8, no control characters.
static func is_key(key: String) -> bool:
	var size := key.to_utf8_buffer().size()
	return size >= 1 and size <= RelayWire.MAX_KEY_BYTES and RelayText.printable(key) == key


## Whether both are the same value of the same type.
static func is_same(a: Variant, b: Variant) -> bool:
	if a is StringName or b is StringName:
		return is_same(str(a) if a is StringName else a, str(b) if b is StringName else b)
	return typeof(a) == typeof(b) and a == b


## Writes a value that [method is_value] takes: its type, then its bytes.
static func encode(value: Variant) -> PackedByteArray:
	var bytes := PackedByteArray([RelayWire.PropertyType.NONE])
	match typeof(value):
		TYPE_BOOL:
			bytes = PackedByteArray([RelayWire.PropertyType.BOOL, int(value)])
		TYPE_INT:
			bytes.resize(9)
			bytes[0] = RelayWire.PropertyType.INT
			bytes.encode_s64(1, value)
		TYPE_FLOAT:
			bytes.resize(9)
			bytes[0] = RelayWire.PropertyType.FLOAT
			bytes.encode_double(1, value)
		TYPE_STRING, TYPE_STRING_NAME:
			bytes[0] = RelayWire.PropertyType.TEXT
			bytes.append_array(str(value).to_utf8_buffer())
		TYPE_PACKED_BYTE_ARRAY:
			bytes[0] = RelayWire.PropertyType.BYTES
			bytes.append_array(value)
	return bytes


## Reads a value; [constant BAD] if type and bytes are none.
static func decode(type: int, bytes: PackedByteArray) -> Variant:
	var size := bytes.size()
	match type:
		RelayWire.PropertyType.NONE:
			return null if size == 0 else BAD
		RelayWire.PropertyType.BOOL:
			return bytes[0] == 1 if size == 1 and bytes[0] <= 1 else BAD
		RelayWire.PropertyType.INT:
			return bytes.decode_s64(0) if size == 8 else BAD
		RelayWire.PropertyType.FLOAT:
			return bytes.decode_double(0) if size == 8 else BAD
		RelayWire.PropertyType.TEXT:
			var is_text := size <= RelayWire.MAX_VALUE_BYTES and RelayText.is_utf8(bytes)
			return RelayText.decode(bytes) if is_text else BAD
		RelayWire.PropertyType.BYTES:
			return bytes if size <= RelayWire.MAX_VALUE_BYTES else BAD
	return BAD


## Reads a key; "" if the bytes are none.
static func decode_key(bytes: PackedByteArray) -> String:
	if not RelayText.is_utf8(bytes):
		return ""
	var key := RelayText.decode(bytes)
	return key if is_key(key) else ""
