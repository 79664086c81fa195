import Foundation
import Testing

@testable import MLXForgeClient

struct ClientTests {
    struct Everything: Decodable {
        enum Size: String, Decodable, CaseIterable { case small, large }
        enum Level: Int, Decodable, CaseIterable {
            case low = 1
            case high = 5
        }
        struct Part: Decodable {
            let name: String
        }
        let zeta: String
        let count: Int
        let ratio: Double?
        let sizes: [Size]
        let level: Level
        let parts: [String: Part]
        let gaps: [Int?]
        let page: URL
    }

    @Test func schemasAreFoundOut() throws {
        let text = try JSONSchema.text(of: Everything.self)
        #expect(
            text == #"{"type":"object","properties":{"zeta":{"type":"string"},"#
                + #""count":{"type":"integer"},"ratio":{"type":"number"},"#
                + #""sizes":{"type":"array","items":{"enum":["small","large"]}},"#
                + #""level":{"enum":[1,5]},"parts":{"type":"object","additionalProperties":"#
                + #"{"type":"object","properties":{"name":{"type":"string"}},"#
                + #""required":["name"],"additionalProperties":false}},"#
                + #""gaps":{"type":"array","items":{"anyOf":[{"type":"integer"},{"type":"null"}]}},"#
                + #""page":{"type":"string"}},"#
                + #""required":["zeta","count","sizes","level","parts","gaps","page"],"#
                + #""additionalProperties":false}"#)
        #expect(
            try JSONSchema.text(of: [Bool].self) == #"{"type":"array","items":{"type":"boolean"}}"#)
    }

    struct Bounded: Decodable, JSONSchemaProviding {
        static let jsonSchema = #"{"type":"integer","minimum":3}"#
        let value: Int

        init(from decoder: any Decoder) throws {
            value = try decoder.singleValueContainer().decode(Int.self)
        }
    }

    enum Shape: Decodable {
        case circle(radius: Double)
    }

    final class Node: Decodable {
        let next: [Node]
    }

    @Test func schemasThatATypeSaysOrCannotSay() throws {
        let list = try JSONSchema.text(of: [Bounded].self)
        #expect(list == #"{"type":"array","items":{"type":"integer","minimum":3}}"#)
        for type in [Shape.self, Node.self, Date.self] as [any Decodable.Type] {
            #expect(throws: MLXForgeError.self) { try JSONSchema.text(of: type) }
        }
    }

    @Test func aDamagedStatusSaysWhatItCan() {
        for size in 0..<40 {
            let bytes = Data((0..<size).map { UInt8(($0 * 37 + size) % 256) })
            let error = MLXForgeError(status: bytes, code: .internal, message: "it broke")
            #expect(error.message == "it broke")
            #expect(error.code == .internal)
        }
        let huge = Data([0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])
        #expect(MLXForgeError(status: huge, code: .other, message: "").violations.isEmpty)
    }

    @Test func enumsKeepWhatTheyDoNotKnow() throws {
        let newer = Data(#"{"finishReason": 77, "somethingNew": {"a": [1]}}"#.utf8)
        let choice = try JSONDecoder().decode(GenerateChoice.self, from: newer)
        #expect(choice.finishReason == .unrecognized(77))
        #expect(FinishReason(name: "FINISH_REASON_TOOL_CALLS") == .toolCalls)
        #expect(FinishReason.toolCalls.name == "FINISH_REASON_TOOL_CALLS")
        #expect(try JSONEncoder().encode(choice) == Data(#"{"finishReason":77}"#.utf8))
    }

    @Test func aTextIsAUsersMessage() {
        let request: GenerateRequest = "Hello"
        #expect(request == GenerateRequest(messages: [Message(role: "user", content: "Hello")]))
    }
}

extension StatusCode {
    fileprivate static var other: StatusCode { .dataLoss }
}
