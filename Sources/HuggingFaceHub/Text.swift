/// ASCII letters and digits.
func isAlphanumeric(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
}

/// Exactly `count` digits of `[0-9a-f]`.
func isLowercaseHex(_ text: String, count: Int) -> Bool {
    text.utf8.count == count && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
}

private let hexDigits = Array("0123456789ABCDEF".utf8)

/// Percent-encodes what is not unreserved (RFC 3986, section 2.3), byte for byte.
package func percentEncoded(_ text: String, keepingSlashes: Bool) -> String {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count)
    for byte in text.utf8 {
        let isUnreserved = isAlphanumeric(byte) || byte == 0x2D || byte == 0x2E || byte == 0x5F || byte == 0x7E
        if isUnreserved || (keepingSlashes && byte == 0x2F) {
            bytes.append(byte)
        } else {
            bytes += [0x25, hexDigits[Int(byte >> 4)], hexDigits[Int(byte & 15)]]
        }
    }
    return String(decoding: bytes, as: UTF8.self)
}

/// Undoes percent-encoding; nil when it is broken or gives no UTF-8.
package func percentDecoded(_ text: String) -> String? {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
        guard byte == 0x25 else {
            bytes.append(byte)
            continue
        }
        guard let high = rest.popFirst().flatMap(hexValue), let low = rest.popFirst().flatMap(hexValue) else {
            return nil
        }
        bytes.append(high << 4 | low)
    }
    return String(validating: bytes, as: UTF8.self)
}

func hexValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
}

/// Text of a stranger made fit for a message: no control characters, at most `limit` characters.
func printable(_ text: String, limit: Int) -> String {
    var shown = ""
    var count = 0
    var wasSpace = false
    for scalar in text.unicodeScalars {
        if count >= limit { return shown + "…" }
        let isSpace = scalar.value <= 0x20 || scalar.value == 0x7F || scalar.properties.isPatternWhitespace
        if isSpace && wasSpace { continue }
        if scalar.properties.generalCategory == .control && !isSpace { continue }
        if scalar.properties.generalCategory == .format { continue }
        shown.unicodeScalars.append(isSpace ? " " : scalar)
        wasSpace = isSpace
        count += 1
    }
    return shown
}

/// Without spaces, tabs and line ends at both ends.
func trimmed(_ text: some StringProtocol) -> String {
    let isSpace = { (byte: UInt8) in byte == 0x20 || (0x09...0x0D).contains(byte) }
    let bytes = Array(text.utf8)
    guard let first = bytes.firstIndex(where: { !isSpace($0) }), let last = bytes.lastIndex(where: { !isSpace($0) })
    else { return "" }
    return String(decoding: bytes[first...last], as: UTF8.self)
}
