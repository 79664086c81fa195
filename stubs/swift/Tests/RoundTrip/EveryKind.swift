// Generated from every_kind.proto by stubs/swift/generator. DO NOT EDIT!
// swift-format-ignore-file

import Foundation
import MLXForgeClient

/// A message with every kind of field that the generator knows, for its tests.
public struct EveryKind: SchemaMessage {
    /// A colour.
    public enum Colour: SchemaEnum {
        /// None.
        case unspecified
        case deepRed
        case `default`
        /// A value of a newer schema.
        case unrecognized(Int32)

        public init(number: Int32) {
            switch number {
            case 0: self = .unspecified
            case 1: self = .deepRed
            case 7: self = .`default`
            default: self = .unrecognized(number)
            }
        }

        public var number: Int32 {
            switch self {
            case .unspecified: 0
            case .deepRed: 1
            case .`default`: 7
            case .unrecognized(let number): number
            }
        }

        public static let allCases: [EveryKind.Colour] = [
            .unspecified,
            .deepRed,
            .`default`,
        ]

        public static let names: [String] = [
            "COLOUR_UNSPECIFIED",
            "COLOUR_DEEP_RED",
            "COLOUR_DEFAULT",
        ]
    }

    /// A message in a message.
    public struct Inner: SchemaMessage {
        public var name: String
        /// Swift's own words as names.
        public var `default`: Bool
        public var `in`: Bool

        public init(
            name: String = "",
            `default`: Bool = false,
            `in`: Bool = false
        ) {
            self.name = name
            self.`default` = `default`
            self.`in` = `in`
        }

        public init(from decoder: any Decoder) throws {
            let fields = try MessageReader(decoder)
            self.name = try fields.implicit("name")
            self.`default` = try fields.implicit("default")
            self.`in` = try fields.implicit("in")
        }

        public func encode(to encoder: any Encoder) throws {
            var fields = MessageWriter(encoder)
            try fields.implicit("name", self.name)
            try fields.implicit("default", self.`default`)
            try fields.implicit("in", self.`in`)
        }
    }

    public struct Empty: SchemaMessage {

        public init() {}

        public init(from decoder: any Decoder) throws {
            _ = try MessageReader(decoder)
        }

        public func encode(to encoder: any Encoder) throws {
            _ = MessageWriter(encoder)
        }
    }

    public enum Choice: Hashable, Sendable {
        case text(String)
        case number(UInt64)
        case message(EveryKind.Inner)
        case shade(EveryKind.Colour)
        case anything(JSONValue)
        case raw(Data)
    }

    public var aDouble: Double
    public var aFloat: Float
    public var anInt32: Int32
    public var anInt64: Int64
    public var aUint32: UInt32
    public var aUint64: UInt64
    public var aSint32: Int32
    public var aSint64: Int64
    public var aFixed32: UInt32
    public var aFixed64: UInt64
    public var aSfixed32: Int32
    public var aSfixed64: Int64
    public var aBool: Bool
    public var aString: String
    public var someBytes: Data
    public var colour: EveryKind.Colour
    public var inner: EveryKind.Inner?
    public var timestamp: Timestamp?
    public var duration: Duration?
    public var structure: JSONObject?
    public var value: JSONValue?
    public var list: [JSONValue]?
    public var maybeDouble: Double?
    public var maybeInt64: Int64?
    public var maybeBool: Bool?
    public var maybeString: String?
    public var maybeBytes: Data?
    public var maybeColour: EveryKind.Colour?
    public var doubles: [Double]
    public var floats: [Float]
    public var longs: [Int64]
    public var numbers: [UInt32]
    public var bools: [Bool]
    public var strings: [String]
    public var chunks: [Data]
    public var colours: [EveryKind.Colour]
    public var inners: [EveryKind.Inner]
    public var values: [JSONValue]
    public var timestamps: [Timestamp]
    public var byName: [String: String]
    public var byLong: [Int64: EveryKind.Inner]
    public var byNumber: [UInt32: Double]
    public var byBool: [Bool: EveryKind.Colour]
    public var choice: Choice?
    public var empty: EveryKind.Empty?
    public var oddName: String

