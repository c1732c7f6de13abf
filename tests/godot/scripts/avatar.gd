extends Node2D
## A player of sync.gd: what it shares beside position and rotation.

var player_id := -1
var player_name := ""
## How far on its path, seconds.
var phase := 0.0
var energy := 0.0
var health := 0
var is_ready := false
