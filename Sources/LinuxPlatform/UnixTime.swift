/// A time of day: nanoseconds since 1970-01-01T00:00:00Z.
package struct UnixTime: Comparable, Hashable, Sendable, CustomStringConvertible {
    /// Whole years that nanoseconds in 64 bits reach.
    private static let years = 1678...2261

    package let nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    package init(seconds: Int64) { nanoseconds = seconds * 1_000_000_000 }

    package var seconds: Int64 {
        nanoseconds >= 0 ? nanoseconds / 1_000_000_000 : (nanoseconds - 999_999_999) / 1_000_000_000
    }

    package static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }

    package func advanced(by duration: Duration) -> UnixTime {
        UnixTime(nanoseconds: nanoseconds &+ duration.inNanoseconds)
    }

    package func duration(to other: UnixTime) -> Duration { .nanoseconds(other.nanoseconds &- nanoseconds) }

    /// The RFC 3339 form in UTC with milliseconds, for example `2026-11-23T15:59:51.250Z`.
    package var description: String {
        let civil = CivilDate(daysSinceEpoch: Int(seconds.flooredQuotient(86_400)))
        let inDay = Int(seconds - seconds.flooredQuotient(86_400) * 86_400)
        let milliseconds = Int(nanoseconds - seconds * 1_000_000_000) / 1_000_000
        let date = "\(padded(civil.year, 4))-\(padded(civil.month, 2))-\(padded(civil.day, 2))"
        let time = "\(padded(inDay / 3600, 2)):\(padded(inDay / 60 % 60, 2)):\(padded(inDay % 60, 2))"
        return "\(date)T\(time).\(padded(milliseconds, 3))Z"
    }

    /// Reads an RFC 3339 time with any number of fractional digits and `Z` or a numeric offset.
    ///
    /// Source: RFC 3339, section 5.6. Nil for anything else, and for years that 64 bits of nanoseconds cannot hold.
    package init?(rfc3339 text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes.count <= 64,
            let year = decimal(bytes[0..<4]), bytes[4] == 0x2D, let month = decimal(bytes[5..<7]), bytes[7] == 0x2D,
            let day = decimal(bytes[8..<10]), bytes[10] | 0x20 == 0x74, let hour = decimal(bytes[11..<13]),
            bytes[13] == 0x3A, let minute = decimal(bytes[14..<16]), bytes[16] == 0x3A,
            let second = decimal(bytes[17..<19]), Self.years.contains(year), (1...12).contains(month),
            (1...31).contains(day), hour < 24,
            minute < 60, second <= 60
        else { return nil }
        var index = 19
        var fraction: Int64 = 0
        if bytes[index] == 0x2E {
            index += 1
            var scale: Int64 = 100_000_000
            let start = index
            while index < bytes.count, (0x30...0x39).contains(bytes[index]) {
                fraction += Int64(bytes[index] - 0x30) * scale
                scale /= 10
                index += 1
            }
            if index == start { return nil }
        }
        guard let offset = zoneOffset(bytes[index...]) else { return nil }
        let days = Int64(CivilDate(year: year, month: month, day: day).daysSinceEpoch)
        let whole = days * 86_400 + Int64(hour * 3600 + minute * 60 + second) - offset
        nanoseconds = whole * 1_000_000_000 + fraction
    }
}

/// A date of the proleptic Gregorian calendar.
///
/// The arithmetic counts years from March, so that the leap day ends a year: eras of 400 years have 146,097 days.
package struct CivilDate: Equatable, Sendable {
    package let year: Int
    package let month: Int
    package let day: Int

    package init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    package init(daysSinceEpoch: Int) {
        let shifted = daysSinceEpoch + 719_468
        let era = shifted.flooredQuotient(146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    package var daysSinceEpoch: Int {
        let marchYear = month <= 2 ? year - 1 : year
        let era = marchYear.flooredQuotient(400)
        let yearOfEra = marchYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}

extension BinaryInteger {
    fileprivate func flooredQuotient(_ divisor: Self) -> Self {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}

private func padded(_ number: Int, _ width: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}

private func decimal(_ digits: ArraySlice<UInt8>) -> Int? {
    var value = 0
    for digit in digits {
        guard (0x30...0x39).contains(digit) else { return nil }
        value = value * 10 + Int(digit - 0x30)
    }
    return value
}

private func zoneOffset(_ bytes: ArraySlice<UInt8>) -> Int64? {
    let zone = Array(bytes)
    if zone.count == 1, zone[0] | 0x20 == 0x7A { return 0 }
    guard zone.count == 6, zone[0] == 0x2B || zone[0] == 0x2D, zone[3] == 0x3A, let hours = decimal(zone[1..<3]),
        let minutes = decimal(zone[4..<6]), hours < 24, minutes < 60
    else { return nil }
    let seconds = Int64(hours * 3600 + minutes * 60)
    return zone[0] == 0x2B ? seconds : -seconds
}
