// The Swift runner of tests/conformance over gRPC: `grpc ADDRESS`.

import Foundation
import MLXForgeGRPC

let arguments = CommandLine.arguments
guard arguments.count == 3, arguments[1] == "grpc" else {
    FileHandle.standardError.write(Data("usage: mlxforge-conformance-grpc grpc ADDRESS\n".utf8))
    exit(2)
}
let client = try await MLXForgeGRPC.connect(arguments[2])
say("ready")
try await serve(client)
