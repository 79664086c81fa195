#!/usr/bin/env bash
# Swift on this machine: the one on PATH, else on Linux Debian's, in a folder of its own.
#
#   toolchain.sh swift ARGUMENT…            runs swift; fetches it first when there is none
#   toolchain.sh run FOLDER PROGRAM ARG…    runs what it built, with FOLDER's libmlxforge
#   toolchain.sh version                    which one there is, or could be; fetches nothing
#
# Debian's comes with debootstrap, as root, into ~/.cache/mlxforge (2.6 GB, 570 MB to download).
# swift runs there by chroot with this checkout mounted at its own path; what it builds runs out
# here, through that folder's loader, since it wants a newer C library than the machine may have.
# Nothing is installed outside the folder, and mounts end with the command.
set -euo pipefail

suite=${MLXFORGE_SWIFT_SUITE:-trixie} # sid for grpc/, which wants Swift 6.2
packages=swiftlang,libc6-dev,libstdc++-14-dev
debian=6.0.3 # the Swift of that suite
[ "$suite" = trixie ] || { packages=swiftlang,g++,git,ca-certificates,zlib1g-dev debian=6.2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mlxforge
folder=$cache/swift-$suite-$(uname -m)

die() {
    echo "no Swift: $*" >&2
    exit 69 # EX_UNAVAILABLE
}

# OpenStack's client is called swift, too.
native() { swift --version 2>/dev/null | grep -q 'Swift version'; }

# Why Debian's cannot be had here; nothing when it can.
obstacle() {
    [ "$(uname)" = Linux ] || { echo "install Xcode or a toolchain of swift.org"; return; }
    [ "$(id -u)" = 0 ] || { echo "install one, or run as root to have Debian's fetched"; return; }
    unshare --mount true 2>/dev/null || { echo "install one (no right to mount here)"; return; }
    [ -d "$folder" ] && return
    command -v debootstrap apt-get >/dev/null || { echo "install one, or debootstrap"; return; }
    command -v wget >/dev/null || echo "install one, or wget, by which Debian's is fetched"
}

# debootstrap of the system, or its package unpacked beside the cache.
debootstrap_command() {
    command -v debootstrap && return
    (cd "$1" && { apt-get -qq download debootstrap 2>/dev/null ||
        { apt-get -qq update && apt-get -qq download debootstrap; }; } >&2)
    dpkg-deb -x "$1"/debootstrap_*.deb "$1/tool"
    echo "$1/tool/usr/sbin/debootstrap"
}

fetch() {
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    [ -d "$folder" ] && return
    # What failed just now is not tried again by the next who asks.
    [ -z "$(find "$folder.unavailable" -mmin -30 2>/dev/null)" ] || die "it could not be fetched"
    touch "$folder.unavailable"
    echo "==> fetching Swift of Debian $suite into $folder" >&2
    work=$(mktemp -d "$cache/fetching.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    tool=$(debootstrap_command "$work") || die "debootstrap could not be fetched"
    [ -d "$work/tool" ] && export DEBOOTSTRAP_DIR=$work/tool/usr/share/debootstrap
    timeout 420 "$tool" --variant=minbase --force-check-gpg --include="$packages" "$suite" \
        "$work/root" http://deb.debian.org/debian >"$work/log" 2>&1 ||
        { tail -n 5 "$work/log" >&2; die "debootstrap failed"; }
    rm -f "$work"/root/var/cache/apt/archives/*.deb
    mv "$work/root" "$folder"
    rm -f "$folder.unavailable"
    rm -rf "$work"
    trap - EXIT
    exec 9>&-
}

ensure() {
    native && return
    why=$(obstacle)
    [ -z "$why" ] || die "$why"
    [ -d "$folder" ] || fetch
}

version() {
    native && { swift --version 2>/dev/null | grep -o 'Swift version [0-9.]*'; return; }
    why=$(obstacle)
    [ -z "$why" ] || die "$why"
    echo "Swift version $debian of Debian $suite"
}

# pkg-config's file of the libmlxforge that the checkout's Python has.
find_library() {
    local command
    command=$(dirname "${MLXFORGE_PYTHON:-$checkout/.venv/bin/python}")/mlxforge
    [ -n "${PKG_CONFIG_PATH:-}" ] || [ ! -x "$command" ] ||
        PKG_CONFIG_PATH=$(dirname "$("$command" config --library)")/pkgconfig
    export PKG_CONFIG_PATH=${PKG_CONFIG_PATH:-}
}

swift_here() {
    find_library
    native && exec swift "$@"
    # The names of what is mounted: the checkout, and the library when it is elsewhere.
    local library=${PKG_CONFIG_PATH%/lib/pkgconfig}
    [ -d "$library" ] || library=$checkout
    exec unshare --mount bash -euc '
        root=$1 library=$2 checkout=$3 at=$PWD
        shift 3
        mount --bind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        for path in "$checkout" "$library"; do
            mkdir -p "$root$path"
            mount --rbind "$path" "$root$path"
        done
        exec chroot "$root" env -u LD_LIBRARY_PATH HOME=/root PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
            bash -c '\''cd "$0" && exec swift "$@"'\'' "$at" "$@"
    ' bash "$folder" "$library" "$checkout" "$@"
}

run() {
    local library=$1 program=$2
    shift 2
    if native; then
        export LD_LIBRARY_PATH=$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
        export DYLD_LIBRARY_PATH=$library${DYLD_LIBRARY_PATH:+:$DYLD_LIBRARY_PATH}
        exec "$program" "$@"
    fi
    local system=$folder/usr/lib/$(uname -m)-linux-gnu
    exec "$system"/ld-linux-*.so.* --argv0 "$program" \
        --library-path "$library:$folder/usr/libexec/swift/lib/swift/linux:$system" "$program" "$@"
}

case ${1:-} in
swift) ensure; swift_here "${@:2}" ;;
run) ensure; run "${@:2}" ;;
version) version ;;
*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 64 ;;
esac
