import Foundation

/// How a value stands in protobuf's JSON form
/// (<https://protobuf.dev/programming-guides/json/>). Every type that a field can have conforms.
package protocol JSONForm {
    /// Whether `null` is a value, and not the absence of one.
    static var takesNull: Bool { get }
    /// `nil`: the field is to be passed over.
    static func read(from decoder: any Decoder) throws -> Self?
    func write(to encoder: any Encoder) throws
    /// The elements of a repeated field.
    static func readList(
        _ fields: KeyedDecodingContainer<FieldName>, _ name: FieldName
    ) throws -> [Self]
}

/// What a field without presence can have: the value that stands for "not set" is not written.
package protocol ImplicitForm: JSONForm {
    static var zero: Self { get }
    var isZero: Bool { get }
}

/// A map's key, written as a string.
package protocol KeyForm: Hashable {
    init?(key: String)
    var key: String { get }
}

extension JSONForm {
    package static var takesNull: Bool { false }

    package static func readList(
        _ fields: KeyedDecodingContainer<FieldName>, _ name: FieldName
    ) throws -> [Self] {
        try fields.decode([Coded<Self>].self, forKey: name).compactMap(\.value)
    }
}

extension JSONForm where Self: SchemaMessage {
    package static func read(from decoder: any Decoder) throws -> Self? {
        try Self(from: decoder)
    }

    package func write(to encoder: any Encoder) throws {
        try encode(to: encoder)
    }
}

extension JSONForm where Self: SchemaEnum {
    package func write(to encoder: any Encoder) throws {
        try encode(to: encoder)
    }
}

extension ImplicitForm where Self: SchemaEnum {
    package static var zero: Self { Self(number: 0) }
    package var isZero: Bool { number == 0 }
}

/// A value by its JSON form, for the standard coders.
struct Coded<Value: JSONForm>: Codable {
    let value: Value?

    init(_ value: Value) {
        self.value = value
    }

    init(from decoder: any Decoder) throws {
        value = try Value.read(from: decoder)
    }

    func encode(to encoder: any Encoder) throws {
        try value?.write(to: encoder)
    }
}

/// Any field's name, as a coding key.
package struct FieldName: CodingKey {
    package let stringValue: String
    package var intValue: Int? { nil }

    package init(stringValue: String) {
        self.stringValue = stringValue
    }

    package init?(intValue: Int) {
        nil
    }
}

func invalid(_ decoder: any Decoder, _ what: String) -> DecodingError {
    .dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: what))
}
