/// Text of a server, with what may be secret in it cut out: the query of every URL, and everything that looks like a
/// token.
package func redacted(_ text: String) -> String {
    var output: [UInt8] = []
    let bytes = Array(text.utf8)
    var index = 0
    while index < bytes.count {
        if bytes[index...].starts(with: "://".utf8) {
            let end = bytes[index...].firstIndex(where: endsURL) ?? bytes.endIndex
            output += redactedURLRest(bytes[index..<end])
            index = end
        } else if startsToken(bytes, at: index) {
            index = bytes[index...].firstIndex { !isAlphanumeric($0) && $0 != 0x5F } ?? bytes.endIndex
            output += "hf_***".utf8
        } else {
            output.append(bytes[index])
            index += 1
        }
    }
    return String(decoding: output, as: UTF8.self)
}

private func endsURL(_ byte: UInt8) -> Bool {
    byte <= 0x20 || byte == 0x22 || byte == 0x27 || byte == 0x3C || byte == 0x3E
}

private func redactedURLRest(_ rest: ArraySlice<UInt8>) -> [UInt8] {
    let isQuestion = { (byte: UInt8) in byte == 0x3F || byte == 0x23 }
    var kept = Array(rest.prefix { !isQuestion($0) })
    if let at = kept.firstIndex(of: 0x40), !kept[3..<max(3, at)].contains(0x2F) { kept.removeSubrange(3...at) }
    return kept.count == rest.count || rest.contains(where: isQuestion) == false ? kept : kept + Array("?***".utf8)
}

private func startsToken(_ bytes: [UInt8], at index: Int) -> Bool {
    guard bytes[index...].starts(with: "hf_".utf8) || bytes[index...].starts(with: "api_org_".utf8) else {
        return false
    }
    return index == 0 || !isAlphanumeric(bytes[index - 1])
}

/// What a storage host says of a refusal: `Code: Message` of its XML, or its plain text. HTML is not repeated.
func refusalText(_ body: [UInt8]) -> String {
    let text = String(decoding: body.prefix(2048), as: UTF8.self)
    let found = ["Code", "Message"].compactMap { element(named: $0, in: text) }
    if !found.isEmpty { return printable(redacted(found.joined(separator: ": ")), limit: 300) }
    let start = trimmed(text).prefix(64).lowercased()
    if start.hasPrefix("<!doctype") || start.hasPrefix("<html") { return "an HTML page" }
    // Other XML may echo what was signed, so its text stays out of messages.
    if start.hasPrefix("<") { return "an XML document without a message" }
    return printable(redacted(text), limit: 300)
}

/// The text of the first element of that name.
private func element(named name: String, in text: String) -> String? {
    let bytes = Array(text.utf8)
    let open = Array("<\(name)>".utf8)
    let close = Array("</\(name)>".utf8)
    guard let start = firstIndex(of: open, in: bytes[...]) else { return nil }
    let rest = bytes[(start + open.count)...]
    guard let end = firstIndex(of: close, in: rest) else { return nil }
    return String(decoding: rest[..<end], as: UTF8.self)
}

/// Where `needle` first begins.
func firstIndex(of needle: [UInt8], in haystack: ArraySlice<UInt8>) -> Int? {
    guard let first = needle.first else { return nil }
    var from = haystack.startIndex
    while let index = haystack[from...].firstIndex(of: first) {
        if haystack[index...].starts(with: needle) { return index }
        from = index + 1
    }
    return nil
}
