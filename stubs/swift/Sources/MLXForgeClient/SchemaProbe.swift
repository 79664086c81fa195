import Foundation

/// Finds out what a type's `init(from:)` asks for, by answering with something of each kind.
enum Probe {
    struct Unknown: Error, CustomStringConvertible {
        let description: String
    }

    /// Deeper types are taken to contain themselves.
    static let maxDepth = 32

    static func schema(of type: any Decodable.Type, depth: Int) throws -> SchemaNode {
        try value(of: type, depth: depth).0
    }

    static func value<Value: Decodable>(
        of type: Value.Type, depth: Int
    ) throws -> (SchemaNode, Value) {
        guard depth < maxDepth else { throw Unknown(description: "it contains itself") }
        if let known = type as? any Probed.Type, let found = try known.probe(depth) as? Found<Value>
        {
            return (found.schema, found.value)
        }
        if let cases = type as? any CaseIterable.Type, let found: Found<Value> = enumeration(cases)
        {
            return (found.schema, found.value)
        }
        let decoder = ProbeDecoder(depth: depth)
        let value = try Value(from: decoder)
        let schema = (type as? any JSONSchemaProviding.Type).map { SchemaNode.text($0.jsonSchema) }
        return (try schema ?? decoder.found.schema(), value)
    }

    private static func enumeration<Cases: CaseIterable, Value>(
        _ type: Cases.Type
    ) -> Found<Value>? {
        let raw = type.allCases.compactMap { ($0 as? any RawRepresentable)?.rawValue as Any? }
        let values: [JSONValue] = raw.compactMap {
            switch $0 {
            case let text as String: .string(text)
            case let number as Int: .number(Double(number))
            default: nil
            }
        }
        guard values.count == type.allCases.count, let first = type.allCases.first as? Value else {
            return nil
        }
        return Found(schema: .choice(values), value: first)
    }
}

struct Found<Value> {
    let schema: SchemaNode
    let value: Value
}

/// A type whose schema is known.
private protocol Probed {
    static func probe(_ depth: Int) throws -> Any
}

extension Array: Probed where Element: Decodable {
    fileprivate static func probe(_ depth: Int) throws -> Any {
        let (element, value) = try Probe.value(of: Element.self, depth: depth + 1)
        return Found(schema: .array(element), value: [value])
    }
}

extension Dictionary: Probed where Key == String, Value: Decodable {
    fileprivate static func probe(_ depth: Int) throws -> Any {
        let (element, _) = try Probe.value(of: Value.self, depth: depth + 1)
        return Found(schema: .dictionary(element), value: [String: Value]())
    }
}

extension Optional: Probed where Wrapped: Decodable {
    fileprivate static func probe(_ depth: Int) throws -> Any {
        let (wrapped, _) = try Probe.value(of: Wrapped.self, depth: depth + 1)
        return Found<Wrapped?>(schema: .nullable(wrapped), value: nil)
    }
}

extension URL: Probed {
    fileprivate static func probe(_ depth: Int) throws -> Any {
        Found(schema: .plain("string"), value: URL(fileURLWithPath: "/"))
    }
}

extension UUID: Probed {
    fileprivate static func probe(_ depth: Int) throws -> Any {
        Found(schema: .text(#"{"type":"string","format":"uuid"}"#), value: UUID())
    }
}

extension Date: Probed {
    fileprivate static func probe(_ depth: Int) throws -> Any {
        throw Probe.Unknown(description: "a Date has no one form in JSON")
    }
}

/// What was asked of a decoder.
private final class Record {
    var properties: [(name: String, schema: SchemaNode, required: Bool)]?
    var optional: Set<String> = []
    var single: SchemaNode?

    func schema() throws -> SchemaNode {
        if let single { return single }
        if let properties { return .object(properties) }
        throw Probe.Unknown(description: "it decodes nothing")
    }
}

private struct ProbeDecoder: Decoder {
    let depth: Int
    let found = Record()
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        found.properties = found.properties ?? []
        return KeyedDecodingContainer(ProbeKeyed(depth: depth, found: found))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        throw Probe.Unknown(description: "it decodes a list of its own")
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer {
        ProbeSingle(depth: depth, found: found)
    }
}

private struct ProbeKeyed<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let depth: Int
    let found: Record
    var codingPath: [any CodingKey] { [] }
    var allKeys: [Key] { [] }

    /// Asked before a property is decoded that may be missing, and only then.
    func contains(_ key: Key) -> Bool {
        found.optional.insert(key.stringValue)
        return true
    }

    func decodeNil(forKey key: Key) throws -> Bool { false }

    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        let (schema, value) = try Probe.value(of: type, depth: depth + 1)
        let required = !found.optional.contains(key.stringValue)
        found.properties?.append((key.stringValue, schema, required))
        return value
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> {
        throw Probe.Unknown(description: "it decodes nested containers")
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        throw Probe.Unknown(description: "it decodes nested containers")
    }

    func superDecoder() throws -> any Decoder {
        throw Probe.Unknown(description: "it decodes a superclass")
    }

    func superDecoder(forKey key: Key) throws -> any Decoder {
        try superDecoder()
    }
}

private struct ProbeSingle: SingleValueDecodingContainer {
    let depth: Int
    let found: Record
    var codingPath: [any CodingKey] { [] }

    func decodeNil() -> Bool { false }

    func decode(_ type: Bool.Type) throws -> Bool { record("boolean", true) }
    func decode(_ type: String.Type) throws -> String { record("string", "") }
    func decode(_ type: Double.Type) throws -> Double { record("number", 0) }
    func decode(_ type: Float.Type) throws -> Float { record("number", 0) }
    func decode(_ type: Int.Type) throws -> Int { record("integer", 0) }
    func decode(_ type: Int8.Type) throws -> Int8 { record("integer", 0) }
    func decode(_ type: Int16.Type) throws -> Int16 { record("integer", 0) }
    func decode(_ type: Int32.Type) throws -> Int32 { record("integer", 0) }
    func decode(_ type: Int64.Type) throws -> Int64 { record("integer", 0) }
    func decode(_ type: UInt.Type) throws -> UInt { record("integer", 0) }
    func decode(_ type: UInt8.Type) throws -> UInt8 { record("integer", 0) }
    func decode(_ type: UInt16.Type) throws -> UInt16 { record("integer", 0) }
    func decode(_ type: UInt32.Type) throws -> UInt32 { record("integer", 0) }
    func decode(_ type: UInt64.Type) throws -> UInt64 { record("integer", 0) }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        let (schema, value) = try Probe.value(of: type, depth: depth + 1)
        found.single = schema
        return value
    }

    private func record<Value>(_ type: String, _ value: Value) -> Value {
        found.single = .plain(type)
        return value
    }
}
