extends Node2D
## A player of peer_game.gd: its owner moves it and changes its mood, the host its hit points.

var hit_points := 100
var mood := 0


func _enter_tree() -> void:
	$OwnerSync.set_multiplayer_authority(str(name).to_int())


func is_ours() -> bool:
	return $OwnerSync.is_multiplayer_authority()
