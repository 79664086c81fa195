// Reads messages as `TYPE JSON`, a line each, and writes what the Swift types make of them:
// `ok JSON` or `error WHY`. tests/conformance/test_swift_json.py compares that with Python's.

import Foundation
import MLXForgeClient

let types: [String: any SchemaMessage.Type] = [
    "DetokenizeRequest": DetokenizeRequest.self, "DetokenizeResponse": DetokenizeResponse.self,
    "EmbedRequest": EmbedRequest.self, "EmbedResponse": EmbedResponse.self,
    "EveryKind": EveryKind.self,
    "GenerateRequest": GenerateRequest.self, "GenerateResponse": GenerateResponse.self,
    "GetModelRequest": GetModelRequest.self, "GetModelResponse": GetModelResponse.self,
    "ListModelsRequest": ListModelsRequest.self, "ListModelsResponse": ListModelsResponse.self,
    "LoadModelRequest": LoadModelRequest.self, "LoadModelResponse": LoadModelResponse.self,
    "StreamEmbedResponse": StreamEmbedResponse.self,
    "StreamGenerateResponse": StreamGenerateResponse.self,
    "TokenizeRequest": TokenizeRequest.self, "TokenizeResponse": TokenizeResponse.self,
    "UnloadModelRequest": UnloadModelRequest.self,
    "UnloadModelResponse": UnloadModelResponse.self,
]

func again<Message: SchemaMessage>(_ type: Message.Type, _ json: Data) throws -> Data {
    let message = try JSONDecoder().decode(type, from: json)
    let written = try JSONEncoder().encode(message)
    // What Swift writes, Swift reads. (NaN is not equal to itself.)
    let same = try JSONDecoder().decode(type, from: written)
    precondition(same == message || String(decoding: written, as: UTF8.self).contains("NaN"))
    return written
}

while let line = readLine() {
    let words = line.split(separator: " ", maxSplits: 1).map(String.init)
    guard words.count == 2, let type = types[words[0]] else { fatalError("not a message: \(line)") }
    do {
        print("ok", String(decoding: try again(type, Data(words[1].utf8)), as: UTF8.self))
    } catch {
        print("error", String(describing: error).replacing("\n", with: " "))
    }
}
