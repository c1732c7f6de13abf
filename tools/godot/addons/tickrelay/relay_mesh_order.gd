extends RefCounted
## Keeps the unreliable_ordered packets of one sender in order although they come on two ways: small
## ones as signals, large ones by the room's log.
##
## A large packet names the last signal that was made before it. So of two that come on different
## ways we know which was put first; if that one comes second, it is too late and is dropped, as
## ENet does. Signals among each other (SPEC 10, NEWEST_FIRST) and entries of the log are in order
## anyway.
##
## These numbers have 16 bits, and count signals to others too. So what was seen is forgotten before
## its number can be that of another signal.

const RelaySequence := preload("relay_sequence.gd")
const RelaySignals := preload("relay_signals.gd")

## A signal is under way no longer than this, seconds.
const SIGNAL_S := RelaySignals.REMEMBERED_S
## A large packet may be under way for longer. In so many seconds a sender makes 18,000 signals at
## the relay's usual 300 a second, and 32,767 numbers tell later from earlier (chosen).
const LARGE_S := 60.0

var _signals := {}  # channel -> [number of the newest, seconds when it came]
var _larges := {}  # channel -> [number of the signal before the newest, seconds when it came]


## Tells whether a signal may be handed over. [param number]: its own.
func takes_signal(channel: int, number: int, now: float) -> bool:
	var large: Array = _larges.get(channel, [0, -INF])
	if now - large[1] <= SIGNAL_S and not RelaySequence.is_after(number, large[0]):
		return false
	_signals[channel] = [number, now]
	return true


## Tells whether a large packet may be handed over. [param number]: of the last signal before it.
func takes_large(channel: int, number: int, now: float) -> bool:
	var newest: Array = _signals.get(channel, [0, -INF])
	if now - newest[1] <= LARGE_S and RelaySequence.is_after(newest[0], number):
		return false
	_larges[channel] = [number, now]
	return true
