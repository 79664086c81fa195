// Talks with a model inside this process; what it says is written as it comes. `chat [MODEL]`

import Foundation
import MLXForge

let client = try await MLXForge.embed(.init(model: CommandLine.arguments.dropFirst().first))
var messages: [Message] = []
while let line = readLine() {
    messages.append(.user(line))
    var request = GenerateRequest(messages: messages)
    request.maxTokens = 256
    request.samplingParams = SamplingParams(temperature: 0)
    var answer = ""
    for try await piece in client.stream(request).text {
        FileHandle.standardOutput.write(Data(piece.utf8))
        answer += piece
    }
    print()
    messages.append(.assistant(answer))
}
