/// A message of the schema. Its `Codable` form is protobuf's JSON form: `JSONEncoder` and
/// `JSONDecoder` as they come read and write what every other protobuf library does. Fields that
/// are not known are passed over.
public protocol SchemaMessage: Codable, Hashable, Sendable {}

/// An enum of the schema, which keeps values of a newer schema by their number.
public protocol SchemaEnum: Codable, Hashable, Sendable, CaseIterable where AllCases == [Self] {
    /// The value of a number.
    init(number: Int32)
    /// The value's number in the schema.
    var number: Int32 { get }
    /// The schema's names of `allCases`, in their order.
    static var names: [String] { get }
}

extension SchemaEnum {
    /// The value of the schema's name, as `FINISH_REASON_STOP`; `nil` when there is none.
    public init?(name: String) {
        guard let index = Self.names.firstIndex(of: name) else { return nil }
        self = Self.allCases[index]
    }

    /// The schema's name; `nil` for a value of a newer schema.
    public var name: String? {
        Self.allCases.firstIndex(of: self).map { Self.names[$0] }
    }

    public init(from decoder: any Decoder) throws {
        self = try Self.read(from: decoder) ?? Self(number: 0)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let name {
            try container.encode(name)
        } else {
            try container.encode(number)
        }
    }

    /// By name or number; `nil` for a name of a newer schema, which the field then passes over.
    package static func read(from decoder: any Decoder) throws -> Self? {
        let container = try decoder.singleValueContainer()
        if let name = try? container.decode(String.self) { return Self(name: name) }
        return Self(number: try Int32.number(from: decoder))
    }
}

/// A method of a service: its full name and the types of its messages.
public struct Method<Request: SchemaMessage, Response: SchemaMessage>: Sendable {
    /// As `mlxforge.v1.GenerationService/Generate`.
    public let name: String

    /// A method that this client may not know yet.
    public init(_ name: String) {
        self.name = name
    }
}
