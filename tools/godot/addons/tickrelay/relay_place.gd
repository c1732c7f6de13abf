extends RefCounted
## The way back into a room for a game that crashed: what must be kept in a file, and when.
##
## Written with each WELCOME, removed when the session ends in any other way than by a crash. The
## profile is taken with the first use: a game that never joins writes nothing.
## [br][br]
## Once the relay cannot keep the place any more the way back is none: of a relay that is gone
## nobody would ever hear so. So it is written anew from time to time while the connection lives.

const RelayHandshake := preload("relay_handshake.gd")
const RelayProfile := preload("relay_profile.gd")
const RelayRequest := preload("relay_request.gd")
const RelayWire := preload("generated_wire.gd")

const _MS := 0.001
## A way back is written anew after this share of the time for which the relay keeps a place
## (chosen: a crash is taken for up to so much later than it was), and not more often than this.
const _REFRESH_SHARE := 0.25
const _REFRESH_LEAST_S := 1.0

var _profile: RelayProfile
var _is_profile_sought := false
var _address := ""
var _port := 0
var _kept_session := 0
var _kept_at := 0.0


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


## Keeps the way back into a session. [param is_lost]: the connection is, so the time that the relay
## keeps the place runs.
func keep(welcome: RelayWire.RelayWelcomeFields, is_lost: bool) -> void:
	var now := Time.get_unix_time_from_system()
	var refresh_s := maxf(_REFRESH_LEAST_S, welcome.grace_s * _REFRESH_SHARE)
	if welcome.session == _kept_session and (is_lost or absf(now - _kept_at) < refresh_s):
		return
	if _taken() == null:
		return
	_kept_session = welcome.session
	_kept_at = now
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
				"at": floori(now),
				"good_for_s": ceili(refresh_s + welcome.timeout_ms * _MS + welcome.grace_s) + 1,
			}
		)
	)


## Forgets the way back that was kept.
func forget() -> void:
	_kept_session = 0
	if _profile != null:
		_profile.forget()


## Whether there is a way back, and the relay may still keep the place.
func has_token() -> bool:
	var token := _token()
	return (
		token.get("address") is String
		and token.get("port") is float
		and token.get("code") is String
		and _bytes(token, "session").size() == 8
		and _bytes(token, "secret").size() == RelayWire.SECRET_BYTES
		and _is_fresh(token)
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


## A clock that was set back since makes a token none, too: when it is from nobody knows then.
func _is_fresh(token: Dictionary) -> bool:
	var at: Variant = token.get("at")
	var good_for_s: Variant = token.get("good_for_s")
	if not at is float or not good_for_s is float:
		return false
	return absf(Time.get_unix_time_from_system() - at) <= good_for_s


func _bytes(token: Dictionary, key: String) -> PackedByteArray:
	var text: Variant = token.get(key)
	var is_hex: bool = text is String and text.is_valid_hex_number() and text.length() % 2 == 0
	return text.hex_decode() if is_hex else PackedByteArray()


func _taken() -> RelayProfile:
	if not _is_profile_sought:
		_is_profile_sought = true
		_profile = RelayProfile.take()
	return _profile
