#!/usr/bin/env bash
# Takes tools/godot/screenshot.png: a relay, bots, and the demo in a window that nobody sees, drawn by software OpenGL.
#   bash tools/godot/screenshot.sh [FILE]
# Needs Xvfb and Mesa (Debian: apt-get install xvfb xauth libgl1-mesa-dri libgl1), a Godot 4 that can draw
# (GODOT4=/path/to/godot, or what .ci/install-godot4.sh installed), and a Python with tickrelay's dependencies.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

picture=$(realpath -m "${1:-tools/godot/screenshot.png}")
godot=${GODOT4:-${XDG_CACHE_HOME:-$HOME/.cache}/godot4-deb/godot4}
python=${PYTHON:-python3}
port=${PORT:-24599}
seconds=8

command -v xvfb-run >/dev/null || { echo "screenshot: no xvfb-run; on Debian: apt-get install xvfb xauth" >&2; exit 1; }
[ -x "$godot" ] || { echo "screenshot: no Godot at $godot; run bash .ci/install-godot4.sh, or set GODOT4" >&2; exit 1; }

scratch=$(mktemp -d)
started=()
cleanup() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$scratch"
}
trap cleanup EXIT

cp -r tools/godot "$scratch/project" # the engine writes beside what it opens
run=("$godot" --path "$scratch/project")
"$python" -m tools.cli serve --host 127.0.0.1 --port "$port" >"$scratch/relay.log" 2>&1 &
started+=($!)
for name in Heron Lynx; do
  "${run[@]}" --headless -- --bot --port="$port" --code=ARENA --name="$name" >"$scratch/$name.log" 2>&1 &
  started+=($!)
done
sleep 2
timeout 60 xvfb-run -a -s "-screen 0 960x600x24" "${run[@]}" --rendering-driver opengl3 --audio-driver Dummy \
  --resolution 960x600 --script res://demo/screenshot.gd -- \
  --port="$port" --code=ARENA --name=Otter --after="$seconds" --to="$picture" >"$scratch/picture.log" 2>&1 ||
  { tail -n 20 "$scratch/picture.log" >&2; exit 1; }
grep "OpenGL API" "$scratch/picture.log" >&2 || true
ls -l "$picture"
