/// What never gets into a log: values of fields that are named like a secret, the query and the user of any URL, and
/// words that look like the tokens we handle.
///
/// It is the last line of defence. Code that holds a secret does not log it in the first place.
package enum Redaction {
    package static let mark = "[redacted]"

    /// A field is secret when one of the words of its name is one of these; `_`, `-`, `.` and a capital part words.
    private static let secretWords: Set<String> = [
        "authorization", "cookie", "credential", "credentials", "passphrase", "password", "secret", "signature",
        "token",
    ]
    /// Or when its name, without separators, holds one of these.
    private static let secretParts = ["accesskey", "apikey", "privatekey", "sessionuri", "signedurl", "uploadid"]

    package static func isSecret(field name: String) -> Bool {
        var words: [String] = [""]
        for character in name {
            if character == "_" || character == "-" || character == "." {
                words.append("")
            } else {
                if character.isUppercase, words[words.count - 1].last?.isLowercase == true { words.append("") }
                words[words.count - 1].append(character)
            }
        }
        let lower = words.map { $0.lowercased() }
        if lower.contains(where: { secretWords.contains($0) }) { return true }
        let joined = lower.joined()
        return secretParts.contains { joined.contains($0) }
    }

    static func value(_ value: LogValue, of field: String) -> LogValue {
        if isSecret(field: field) { return .text(mark) }
        guard case .text(let text) = value else { return value }
        // What is cut off later need not be looked at; the cut itself is marked by the format.
        return .text(redacted(String(decoding: text.utf8.prefix(2 * LogFormat.maximumValueLength), as: UTF8.self)))
    }

    /// `text` without URL queries, fragments and users, and without words that look like a token.
    package static func redacted(_ text: String) -> String {
        var scanner = SecretScanner(text)
        return scanner.redacted()
    }
}

/// Goes over a text once, on bytes: whatever it cuts out ends at ASCII characters, so the rest stays UTF-8.
private struct SecretScanner {
    private let bytes: [UInt8]
    private var result: [UInt8] = []
    private var index = 0
    private var plainUntil = 0

    /// What ends a URL or a word inside of a sentence.
    private static let ends: Set<UInt8> = Set(" \t\r\n\"'<>`|{}".utf8)
    private static let tokenStarts = ["hf_", "ya29.", "api_org_", "eyJ"].map { Array($0.utf8) }

    init(_ text: String) { bytes = Array(text.utf8) }

    mutating func redacted() -> String {
        while index < bytes.count {
            if matches("://") {
                copyURL()
            } else if bytes[index] == 0x3F, isQueryStart() {
                cutQuery(to: wordEnd(from: index))
            } else if isAtWordStart, let end = tokenEnd() {
                result += Redaction.mark.utf8
                index = end
            } else if isAtWordStart, matches("Bearer ") || matches("bearer ") {
                result += "Bearer ".utf8 + Array(Redaction.mark.utf8)
                index = wordEnd(from: index + 7)
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// From `://` on: the user goes, the host and the path stay, the query and the fragment go.
    private mutating func copyURL() {
        result += "://".utf8
        index += 3
        let end = wordEnd(from: index)
        let authorityEnd = bytes[index..<end].firstIndex { [0x2F, 0x3F, 0x23].contains($0) } ?? end
        if let at = bytes[index..<authorityEnd].lastIndex(of: 0x40) {
            result += Redaction.mark.utf8
            index = at
        }
        let pathEnd = bytes[index..<end].firstIndex { $0 == 0x3F || $0 == 0x23 } ?? end
        result += bytes[index..<pathEnd]
        index = pathEnd
        copyGeneration(before: end)
        if index < end { cutQuery(to: end) }
    }

    /// `gs://bucket/object#123`, perhaps with a colon behind it: a generation is no secret, and errors need it.
    private mutating func copyGeneration(before end: Int) {
        guard index < end, bytes[index] == 0x23 else { return }
        let digits = bytes[(index + 1)..<end].prefix { (0x30...0x39).contains($0) }
        let rest = bytes[digits.endIndex..<end]
        guard !digits.isEmpty, rest.allSatisfy({ $0 == 0x3A || $0 == 0x2C || $0 == 0x2E }) else { return }
        result += bytes[index..<end]
        index = end
    }

    private mutating func cutQuery(to end: Int) {
        result.append(bytes[index])
        result += Redaction.mark.utf8
        index = end
    }

    private var isAtWordStart: Bool {
        guard index > 0 else { return true }
        let before = bytes[index - 1]
        return !Self.isTokenByte(before)
    }

    /// The end of a token that starts here: a known start and at least 12 more characters of one.
    private func tokenEnd() -> Int? {
        for start in Self.tokenStarts where bytes[index...].starts(with: start) {
            var end = index + start.count
            while end < bytes.count, Self.isTokenByte(bytes[end]) || bytes[end] == 0x2E { end += 1 }
            if end - index - start.count >= 12 { return end }
        }
        return nil
    }

    private func matches(_ text: String) -> Bool { bytes[index...].starts(with: text.utf8) }

    private func wordEnd(from start: Int) -> Int {
        bytes[start...].firstIndex { Self.ends.contains($0) } ?? bytes.count
    }

    /// Whether the word goes on with a `=`. Remembers a word that does not: a row of `?` is looked through once.
    private mutating func isQueryStart() -> Bool {
        guard index >= plainUntil else { return false }
        let end = wordEnd(from: index)
        if bytes[index..<end].contains(0x3D) { return true }
        plainUntil = end
        return false
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F, 0x2D: true
        default: false
        }
    }
}
