extends RefCounted
## Who we are on this machine, kept over starts: an identity, and the way back into a room.
##
## Each running client has a profile of its own, a number from 0 on: the one that the command line
## names ([code]-- --tickrelay-profile=1[/code]), or the first that nobody uses. So two games that
## are started on one machine are two players, also after both have crashed.
## [br][br]
## In use is a profile of whose three ports somebody has bound two. UDP ports, for the system frees
## them in the moment in which a process ends, however it ends: a file that is left behind would
## lock a profile for ever. Two of three, for any program may have one of them. Two processes never
## have two of the same three, whatever they do at the same time.
## [br][br]
## Of several that look at once each could get one, and none the profile. So they look one after the
## other: meanwhile a port is bound that is the same for all games of this name.

const RelayProfileScript := preload("relay_profile.gd")
const RelayWire := preload("generated_wire.gd")

const FOLDER := "user://tickrelay"
## Profiles of one game on one machine (chosen: more than anybody starts).
const MAX_PROFILES := 256
const ARGUMENT := "--tickrelay-profile="

const _HOST := "127.0.0.1"
## Ports that no system gives out by itself on Linux, macOS and Windows: 1024 beside the relay's
## own, then those of the profiles, three ranges up to 32766.
const _FIRST_GUARD_PORT := 24600
const _NUM_GUARD_PORTS := 1024
const _FIRST_PORT := _FIRST_GUARD_PORT + _NUM_GUARD_PORTS
const _NUM_PORTS := 2381
const _NUM_RANGES := 3
const _MAJORITY := 2
## What the engine keeps for datagrams of a socket; nobody sends any to these (64 KiB otherwise).
const _RING_BYTES := 1024
## How long another process may take to choose its profile, and between two looks.
const _GUARD_WAIT_MS := 1000
const _GUARD_LOOK_MS := 2
const _NO_PROFILE_TEXT := (
	"tickrelay: %s. This game cannot come back after a crash, and is a new player each time it"
	+ " is started."
)
const _OTHER_PROFILE_TEXT := (
	"tickrelay: profile %d is in use by another game on this machine. This game takes profile %d:"
	+ " it is another player, and comes back to another place."
)
## What the command line asks for if it says nothing.
const _ANY := -1
const _OWNER_ONLY := FileAccess.UNIX_READ_OWNER | FileAccess.UNIX_WRITE_OWNER

## From 0 on.
var number := 0
## 16 random bytes, made once for each profile.
var identity := PackedByteArray()
var _lock: Array[PacketPeerUDP] = []


## Takes the profile that is ours; null if the game cannot keep files, or all are in use. The
## developer is warned of that, and of a profile that the command line names and another has.
static func take() -> RelayProfileScript:
	if DirAccess.make_dir_recursive_absolute(FOLDER) not in [OK, ERR_ALREADY_EXISTS]:
		push_warning(_NO_PROFILE_TEXT % ("cannot write to " + FOLDER))
		return null
	var guard := _guard()
	var wanted := _wanted()
	var first := maxi(wanted, 0)
	var profile: RelayProfileScript = null
	for candidate in range(first, first + MAX_PROFILES):
		var lock := _lock_of(candidate)
		if not lock.is_empty():
			profile = RelayProfileScript.new()
			profile._lock = lock
			profile.number = candidate
			profile.identity = profile._read_identity()
			break
	guard.close()
	if profile == null:
		push_warning(_NO_PROFILE_TEXT % ("none of %d profiles is free" % MAX_PROFILES))
	elif wanted >= 0 and profile.number != wanted:
		push_warning(_OTHER_PROFILE_TEXT % [wanted, profile.number])
	return profile


## What was kept with [method keep]; empty if nothing was, or it is unreadable.
func kept() -> Dictionary:
	var text := _read(_path("token"))
	var value: Variant = JSON.parse_string(text) if text.begins_with("{") else null
	return value if value is Dictionary else {}


## Keeps something until [method forget], also over a crash.
func keep(value: Dictionary) -> void:
	_write(_path("token"), JSON.stringify(value).to_utf8_buffer())


## Forgets what was kept.
func forget() -> void:
	if FileAccess.file_exists(_path("token")):
		DirAccess.remove_absolute(_path("token"))


func _path(what: String) -> String:
	return _path_of(number, what)


func _read_identity() -> PackedByteArray:
	var path := _path("identity")
	var known := _read(path).hex_decode()
	if known.size() == RelayWire.IDENTITY_BYTES:
		return known
	known = Crypto.new().generate_random_bytes(RelayWire.IDENTITY_BYTES)
	_write(path, known.hex_encode().to_ascii_buffer())
	return known


static func _path_of(profile: int, what: String) -> String:
	return "%s/%d.%s" % [FOLDER, profile, what]


## The number that the command line asks for, else _ANY.
static func _wanted() -> int:
	for argument in OS.get_cmdline_user_args():
		if argument.begins_with(ARGUMENT) and argument.trim_prefix(ARGUMENT).is_valid_int():
			return clampi(argument.trim_prefix(ARGUMENT).to_int(), 0, MAX_PROFILES - 1)
	return _ANY


## Waits until no other process chooses its profile. Who cannot wait goes on: then several that
## start in the same millisecond may pass over a profile.
static func _guard() -> PacketPeerUDP:
	var guard := PacketPeerUDP.new()
	var waited_ms := 0
	while guard.bind(_guard_port(), _HOST) != OK and waited_ms < _GUARD_WAIT_MS:
		OS.delay_msec(_GUARD_LOOK_MS)
		waited_ms += _GUARD_LOOK_MS
	return guard


static func _guard_port() -> int:
	return _FIRST_GUARD_PORT + hash(OS.get_user_data_dir()) % _NUM_GUARD_PORTS


## Binds a profile's ports; empty if another process, or another client of ours, has the profile.
static func _lock_of(profile: int) -> Array[PacketPeerUDP]:
	var bound: Array[PacketPeerUDP] = []
	for port in _ports_of(profile):
		var socket := PacketPeerUDP.new()
		if socket.bind(port, _HOST, _RING_BYTES) == OK:
			bound.append(socket)
	if bound.size() < _MAJORITY:
		bound.clear()  # which closes them
	return bound


## A port in each range. Two games of other names may share one of them, but hardly two: the parts
## of a digest have nothing to do with each other.
static func _ports_of(profile: int) -> PackedInt32Array:
	var digest := OS.get_user_data_dir().sha256_buffer()
	var ports := PackedInt32Array()
	for number in _NUM_RANGES:
		var offset := digest.decode_u32(4 * number) + profile
		ports.append(_FIRST_PORT + number * _NUM_PORTS + offset % _NUM_PORTS)
	return ports


static func _read(path: String) -> String:
	var bytes := FileAccess.get_file_as_bytes(path) if FileAccess.file_exists(path) else []
	return PackedByteArray(bytes).get_string_from_ascii()


## Writes a file as a whole: a process that is killed meanwhile leaves the old one.
static func _write(path: String, bytes: PackedByteArray) -> void:
	var file := FileAccess.open(path + ".new", FileAccess.WRITE)
	if file == null:
		push_warning("tickrelay: cannot write %s" % path)
		return
	file.store_buffer(bytes)
	file.close()
	FileAccess.set_unix_permissions(path + ".new", _OWNER_ONLY)
	DirAccess.rename_absolute(path + ".new", path)
