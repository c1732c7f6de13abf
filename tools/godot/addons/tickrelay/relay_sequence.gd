extends RefCounted
## Numbers that count up and cross the wire as their low 16 bits (SPEC 5).

const RelayWire := preload("generated_wire.gd")


## Rebuilds a whole number from its low 16 bits: the one nearest to [param near].
## It may be below 0; the caller's check against the lowest permitted number refuses it.
static func extend(low: int, near: int) -> int:
	return near + ((low - near + 0x8000) & 0xFFFF) - 0x8000


## Tells whether a number of 16 bits comes after another one, at most 32,767 numbers later.
static func is_after(number: int, other: int) -> bool:
	var ahead := (number - other) & 0xFFFF
	return ahead > 0 and ahead < 0x8000


## Which of the peer's datagrams have arrived: the newest, and a mask of the 64 up to it.
class RelayReceiveWindow:
	extends RefCounted
	enum RelayVerdict { NEW, DUPLICATE, TOO_OLD }

	## Whole number of the newest datagram accepted; 0 = none yet.
	var newest := 0
	var _mask := 0

	## Tells whether a datagram may be accepted.
	func check(seq: int) -> RelayVerdict:
		var behind := newest - seq
		if behind >= RelayWire.WINDOW or seq < 1:
			return RelayVerdict.TOO_OLD
		if behind < 0 or not (_mask >> behind) & 1:
			return RelayVerdict.NEW
		return RelayVerdict.DUPLICATE

	## Records a datagram that [method check] permitted, after every other check.
	func accept(seq: int) -> void:
		var ahead := seq - newest
		if ahead <= 0:
			_mask |= 1 << -ahead
			return
		_mask = (_mask << ahead | 1) if ahead < RelayWire.WINDOW else 1
		newest = seq

	## Bit i set = datagram newest - 1 - i has arrived; the newest itself is implied.
	func ack_bits() -> int:
		return (_mask >> 1) & 0xFFFFFFFF
