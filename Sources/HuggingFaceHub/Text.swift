/// ASCII letters and digits.
func isAlphanumeric(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
}

/// Exactly `count` digits of `[0-9a-f]`.
func isLowercaseHex(_ text: String, count: Int) -> Bool {
    text.utf8.count == count && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
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
