extends RefCounted
## The way back into a room for a game that crashed: what must be kept in a file, and when.
##
## Written with each WELCOME, removed when the session ends in any other way than by a crash. The
## profile is taken with the first use: a game that never joins writes nothing.

const RelayHandshake := preload("relay_handshake.gd")
const RelayProfile := preload("relay_profile.gd")
const RelayRequest := preload("relay_request.gd")
const RelayWire := preload("generated_wire.gd")

var _profile: RelayProfile
var _is_profile_sought := false
var _address := ""
var _port := 0
var _kept_session := 0


## 16 bytes that tell this profile from others; of a game that cannot keep files others each time.
func identity() -> PackedByteArray:
	if _taken() == null:
		return Crypto.new().generate_random_bytes(RelayWire.IDENTITY_BYTES)
	return _profile.identity


## Notes which relay is entered.
func use(relay_address: String, relay_port: int) -> void:
	_address = relay_address
	_port = relay_port
	_kept_session = 0


## Keeps the way back into a session, once.
func keep(welcome: RelayWire.RelayWelcomeFields) -> void:
	if welcome.session == _kept_session or _taken() == null:
		return
	_kept_session = welcome.session
	var session := PackedByteArray()
	session.resize(8)
	session.encode_u64(0, welcome.session)
	(
		_profile
		. keep(
			{
				"address": _address,
				"port": _port,
				"code": RelayHandshake.code_of(welcome),
				"session": session.hex_encode(),
				"secret": welcome.secret.hex_encode(),
			}
		)
	)


## Forgets the way back that was kept.
func forget() -> void:
	_kept_session = 0
	if _profile != null:
		_profile.forget()


## Whether there is a way back.
func has_token() -> bool:
	var token := _token()
	return (
		token.get("address") is String
		and token.get("port") is float
		and token.get("code") is String
		and _bytes(token, "session").size() == 8
		and _bytes(token, "secret").size() == RelayWire.SECRET_BYTES
	)


## Whether there is a way back into the room that a request asks for.
func is_of(request: RelayRequest, relay_address: String, relay_port: int) -> bool:
	return (
		has_token()
		and request.mode != RelayWire.JoinMode.CREATE
		and request.code == _token()["code"]
		and address() == relay_address
		and port() == relay_port
	)


## Name or IP address of the relay. Only with a token.
func address() -> String:
	return _token()["address"]


## UDP port of the relay. Only with a token.
func port() -> int:
	return int(_token()["port"])


## Makes a request to come back of one with all wishes. Only with a token.
func request(wishes: RelayRequest) -> RelayRequest:
	var token := _token()
	wishes.mode = RelayWire.JoinMode.RESUME
	wishes.code = token["code"]
	wishes.session = _bytes(token, "session").decode_u64(0)
	wishes.secret = _bytes(token, "secret")
	return wishes


func _token() -> Dictionary:
	return {} if _taken() == null else _profile.kept()


func _bytes(token: Dictionary, key: String) -> PackedByteArray:
	var text: Variant = token.get(key)
	var is_hex: bool = text is String and text.is_valid_hex_number() and text.length() % 2 == 0
	return text.hex_decode() if is_hex else PackedByteArray()


func _taken() -> RelayProfile:
	if not _is_profile_sought:
		_is_profile_sought = true
		_profile = RelayProfile.take()
	return _profile
