#!/usr/bin/env bash
# Builds the package and runs its tests, on the real engine and on one that fails on purpose.
# SANITIZE=thread: with the thread sanitizer. Arguments go to the tests (--filter NAME).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
checkout=$(cd ../.. && pwd)
capi=${MLXFORGE_BUILD:-$checkout/build/capi}
export MLXFORGE_PYTHON=${MLXFORGE_PYTHON:-$checkout/.venv/bin/python}

scratch=$checkout/build/swift
options=(--jobs 2)
if [ -n "${SANITIZE:-}" ]; then
    scratch=$checkout/build/swift-$SANITIZE
    options+=("--sanitize=$SANITIZE")
    # Reports fail the run; what is not compiled with the sanitizer, it does not know.
    export TSAN_OPTIONS="exitcode=66 ignore_noninstrumented_modules=1"
fi
suffix=so && [ "$(uname)" = Darwin ] && suffix=dylib
library=$scratch/lib/libmlxforge.$suffix
mkdir -p "$scratch/lib"
options+=(--scratch-path "$scratch" -Xlinker -rpath -Xlinker "$scratch/lib")

./toolchain.sh swift build --build-tests "${options[@]}" -Xswiftc -warnings-as-errors

run_tests() {
    ln -sf "$1" "$library"
    if [ "$(uname)" = Darwin ]; then
        ./toolchain.sh swift test --skip-build "${options[@]}" "${@:2}"
    else
        timeout 900 ./toolchain.sh run "$scratch/lib" "$scratch/debug/mlxforgePackageTests.xctest" \
            --testing-library swift-testing "${@:2}"
    fi
}

MLXFORGE_TEST_ENGINE=default \
    run_tests "$("$(dirname "$MLXFORGE_PYTHON")/mlxforge" config --library)" "$@"
MLXFORGE_TEST_ENGINE=scripted MLXFORGE_EMBEDDED_MODULE=$checkout/tests/conformance/scripted_engine \
    run_tests "$capi/libmlxforge_testing.$suffix" "$@"
