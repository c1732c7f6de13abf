extends RefCounted
## Who we are on this machine, kept over starts: an identity, and the way back into a room.
##
## Each running client has a profile of its own, a number from 0 on: the one that the command line
## names ([code]-- --tickrelay-profile=1[/code]), or the first that nobody uses. So two games that
## are started on one machine are two players, also after both have crashed.
## [br][br]
## In use is a profile whose lock file names a UDP port that is bound on this machine. The system
## frees it in the moment in which the process ends, however it ends; a file that is left behind
## locks nothing. Looking and binding must not happen in two processes at once: meanwhile a port is
## bound that is the same for all games of this name.

const RelayProfileScript := preload("relay_profile.gd")
const RelayWire := preload("generated_wire.gd")

const FOLDER := "user://tickrelay"
## Profiles of one game on one machine (chosen: more than anybody starts).
const MAX_PROFILES := 256
const ARGUMENT := "--tickrelay-profile="

const _HOST := "127.0.0.1"
## Ports that no system gives out by itself on Linux and Windows: 1024 beside the relay's own.
const _FIRST_GUARD_PORT := 24600
const _NUM_GUARD_PORTS := 1024
## How long another process may take to choose its profile, and between two looks.
const _GUARD_WAIT_MS := 1000
const _GUARD_LOOK_MS := 2
const _OWNER_ONLY := FileAccess.UNIX_READ_OWNER | FileAccess.UNIX_WRITE_OWNER

## From 0 on.
var number := 0
## 16 random bytes, made once for each profile.
var identity := PackedByteArray()
var _lock: PacketPeerUDP


## Takes the profile that is ours; null if the game cannot keep files.
static func take() -> RelayProfileScript:
	if DirAccess.make_dir_recursive_absolute(FOLDER) not in [OK, ERR_ALREADY_EXISTS]:
		return null
	var guard := _guard()
	var wanted := _wanted()
	var profile: RelayProfileScript = null
	for candidate in range(wanted, wanted + MAX_PROFILES):
		var lock := _lock_of(candidate)
		if lock != null:
			profile = RelayProfileScript.new()
			profile._lock = lock
			profile.number = candidate
			profile.identity = profile._read_identity()
			break
	guard.close()
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


## The number that the command line asks for, else 0.
static func _wanted() -> int:
	for argument in OS.get_cmdline_user_args():
		if argument.begins_with(ARGUMENT) and argument.trim_prefix(ARGUMENT).is_valid_int():
			return clampi(argument.trim_prefix(ARGUMENT).to_int(), 0, MAX_PROFILES - 1)
	return 0


## Waits until no other process chooses its profile. Who cannot wait goes on: then two that start in
## the same millisecond may meet.
static func _guard() -> PacketPeerUDP:
	var guard := PacketPeerUDP.new()
	var port := _FIRST_GUARD_PORT + hash(OS.get_user_data_dir()) % _NUM_GUARD_PORTS
	var waited_ms := 0
	while guard.bind(port, _HOST) != OK and waited_ms < _GUARD_WAIT_MS:
		OS.delay_msec(_GUARD_LOOK_MS)
		waited_ms += _GUARD_LOOK_MS
	return guard


## Binds a profile's port; null if another process, or another client of ours, has it.
static func _lock_of(profile: int) -> PacketPeerUDP:
	var path := _path_of(profile, "lock")
	var port := _read(path).to_int()
	var lock := PacketPeerUDP.new()
	if port > 0 and port < 65536:
		return lock if lock.bind(port, _HOST) == OK else null
	if lock.bind(0, _HOST) != OK:
		return null
	_write(path, str(lock.get_local_port()).to_ascii_buffer())
	return lock


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
