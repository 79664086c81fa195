import Foundation

/// A type that says its JSON Schema itself: for what cannot be found out from how it decodes
/// itself, as a pattern, a range, or an enum with associated values.
public protocol JSONSchemaProviding {
    /// JSON Schema (Draft 2020-12) as JSON text. The order of properties is kept.
    static var jsonSchema: String { get }
}

/// JSON Schemas of `Decodable` types.
public enum JSONSchema {
    /// The type's schema as JSON text: what it says itself (``JSONSchemaProviding``), else what
    /// decoding a value of it asks for. Known are structs, `String`, `Bool`, numbers, `URL`,
    /// `UUID`, optionals, arrays, dictionaries with strings as keys, and enums with raw values
    /// that are `CaseIterable`. Throws ``MLXForgeError/invalidArgument(_:)`` for any other.
    public static func text(of type: any Decodable.Type) throws(MLXForgeError) -> String {
        do {
            return try Probe.schema(of: type, depth: 0).text
        } catch {
            let why = "\(type) has no JSON Schema by itself (\(error)); make it JSONSchemaProviding"
            throw .invalidArgument(.init(message: why))
        }
    }
}

/// A schema, as far as types can say it.
indirect enum SchemaNode {
    case plain(String)
    case text(String)
    case choice([JSONValue])
    case array(SchemaNode)
    case dictionary(SchemaNode)
    case object([(name: String, schema: SchemaNode, required: Bool)])
    case nullable(SchemaNode)

    var text: String {
        switch self {
        case .plain(let type): return #"{"type":"\#(type)"}"#
        case .text(let text): return text
        case .choice(let values): return #"{"enum":\#(json(values))}"#
        case .array(let element): return #"{"type":"array","items":\#(element.text)}"#
        case .dictionary(let value):
            return #"{"type":"object","additionalProperties":\#(value.text)}"#
        case .nullable(let schema): return #"{"anyOf":[\#(schema.text),{"type":"null"}]}"#
        case .object(let properties):
            let members = properties.map { "\(json($0.name)):\($0.schema.text)" }
            let required = properties.filter(\.required).map(\.name)
            return #"{"type":"object","properties":{\#(members.joined(separator: ","))},"#
                + #""required":\#(json(required)),"additionalProperties":false}"#
        }
    }
}

private func json(_ value: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    // Strings, and arrays of strings and numbers, can always be encoded.
    return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "null"
}
