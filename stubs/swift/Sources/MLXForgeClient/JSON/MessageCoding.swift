/// Reads a message's fields, each under its JSON name or the schema's own.
package struct MessageReader {
    private let fields: KeyedDecodingContainer<FieldName>

    package init(_ decoder: any Decoder) throws {
        fields = try decoder.container(keyedBy: FieldName.self)
    }

    /// A field with presence.
    package func optional<Value: JSONForm>(_ names: String...) throws -> Value? {
        guard let name = try present(names, takesNull: Value.takesNull) else { return nil }
        return try fields.decode(Coded<Value>.self, forKey: name).value
    }

    /// A field without presence.
    package func implicit<Value: ImplicitForm>(_ names: String...) throws -> Value {
        guard let name = try present(names) else { return Value.zero }
        return try fields.decode(Coded<Value>.self, forKey: name).value ?? Value.zero
    }

    /// A repeated field.
    package func repeated<Value: JSONForm>(_ names: String...) throws -> [Value] {
        guard let name = try present(names) else { return [] }
        return try Value.readList(fields, name)
    }

    /// A map.
    package func map<Key: KeyForm, Value: JSONForm>(_ names: String...) throws -> [Key: Value] {
        guard let name = try present(names) else { return [:] }
        let entries = try fields.nestedContainer(keyedBy: FieldName.self, forKey: name)
        var map: [Key: Value] = [:]
        for entry in entries.allKeys {
            guard let key = Key(key: entry.stringValue) else {
                throw DecodingError.dataCorruptedError(
                    forKey: entry, in: entries, debugDescription: "not a key of this map")
            }
            map[key] = try entries.decode(Coded<Value>.self, forKey: entry).value
        }
        return map
    }

    private func present(_ names: [String], takesNull: Bool = false) throws -> FieldName? {
        for name in names.lazy.map(FieldName.init(stringValue:)) where fields.contains(name) {
            return try !takesNull && fields.decodeNil(forKey: name) ? nil : name
        }
        return nil
    }
}

/// Collects the one member of a oneof.
package struct OneOf<Value> {
    private let name: String
    package private(set) var value: Value?

    package init(_ name: String) {
        self.name = name
    }

    package mutating func set(_ new: Value?) throws {
        guard let new else { return }
        guard value == nil else {
            let what = "more than one of \(name) is set"
            throw DecodingError.dataCorrupted(.init(codingPath: [], debugDescription: what))
        }
        value = new
    }
}

/// Writes a message's fields, those that are set.
package struct MessageWriter {
    private var fields: KeyedEncodingContainer<FieldName>

    package init(_ encoder: any Encoder) {
        fields = encoder.container(keyedBy: FieldName.self)
    }

    /// A field with presence.
    package mutating func optional<Value: JSONForm>(_ name: String, _ value: Value?) throws {
        guard let value else { return }
        try fields.encode(Coded(value), forKey: FieldName(stringValue: name))
    }

    /// A field without presence.
    package mutating func implicit<Value: ImplicitForm>(_ name: String, _ value: Value) throws {
        try optional(name, value.isZero ? nil : value)
    }

    /// A repeated field.
    package mutating func repeated<Value: JSONForm>(_ name: String, _ values: [Value]) throws {
        guard !values.isEmpty else { return }
        try fields.encode(values.map { Coded($0) }, forKey: FieldName(stringValue: name))
    }

    /// A map.
    package mutating func map<Key: KeyForm, Value: JSONForm>(
        _ name: String, _ map: [Key: Value]
    ) throws {
        guard !map.isEmpty else { return }
        var entries = fields.nestedContainer(
            keyedBy: FieldName.self, forKey: FieldName(stringValue: name))
        for (key, value) in map {
            try entries.encode(Coded(value), forKey: FieldName(stringValue: key.key))
        }
    }
}