    public init(
        aDouble: Double = 0,
        aFloat: Float = 0,
        anInt32: Int32 = 0,
        anInt64: Int64 = 0,
        aUint32: UInt32 = 0,
        aUint64: UInt64 = 0,
        aSint32: Int32 = 0,
        aSint64: Int64 = 0,
        aFixed32: UInt32 = 0,
        aFixed64: UInt64 = 0,
        aSfixed32: Int32 = 0,
        aSfixed64: Int64 = 0,
        aBool: Bool = false,
        aString: String = "",
        someBytes: Data = Data(),
        colour: EveryKind.Colour = .init(number: 0),
        inner: EveryKind.Inner? = nil,
        timestamp: Timestamp? = nil,
        duration: Duration? = nil,
        structure: JSONObject? = nil,
        value: JSONValue? = nil,
        list: [JSONValue]? = nil,
        maybeDouble: Double? = nil,
        maybeInt64: Int64? = nil,
        maybeBool: Bool? = nil,
        maybeString: String? = nil,
        maybeBytes: Data? = nil,
        maybeColour: EveryKind.Colour? = nil,
        doubles: [Double] = [],
        floats: [Float] = [],
        longs: [Int64] = [],
        numbers: [UInt32] = [],
        bools: [Bool] = [],
        strings: [String] = [],
        chunks: [Data] = [],
        colours: [EveryKind.Colour] = [],
        inners: [EveryKind.Inner] = [],
        values: [JSONValue] = [],
        timestamps: [Timestamp] = [],
        byName: [String: String] = [:],
        byLong: [Int64: EveryKind.Inner] = [:],
        byNumber: [UInt32: Double] = [:],
        byBool: [Bool: EveryKind.Colour] = [:],
        choice: Choice? = nil,
        empty: EveryKind.Empty? = nil,
        oddName: String = ""
    ) {
        self.aDouble = aDouble
        self.aFloat = aFloat
        self.anInt32 = anInt32
        self.anInt64 = anInt64
        self.aUint32 = aUint32
        self.aUint64 = aUint64
        self.aSint32 = aSint32
        self.aSint64 = aSint64
        self.aFixed32 = aFixed32
        self.aFixed64 = aFixed64
        self.aSfixed32 = aSfixed32
        self.aSfixed64 = aSfixed64
        self.aBool = aBool
        self.aString = aString
        self.someBytes = someBytes
        self.colour = colour
        self.inner = inner
        self.timestamp = timestamp
        self.duration = duration
        self.structure = structure
        self.value = value
        self.list = list
        self.maybeDouble = maybeDouble
        self.maybeInt64 = maybeInt64
        self.maybeBool = maybeBool
        self.maybeString = maybeString
        self.maybeBytes = maybeBytes
        self.maybeColour = maybeColour
        self.doubles = doubles
        self.floats = floats
        self.longs = longs
        self.numbers = numbers
        self.bools = bools
        self.strings = strings
        self.chunks = chunks
        self.colours = colours
        self.inners = inners
        self.values = values
        self.timestamps = timestamps
        self.byName = byName
        self.byLong = byLong
        self.byNumber = byNumber
        self.byBool = byBool
        self.choice = choice
        self.empty = empty
        self.oddName = oddName
    }

