/// A number of bytes as people write it: `64M`, `1.5GiB`, `1000000`.
///
/// Units are powers of 1,024 however they are spelled (`K`, `KB`, `Ki`, `KiB` are one), in either case.
package struct ByteSize: Hashable, Sendable, CustomStringConvertible {
    package let bytes: Int

    package init(bytes: Int) { self.bytes = bytes }

    /// - Returns: nil for anything else, for a fraction of a byte, and past 2^62.
    package init?(_ text: String) {
        guard let (number, unit) = splitQuantity(text), let shift = Self.shift(unit.lowercased()) else { return nil }
        guard let bytes = number.scaled(by: 1 << shift), bytes <= 1 << 62 else { return nil }
        self.bytes = bytes
    }

    private static func shift(_ unit: String) -> Int? {
        if unit.isEmpty || unit == "b" { return 0 }
        let letters = ["k", "m", "g", "t"]
        for (index, letter) in letters.enumerated() where ["", "b", "i", "ib"].contains(where: { letter + $0 == unit })
        {
            return 10 * (index + 1)
        }
        return nil
    }

    /// The largest unit that needs no fraction.
    package var description: String {
        let units = ["", "K", "M", "G", "T"]
        var value = bytes
        var index = 0
        while value != 0, value % 1024 == 0, index + 1 < units.count {
            value /= 1024
            index += 1
        }
        return "\(value)\(units[index])"
    }
}

/// A length of time as people write it: `500ms`, `90s`, `15m`, `24h`, `7d`, or a number of seconds.
package struct TimeSpan: Hashable, Sendable, CustomStringConvertible {
    package let milliseconds: Int

    package init(milliseconds: Int) { self.milliseconds = milliseconds }
    package init(seconds: Int) { milliseconds = seconds * 1000 }

    /// - Returns: nil for anything else, for a fraction of a millisecond, and past ten years.
    package init?(_ text: String) {
        guard let (number, unit) = splitQuantity(text), let scale = Self.scales[unit] else { return nil }
        guard let milliseconds = number.scaled(by: scale), milliseconds <= 3650 * 86_400_000 else { return nil }
        self.milliseconds = milliseconds
    }

    private static let scales = ["ms": 1, "": 1000, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000]

    package var duration: Duration { .milliseconds(milliseconds) }

    /// The largest unit that needs no fraction.
    package var description: String {
        for (unit, scale) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
        where milliseconds != 0 && milliseconds % scale == 0 {
            return "\(milliseconds / scale)\(unit)"
        }
        return milliseconds == 0 ? "0s" : "\(milliseconds)ms"
    }
}

/// A decimal number without sign: exact, which a double is not.
private struct Decimal {
    var digits: Int
    /// How many of the digits stand behind the point.
    var fraction: Int

    /// The product, when it is whole and fits.
    func scaled(by scale: Int) -> Int? {
        let (product, overflow) = digits.multipliedReportingOverflow(by: scale)
        if overflow { return nil }
        let divisor = (0..<fraction).reduce(1) { result, _ in result * 10 }
        return product % divisor == 0 ? product / divisor : nil
    }
}

/// A number and what follows it; nil when it does not begin with one, or with more than 15 digits.
private func splitQuantity(_ text: String) -> (Decimal, String)? {
    let bytes = text.utf8
    guard bytes.count <= 32 else { return nil }
    let whole = bytes.prefix(while: isDigit)
    var rest = bytes.dropFirst(whole.count)
    var fraction: Substring.UTF8View = rest.prefix(0)
    if rest.first == UInt8(ascii: ".") {
        fraction = rest.dropFirst().prefix(while: isDigit)
        if fraction.isEmpty { return nil }
        rest = rest.dropFirst(fraction.count + 1)
    }
    guard !whole.isEmpty, whole.count + fraction.count <= 15 else { return nil }
    let all = String(decoding: Array(whole) + Array(fraction), as: UTF8.self)
    guard let digits = Int(all) else { return nil }
    return (Decimal(digits: digits, fraction: fraction.count), String(decoding: rest, as: UTF8.self))
}

private func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
