/// Any JSON value: `google.protobuf.Value`.
public enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)
}

/// A JSON object: `google.protobuf.Struct`.
public typealias JSONObject = [String: JSONValue]

extension JSONValue: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode(JSONObject.self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }
}

extension JSONValue: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByStringLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(nilLiteral: ()) { self = .null }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int) { self = .number(Double(value)) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(stringLiteral value: String) { self = .string(value) }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(JSONObject(elements) { $1 })
    }
}

extension JSONValue: JSONForm {
    package static var takesNull: Bool { true }

    package static func read(from decoder: any Decoder) throws -> JSONValue? {
        try JSONValue(from: decoder)
    }

    package func write(to encoder: any Encoder) throws {
        try encode(to: encoder)
    }
}

extension Dictionary: JSONForm where Key == String, Value == JSONValue {
    package static func read(from decoder: any Decoder) throws -> JSONObject? {
        try JSONObject(from: decoder)
    }

    package func write(to encoder: any Encoder) throws {
        try encode(to: encoder)
    }
}

extension Array: JSONForm where Element == JSONValue {
    package static func read(from decoder: any Decoder) throws -> [JSONValue]? {
        try [JSONValue](from: decoder)
    }

    package func write(to encoder: any Encoder) throws {
        try encode(to: encoder)
    }
}
