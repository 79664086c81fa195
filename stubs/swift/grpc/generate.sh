#!/usr/bin/env bash
# Generates Sources/MLXForgeGRPC/Generated with the official plugins, which stand on PATH:
# protoc-gen-swift (swift-protobuf) and protoc-gen-grpc-swift-2 (grpc-swift-protobuf).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
checkout=$(cd ../../.. && pwd)
python=${MLXFORGE_PYTHON:-$checkout/.venv/bin/python}
output=Sources/MLXForgeGRPC/Generated

rm -rf "$output" && mkdir -p "$output"
"$python" -m grpc_tools.protoc -I"$checkout/proto" \
    --swift_out="$output" --swift_opt=FileNaming=DropPath \
    --grpc-swift-2_out="$output" --grpc-swift-2_opt=FileNaming=DropPath,Server=false \
    "$checkout"/proto/mlxforge/v1/*.proto
