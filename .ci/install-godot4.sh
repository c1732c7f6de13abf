#!/bin/bash
# Installs Debian's Godot 4 (editor build, runs with --headless) into a cache folder: no root, nothing installed on the host.
# Prints the path of a wrapper script on stdout, messages on stderr. About 15 s cold, 0.1 s warm, 270 MB.
# Needs: a Debian host (apt-get, dpkg-deb, flock, debian-archive-keyring). The mirror is the one the host's own apt uses.
# Env: GODOT4 (path of another Godot 4, which is used as it is), GODOT4_CACHE (default ~/.cache/godot4-deb), GODOT4_SUITE (default sid), GODOT4_EXPECT (version prefix, default 4.)
set -euo pipefail
if [ -n "${GODOT4:-}" ]; then
    "$GODOT4" --headless --version >&2 || { echo "install-godot4: GODOT4=$GODOT4 does not run" >&2; exit 1; }
    echo "$GODOT4"; exit 0
fi
SUITE=${GODOT4_SUITE:-sid}
MIRROR=${GODOT4_MIRROR:-$( { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } | grep -oE "https?://[^ ]+/debian/?( |$)" | head -1 | tr -d " " | sed "s,/$,,")}
[ -n "$MIRROR" ] || { echo "install-godot4: no Debian mirror in the apt sources; set GODOT4_MIRROR" >&2; exit 1; }
CACHE=${GODOT4_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/godot4-deb}
EXPECT=${GODOT4_EXPECT:-4.}
WRAP=$CACHE/godot4
say() { echo "install-godot4: $*" >&2; }
ok() { [ -x "$WRAP" ] && timeout 30 "$WRAP" --headless --version 2>/dev/null | grep -q "^${EXPECT//./\\.}"; }

mkdir -p "$CACHE"
exec 9>"$CACHE/.lock"; flock 9
if ok; then echo "$WRAP"; exit 0; fi

# heavy packages of the dependency closure that a headless run never loads
# (checked below with the new ld.so: any unresolved library brings the whole closure in)
SKIP='^(libllvm|mesa-|libz3-|fonts-|xkb-data|x11-common|libx11-data|libc-gconv-modules|pci\.ids|libicu-dev|debconf|libxml2|libedit2|libelf1|libdrm-(intel|amdgpu|radeon|nouveau)|libpciaccess|libsensors|sysvinit|fontconfig-config|gcc-.*-base|sse[0-9])'
A=$CACHE/apt; mkdir -p "$A/lists/partial" "$A/cache/archives/partial" "$A/debs"; : >"$A/status"
KEY=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$KEY] $MIRROR $SUITE main" >"$A/sources.list"
cat >"$A/apt.conf" <<CONF
Dir::Etc::SourceList "$A/sources.list"; Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null"; Dir::Etc::PreferencesParts "/dev/null";
Dir::State "$A"; Dir::State::Lists "$A/lists"; Dir::State::status "$A/status";
Dir::Cache "$A/cache"; Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache ""; Dir::Log "$A";
Acquire::Check-Valid-Until "false"; Acquire::Languages "none"; Acquire::Retries "3";
APT::Install-Recommends "false"; APT::Sandbox::User "";
CONF
APT=(apt-get -qq -c "$A/apt.conf")
say "index of $SUITE"
"${APT[@]}" update >&2
"${APT[@]}" install --print-uris -y godot >"$A/uris"          # full closure, empty status file
sed -E "s/^'([^']*)' ([^ ]+) .*/\2/" "$A/uris" | sed -E 's/_.*//' | sort -u >"$A/all"
grep -vE "$SKIP" "$A/all" >"$A/want"

fetch_unpack() { # file with package names -> $1, root -> $2
    (cd "$A/debs" && xargs -r -a "$1" apt-get -qq -c "$A/apt.conf" download >&2)
    for d in "$A"/debs/*.deb; do dpkg-deb --fsys-tarfile "$d" | tar -x -C "$2" \
        --exclude='./usr/share/*' --exclude='./etc/*' --exclude='./lib/systemd/*' --exclude='./usr/libexec/*' --exclude='*/gconv/*'; done
    rm -f "$A"/debs/*.deb
}
R=$CACHE/root.new; rm -rf "$R"; mkdir -p "$R"
say "$(wc -l <"$A/want") of $(wc -l <"$A/all") packages"
fetch_unpack "$A/want" "$R"
libdirs() { find "$1" -name "*.so*" -printf "%h\n" | sort -u | paste -sd:; }
LD=$(find "$R" -name "ld-linux*.so.[0-9]" | head -1)
missing() { "$LD" --library-path "$(libdirs "$R")" --list "$R/usr/bin/godot" 2>&1 | grep -E 'not found|cannot open' || true; }
if [ -n "$(missing)" ]; then
    say "unresolved: $(missing | awk '{print $1}' | paste -sd' '); taking the whole closure"
    grep -vxFf "$A/want" "$A/all" >"$A/rest"; fetch_unpack "$A/rest" "$R"
    [ -z "$(missing)" ] || { say "still unresolved"; missing >&2; exit 1; }
fi
# keep only godot, the loader and what it links (drop the rest)
if [ "${GODOT4_PRUNE:-1}" = 1 ]; then
    K=$CACHE/root.keep; rm -rf "$K"; mkdir -p "$K/bin" "$K/lib"
    mv "$R/usr/bin/godot" "$K/bin/godot"
    "$LD" --library-path "$(libdirs "$R")" --list "$K/bin/godot" | awk '$3 ~ /^\//{print $3}' | while read -r f; do cp -L "$f" "$K/lib/"; done
    cp -L "$LD" "$K/lib/ld.so"
    rm -rf "$R"; R=$K; REL_BIN=bin/godot; REL_LD=lib/ld.so; REL_LIB=lib
else
    REL_BIN=usr/bin/godot; REL_LD=${LD#"$R"/}; REL_LIB=
fi
rm -rf "$CACHE/root"; mv "$R" "$CACHE/root"
LP=$CACHE/root/$REL_LIB; [ -n "$REL_LIB" ] || LP=$(libdirs "$CACHE/root")
cat >"$WRAP.tmp" <<W
#!/bin/sh
exec "$CACHE/root/$REL_LD" --library-path "$LP" "$CACHE/root/$REL_BIN" "\$@"
W
chmod +x "$WRAP.tmp"; mv "$WRAP.tmp" "$WRAP"
rm -rf "$A"
ok || { say "the wrapper does not print a version starting with $EXPECT:"; "$WRAP" --headless --version >&2 || true; exit 1; }
say "$("$WRAP" --headless --version) in $(du -sh "$CACHE" | cut -f1)"
echo "$WRAP"
