// The Swift runner of tests/conformance: `embedded CONFIG_JSON`.

import Foundation
import MLXForge

let arguments = CommandLine.arguments
guard arguments.count == 3, arguments[1] == "embedded" else {
    FileHandle.standardError.write(Data("usage: mlxforge-conformance embedded CONFIG_JSON\n".utf8))
    exit(2)
}
let settings = try JSONDecoder().decode(JSONObject.self, from: Data(arguments[2].utf8))
let client = try await MLXForge.embed(EmbedOptions(settings: settings))
say("ready")
try await serve(client)
