// Finds the lines of standard input that are nearest in meaning. `search QUERY`

import MLXForge

guard let query = CommandLine.arguments.dropFirst().first else { fatalError("search QUERY") }
var lines: [String] = []
while let line = readLine() { lines.append(line) }

let client = try await MLXForge.embed()
let vectors = try await client.embed([query] + lines)
// Vectors have length 1, so that their inner product is the cosine of their angle.
let scores = vectors.dropFirst().map { zip($0, vectors[0]).map(*).reduce(0, +) }
for (score, line) in zip(scores, lines).sorted(by: { $0.0 > $1.0 }).prefix(3) {
    print(Int((score * 100).rounded()), line)
}
