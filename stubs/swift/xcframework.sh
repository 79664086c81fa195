#!/usr/bin/env bash
# Makes MLXForgeC.xcframework, on macOS, from a built libmlxforge: for applications that Xcode
# builds, which do not ask pkg-config.
#
#   xcframework.sh [LIBRARY [OUTPUT]]     default: what `mlxforge config` names, ./
#
# The library still needs its Python: ship a bundle (`make bundle`) beside it, or set
# MLXFORGE_PYTHON. See docs/in-process.md for signing.
set -euo pipefail

[ "$(uname)" = Darwin ] || { echo "xcodebuild is macOS's: run this on a Mac" >&2; exit 69; }
library=${1:-$(mlxforge config --library)}
output=${2:-.}/MLXForgeC.xcframework
header=$(dirname "$library")/../include/mlxforge.h
[ -f "$header" ] || header=$(dirname "${BASH_SOURCE[0]}")/../../capi/include/mlxforge.h

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/include"
cp "$header" "$work/include/"
cat >"$work/include/module.modulemap" <<'MAP'
module CMLXForge {
    header "mlxforge.h"
    export *
}
MAP
cp "$library" "$work/libmlxforge.dylib"
install_name_tool -id @rpath/libmlxforge.dylib "$work/libmlxforge.dylib"
codesign --force --sign - "$work/libmlxforge.dylib" # changed, so signed anew; yours replaces it
rm -rf "$output"
xcodebuild -create-xcframework -library "$work/libmlxforge.dylib" -headers "$work/include" \
    -output "$output"
