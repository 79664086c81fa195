#!/usr/bin/env bash
# Builds MLXForgeGRPC and runs its tests against the real server. Its dependencies come from
# GitHub. Arguments go to the tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
checkout=$(cd ../../.. && pwd)
export MLXFORGE_PYTHON=${MLXFORGE_PYTHON:-$checkout/.venv/bin/python}
export MLXFORGE_BIN=${MLXFORGE_BIN:-$(dirname "$MLXFORGE_PYTHON")/mlxforge}
export MLXFORGE_SWIFT_SUITE=${MLXFORGE_SWIFT_SUITE:-sid}
options=(--jobs 2 --scratch-path "$checkout/build/swift-grpc")
# Debian's Swift has Testing without its overlay for Foundation.
[ "$(uname)" = Darwin ] ||
    options+=(-Xswiftc -Xfrontend -Xswiftc -disable-cross-import-overlays)

../toolchain.sh swift build --build-tests "${options[@]}"
if [ "$(uname)" = Darwin ]; then
    exec ../toolchain.sh swift test --skip-build "${options[@]}" "$@"
fi
exec ../toolchain.sh run "$PWD" "$checkout/build/swift-grpc/debug/mlxforge-grpcPackageTests.xctest" \
    --testing-library swift-testing "$@"