    public init(from decoder: any Decoder) throws {
        let fields = try MessageReader(decoder)
        self.aDouble = try fields.implicit("aDouble", "a_double")
        self.aFloat = try fields.implicit("aFloat", "a_float")
        self.anInt32 = try fields.implicit("anInt32", "an_int32")
        self.anInt64 = try fields.implicit("anInt64", "an_int64")
        self.aUint32 = try fields.implicit("aUint32", "a_uint32")
        self.aUint64 = try fields.implicit("aUint64", "a_uint64")
        self.aSint32 = try fields.implicit("aSint32", "a_sint32")
        self.aSint64 = try fields.implicit("aSint64", "a_sint64")
        self.aFixed32 = try fields.implicit("aFixed32", "a_fixed32")
        self.aFixed64 = try fields.implicit("aFixed64", "a_fixed64")
        self.aSfixed32 = try fields.implicit("aSfixed32", "a_sfixed32")
        self.aSfixed64 = try fields.implicit("aSfixed64", "a_sfixed64")
        self.aBool = try fields.implicit("aBool", "a_bool")
        self.aString = try fields.implicit("aString", "a_string")
        self.someBytes = try fields.implicit("someBytes", "some_bytes")
        self.colour = try fields.implicit("colour")
        self.inner = try fields.optional("inner")
        self.timestamp = try fields.optional("timestamp")
        self.duration = try fields.optional("duration")
        self.structure = try fields.optional("structure")
        self.value = try fields.optional("value")
        self.list = try fields.optional("list")
        self.maybeDouble = try fields.optional("maybeDouble", "maybe_double")
        self.maybeInt64 = try fields.optional("maybeInt64", "maybe_int64")
        self.maybeBool = try fields.optional("maybeBool", "maybe_bool")
        self.maybeString = try fields.optional("maybeString", "maybe_string")
        self.maybeBytes = try fields.optional("maybeBytes", "maybe_bytes")
        self.maybeColour = try fields.optional("maybeColour", "maybe_colour")
        self.doubles = try fields.repeated("doubles")
        self.floats = try fields.repeated("floats")
        self.longs = try fields.repeated("longs")
        self.numbers = try fields.repeated("numbers")
        self.bools = try fields.repeated("bools")
        self.strings = try fields.repeated("strings")
        self.chunks = try fields.repeated("chunks")
        self.colours = try fields.repeated("colours")
        self.inners = try fields.repeated("inners")
        self.values = try fields.repeated("values")
        self.timestamps = try fields.repeated("timestamps")
        self.byName = try fields.map("byName", "by_name")
        self.byLong = try fields.map("byLong", "by_long")
        self.byNumber = try fields.map("byNumber", "by_number")
        self.byBool = try fields.map("byBool", "by_bool")
        var choiceField = OneOf<Choice>("choice")
        try choiceField.set(fields.optional("text").map(Choice.text))
        try choiceField.set(fields.optional("number").map(Choice.number))
        try choiceField.set(fields.optional("message").map(Choice.message))
        try choiceField.set(fields.optional("shade").map(Choice.shade))
        try choiceField.set(fields.optional("anything").map(Choice.anything))
        try choiceField.set(fields.optional("raw").map(Choice.raw))
        self.choice = choiceField.value
        self.empty = try fields.optional("empty")
        self.oddName = try fields.implicit("renamed", "odd_Name")
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = MessageWriter(encoder)
        try fields.implicit("aDouble", self.aDouble)
        try fields.implicit("aFloat", self.aFloat)
        try fields.implicit("anInt32", self.anInt32)
        try fields.implicit("anInt64", self.anInt64)
        try fields.implicit("aUint32", self.aUint32)
        try fields.implicit("aUint64", self.aUint64)
        try fields.implicit("aSint32", self.aSint32)
        try fields.implicit("aSint64", self.aSint64)
        try fields.implicit("aFixed32", self.aFixed32)
        try fields.implicit("aFixed64", self.aFixed64)
        try fields.implicit("aSfixed32", self.aSfixed32)
        try fields.implicit("aSfixed64", self.aSfixed64)
        try fields.implicit("aBool", self.aBool)
        try fields.implicit("aString", self.aString)
        try fields.implicit("someBytes", self.someBytes)
        try fields.implicit("colour", self.colour)
        try fields.optional("inner", self.inner)
        try fields.optional("timestamp", self.timestamp)
        try fields.optional("duration", self.duration)
        try fields.optional("structure", self.structure)
        try fields.optional("value", self.value)
        try fields.optional("list", self.list)
        try fields.optional("maybeDouble", self.maybeDouble)
        try fields.optional("maybeInt64", self.maybeInt64)
        try fields.optional("maybeBool", self.maybeBool)
        try fields.optional("maybeString", self.maybeString)
        try fields.optional("maybeBytes", self.maybeBytes)
        try fields.optional("maybeColour", self.maybeColour)
        try fields.repeated("doubles", self.doubles)
        try fields.repeated("floats", self.floats)
        try fields.repeated("longs", self.longs)
        try fields.repeated("numbers", self.numbers)
        try fields.repeated("bools", self.bools)
        try fields.repeated("strings", self.strings)
        try fields.repeated("chunks", self.chunks)
        try fields.repeated("colours", self.colours)
        try fields.repeated("inners", self.inners)
        try fields.repeated("values", self.values)
        try fields.repeated("timestamps", self.timestamps)
        try fields.map("byName", self.byName)
        try fields.map("byLong", self.byLong)
        try fields.map("byNumber", self.byNumber)
        try fields.map("byBool", self.byBool)
        switch self.choice {
        case .text(let value):
            try fields.optional("text", value)
        case .number(let value):
            try fields.optional("number", value)
        case .message(let value):
            try fields.optional("message", value)
        case .shade(let value):
            try fields.optional("shade", value)
        case .anything(let value):
            try fields.optional("anything", value)
        case .raw(let value):
            try fields.optional("raw", value)
        case nil: break
        }
        try fields.optional("empty", self.empty)
        try fields.implicit("renamed", self.oddName)
    }
}

extension EveryKind: JSONForm {}
extension EveryKind.Colour: ImplicitForm {}
extension EveryKind.Inner: JSONForm {}
extension EveryKind.Empty: JSONForm {}
