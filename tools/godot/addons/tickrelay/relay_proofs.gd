extends RefCounted
## Keyed hashes that both ends compute, and the shard of a room code (SPEC 2, 4, 6).

const RelayWire := preload("generated_wire.gd")


static func shard_of(code: String) -> int:
	var shard := 0
	for byte in code.to_ascii_buffer():
		shard = (shard * 31 + byte) & 255
	return shard


## 32 bytes that a room's creator sends; empty for no password. The password never crosses the wire.
static func room_key(password: String) -> PackedByteArray:
	if password.is_empty():
		return PackedByteArray()
	return _hmac("tickrelay room key".to_ascii_buffer(), password.to_utf8_buffer())


## A fresh number for one attempt: who could guess it could answer in the relay's place.
static func random_nonce() -> int:
	return Crypto.new().generate_random_bytes(RelayWire.NONCE_BYTES).decode_u64(0)


## Proves knowledge of a room's key to the server that issued [param cookie].
static func join_proof(
	key: PackedByteArray, cookie: PackedByteArray, nonce: int
) -> PackedByteArray:
	var message := "join".to_ascii_buffer()
	message.append_array(cookie)
	message.append_array(_u64(nonce))
	return _hmac(key, message).slice(0, RelayWire.PROOF_BYTES)


## Proves possession of an old session's secret to the server that issued [param cookie].
static func resume_proof(
	secret: PackedByteArray, cookie: PackedByteArray, nonce: int, session: int
) -> PackedByteArray:
	var message := "resume".to_ascii_buffer()
	message.append_array(cookie)
	message.append_array(_u64(nonce))
	message.append_array(_u64(session))
	return _hmac(secret, message).slice(0, RelayWire.PROOF_BYTES)


## The nonce of attempt number [param count] to come back to a session: only who has its secret can
## guess it.
static func resume_nonce(secret: PackedByteArray, count: int) -> int:
	var message := "resume nonce".to_ascii_buffer()
	message.append_array(_u64(count).slice(0, 4))
	return _hmac(secret, message).decode_u64(0)


## Proves possession of a session's secret for one path challenge.
static func path_proof(secret: PackedByteArray, challenge: int, session: int) -> PackedByteArray:
	var message := "path".to_ascii_buffer()
	message.append_array(_u64(challenge))
	message.append_array(_u64(session))
	return _hmac(secret, message).slice(0, RelayWire.PROOF_BYTES)


static func _hmac(key: PackedByteArray, message: PackedByteArray) -> PackedByteArray:
	return Crypto.new().hmac_digest(HashingContext.HASH_SHA256, key, message)


static func _u64(number: int) -> PackedByteArray:
	var bytes := PackedByteArray()
	bytes.resize(8)
	bytes.encode_u64(0, number)
	return bytes
