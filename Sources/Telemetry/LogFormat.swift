import LinuxPlatform

/// How a line looks.
package enum LogFormat: String, Sendable, CaseIterable {
    /// `time=… level=info event="part uploaded" object=a/b size=3`: logfmt, for people.
    case text
    /// One JSON object a line.
    case json

    /// The longest a field's value gets, in bytes before escaping; the rest is cut off and marked.
    package static let maximumValueLength = 4096

    func line(time: UnixTime, level: LogLevel, event: String, fields: [(String, LogValue)]) -> String {
        var line = self == .json ? "{" : ""
        append("time", .text(time.description), to: &line)
        append("level", .text(level.rawValue), to: &line)
        append("event", .text(event), to: &line)
        for (key, value) in fields { append(Self.plainKey(key), Redaction.value(value, of: key), to: &line) }
        if self == .json { line += "}" }
        return line
    }

    private func append(_ key: String, _ value: LogValue, to line: inout String) {
        switch self {
        case .text:
            if !line.isEmpty { line += " " }
            line += "\(key)=\(Self.textForm(value))"
        case .json:
            if line.utf8.count > 1 { line += "," }
            line += "\"\(key)\":\(Self.jsonForm(value))"
        }
    }

    private static func textForm(_ value: LogValue) -> String {
        guard case .text(let text) = value else { return jsonForm(value) }
        let needsQuotes =
            text.isEmpty
            || text.unicodeScalars.contains {
                $0 == " " || $0 == "=" || $0 == "\"" || $0 == "\\" || PlainText.isDangerous($0)
            }
        return needsQuotes || text.utf8.count > maximumValueLength ? quoted(text) : text
    }

    private static func jsonForm(_ value: LogValue) -> String {
        switch value {
        case .text(let text): quoted(text)
        case .integer(let number): String(number)
        // JSON knows no infinity.
        case .number(let number): number.isFinite ? String(number) : quoted(String(number))
        case .flag(let flag): String(flag)
        }
    }

    /// Keys are ours, but a fault in one must not break the line either.
    private static func plainKey(_ key: String) -> String {
        let plain = String(key.unicodeScalars.map { isKeyScalar($0) ? Character($0) : "_" })
        return plain.isEmpty ? "_" : plain
    }

    private static func isKeyScalar(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "_", "-", ".": true
        default: false
        }
    }

    /// A JSON string, which is also what the text form quotes with: nothing in it can end the line or the quotes, move a
    /// cursor, or turn the direction of the text.
    static func quoted(_ text: String) -> String {
        var result = "\""
        var length = 0
        for scalar in text.unicodeScalars {
            length += UTF8.width(scalar)
            if length > maximumValueLength {
                result += "...(cut)"
                break
            }
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where PlainText.isDangerous(scalar): result += escape(scalar)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    private static func escape(_ scalar: Unicode.Scalar) -> String {
        // JSON escapes are UTF-16 units.
        String(scalar).utf16.map { unit in
            let digits = String(unit, radix: 16)
            return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }.joined()
    }
}
