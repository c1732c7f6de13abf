class_name RelayStates
extends RefCounted
## Columns of changed states: what [signal RelayClient.state_received] hands over.
##
## Row [code]i[/code] of the columns belongs to entity [code]ids[i][/code]; its bytes are
## [code]states.slice(i * stride, (i + 1) * stride)[/code], which is what [method state] gives.
## To convert all at once, use the packed array: [code]states.to_float32_array()[/code] takes less
## than a microsecond for 32 entities of 24 bytes.

const _AGE_STEP_S := 0.002

## The server's tick of this picture, 1 or more.
var tick := 0
## Ticks of the server per second.
var tick_rate := 1
## Player ids are below this: [code]id % player_slots[/code] is the player.
var player_slots := 1
## Entity ids.
var ids: PackedInt32Array
## How old each sample was at the tick, in steps of 2 ms; 255 = 510 ms or more.
var ages: PackedByteArray
## Bytes of each state; all states of one RelayStates have this length.
var stride := 0
## All states, one after the other.
var states: PackedByteArray


## Number of entities in it.
func size() -> int:
	return ids.size()


## The player who published row [param row].
func player_id(row: int) -> int:
	return ids[row] % player_slots


## Which of that player's entities row [param row] is: 0 for a player's first.
func local_index(row: int) -> int:
	return ids[row] / player_slots


## The newest bytes of row [param row].
func state(row: int) -> PackedByteArray:
	return states.slice(row * stride, (row + 1) * stride)


## When row [param row] was sampled: server time in seconds, as [member RelayClient.server_time].
func sample_time(row: int) -> float:
	return float(tick) / tick_rate - ages[row] * _AGE_STEP_S
