import Foundation

// 32-bit integers are numbers, 64-bit ones strings; both are read in either form.

extension FixedWidthInteger where Self: Codable & Sendable {
    package static var zero: Self { 0 }
    package var isZero: Bool { self == 0 }

    /// From a number without fraction, or a string of one.
    static func number(from decoder: any Decoder) throws -> Self {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Self.self) { return number }
        if let text = try? container.decode(String.self) {
            if let number = Self(text) { return number }
            if let number = Double(text).flatMap(Self.init(exactly:)) { return number }
        } else if let number = Self(exactly: try container.decode(Double.self)) {
            return number
        }
        throw invalid(decoder, "not a number of \(Self.bitWidth) bits, or out of its range")
    }
}

package protocol IntegerForm: ImplicitForm, KeyForm, FixedWidthInteger, Codable, Sendable {}

extension IntegerForm {
    package init?(key: String) {
        self.init(key)
    }

    package var key: String { String(self) }

    package static func read(from decoder: any Decoder) throws -> Self? {
        try number(from: decoder)
    }

    package func write(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if Self.bitWidth == 64 {
            try container.encode(String(self))
        } else {
            try container.encode(self)
        }
    }

    package static func readList(
        _ fields: KeyedDecodingContainer<FieldName>, _ name: FieldName
    ) throws -> [Self] {
        if let numbers = try? fields.decode([Self].self, forKey: name) { return numbers }
        return try fields.decode([Coded<Self>].self, forKey: name).compactMap(\.value)
    }
}

extension Int32: IntegerForm {}
extension UInt32: IntegerForm {}
extension Int64: IntegerForm {}
extension UInt64: IntegerForm {}

/// Numbers; what JSON has no number for is `"NaN"`, `"Infinity"`, `"-Infinity"`.
package protocol FloatForm: ImplicitForm, BinaryFloatingPoint, LosslessStringConvertible, Codable {}

extension FloatForm {
    package static var zero: Self { 0 }
    /// Not -0, which is a value of its own.
    package var isZero: Bool { self == 0 && sign == .plus }

    package static func read(from decoder: any Decoder) throws -> Self? {
        let container = try decoder.singleValueContainer()
        guard let text = try? container.decode(String.self) else {
            return try container.decode(Self.self)
        }
        switch text {
        case "NaN": return .nan
        case "Infinity": return .infinity
        case "-Infinity": return -.infinity
        default:
            guard let number = Self(text), number.isFinite else {
                throw invalid(decoder, "not a number, or out of its range")
            }
            return number
        }
    }

    package func write(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if isFinite {
            try container.encode(self)
        } else if isNaN {
            try container.encode("NaN")
        } else {
            try container.encode(self > 0 ? "Infinity" : "-Infinity")
        }
    }

    package static func readList(
        _ fields: KeyedDecodingContainer<FieldName>, _ name: FieldName
    ) throws -> [Self] {
        if let numbers = try? fields.decode([Self].self, forKey: name) { return numbers }
        return try fields.decode([Coded<Self>].self, forKey: name).compactMap(\.value)
    }
}

extension Float: FloatForm {}
extension Double: FloatForm {}

extension Bool: ImplicitForm, KeyForm {
    package static var zero: Bool { false }
    package var isZero: Bool { !self }

    package init?(key: String) {
        self.init(key)
    }

    package var key: String { String(self) }

    package static func read(from decoder: any Decoder) throws -> Bool? {
        try decoder.singleValueContainer().decode(Bool.self)
    }

    package func write(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(self)
    }
}

extension String: ImplicitForm, KeyForm {
    package static var zero: String { "" }
    package var isZero: Bool { isEmpty }

    package init?(key: String) {
        self = key
    }

    package var key: String { self }

    package static func read(from decoder: any Decoder) throws -> String? {
        try decoder.singleValueContainer().decode(String.self)
    }

    package func write(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(self)
    }
}

/// Base64; both alphabets are read, padded or not.
extension Data: ImplicitForm {
    package static var zero: Data { Data() }
    package var isZero: Bool { isEmpty }

    package static func read(from decoder: any Decoder) throws -> Data? {
        var text = try decoder.singleValueContainer().decode(String.self)
        text = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(
            of: "_", with: "/")
        while text.utf8.count % 4 != 0 { text += "=" }
        guard let data = Data(base64Encoded: text) else { throw invalid(decoder, "not Base64") }
        return data
    }

    package func write(to encoder: any Encoder) throws {
        try base64EncodedString().write(to: encoder)
    }
}
