import Foundation

/// A point in time: `google.protobuf.Timestamp`, which is finer than `Date`.
public struct Timestamp: Hashable, Sendable {
    /// Seconds since 1970 in UTC, without leap seconds.
    public var seconds: Int64
    /// Nanoseconds of the second, 0 to 999,999,999.
    public var nanos: Int32

    public init(seconds: Int64 = 0, nanos: Int32 = 0) {
        self.seconds = seconds
        self.nanos = nanos
    }

    /// The same, as Foundation has it.
    public var date: Date {
        Date(timeIntervalSince1970: Double(seconds) + Double(nanos) / 1e9)
    }
}

/// RFC 3339, with 0, 3, 6 or 9 digits of fraction; written in UTC.
extension Timestamp: JSONForm {
    package static func read(from decoder: any Decoder) throws -> Timestamp? {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let timestamp = Timestamp(text) else {
            throw invalid(decoder, "not a timestamp of RFC 3339")
        }
        return timestamp
    }

    package func write(to encoder: any Encoder) throws {
        let day = Int((Double(seconds) / 86_400).rounded(.down))
        let second = Int(seconds) - day * 86_400
        let (year, month, dayOfMonth) = civil(day)
        let date = [padded(year, 4), padded(month, 2), padded(dayOfMonth, 2)]
        let time = [padded(second / 3600, 2), padded(second / 60 % 60, 2), padded(second % 60, 2)]
        let fraction = fraction(Int(nanos))
        try "\(date.joined(separator: "-"))T\(time.joined(separator: ":"))\(fraction)Z"
            .write(to: encoder)
    }

    private init?(_ text: String) {
        let pattern =
            #/(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))/#
        guard let parts = text.wholeMatch(of: pattern)?.output else { return nil }
        let date = [parts.1, parts.2, parts.3].compactMap { Int($0) }
        let time = [parts.4, parts.5, parts.6].compactMap { Int($0) }
        guard (1...12).contains(date[1]), (1...31).contains(date[2]), time[0] < 24, time[1] < 60,
            time[2] < 60
        else { return nil }
        let day = days(date[0], date[1], date[2])
        guard civil(day) == (date[0], date[1], date[2]) else { return nil }
        let hours = parts.9.flatMap { Int($0) } ?? 0
        let minutes = parts.10.flatMap { Int($0) } ?? 0
        let offset = (hours * 60 + minutes) * (parts.8 == "-" ? -60 : 60)
        seconds = Int64(day * 86_400 + time[0] * 3600 + time[1] * 60 + time[2] - offset)
        nanos = Int32(billionths(parts.7.map(String.init) ?? ""))
    }
}

/// Seconds with 0, 3, 6 or 9 digits of fraction and an "s": `google.protobuf.Duration`.
extension Duration: JSONForm {
    package static func read(from decoder: any Decoder) throws -> Duration? {
        let text = try decoder.singleValueContainer().decode(String.self)
        let pattern = #/(-?)(\d{1,12})(?:\.(\d{1,9}))?s/#
        guard let parts = text.wholeMatch(of: pattern)?.output, let seconds = Int64(parts.2) else {
            throw invalid(decoder, "not a duration, as \"1.5s\"")
        }
        let nanos = billionths(parts.3.map(String.init) ?? "")
        let duration = Duration.seconds(seconds) + .nanoseconds(nanos)
        return parts.1.isEmpty ? duration : .zero - duration
    }

    package func write(to encoder: any Encoder) throws {
        let (seconds, attoseconds) = components
        let nanos = attoseconds / 1_000_000_000
        let sign = seconds < 0 || nanos < 0 ? "-" : ""
        try "\(sign)\(seconds.magnitude)\(fraction(Int(nanos.magnitude)))s".write(to: encoder)
    }
}

private func padded(_ number: Int, _ width: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}

private func fraction(_ nanos: Int) -> String {
    switch nanos {
    case 0: ""
    case _ where nanos % 1_000_000 == 0: "." + padded(nanos / 1_000_000, 3)
    case _ where nanos % 1000 == 0: "." + padded(nanos / 1000, 6)
    default: "." + padded(nanos, 9)
    }
}

private func billionths(_ digits: String) -> Int {
    Int(digits.padding(toLength: 9, withPad: "0", startingAt: 0)) ?? 0
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, by
/// <https://howardhinnant.github.io/date_algorithms.html>.
private func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
    let shifted = month <= 2 ? year - 1 : year
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
}

/// Year, month and day of a day since 1970-01-01.
private func civil(_ day: Int) -> (Int, Int, Int) {
    let shifted = day + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let fromMarch = (5 * dayOfYear + 2) / 153
    let month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return (year, month, dayOfYear - (153 * fromMarch + 2) / 5 + 1)
}
