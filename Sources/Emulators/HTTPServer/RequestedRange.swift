enum RequestedRange: Equatable {
    case whole
    case part(Range<Int>)
    case unsatisfiable
}

/// The range that a request asks of a representation with these header fields. An `If-Range` that names another
/// representation makes it the whole (RFC 9110, section 13.1.5).
func requestedRange(_ request: HeaderFields, of representation: HeaderFields, size: Int) -> RequestedRange {
    if let validator = request["If-Range"], validator != representation["ETag"],
        validator != representation["Last-Modified"]
    {
        return .whole
    }
    return requestedRange(request["Range"], size: size)
}

/// Reads a `Range` field of one range; several, and malformed ones, are ignored (RFC 9110, section 14.2).
func requestedRange(_ text: String?, size: Int) -> RequestedRange {
    guard let text, text.hasPrefix("bytes="), !text.contains(",") else { return .whole }
    let ends = text.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
    guard ends.count == 2, ends.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } && $0.utf8.count <= 18 })
    else {
        return .whole
    }
    switch (Int(ends[0]), Int(ends[1])) {
    case (let first?, let last?):
        if last < first { return .whole }
        return first < size ? .part(first..<min(last + 1, size)) : .unsatisfiable
    case (let first?, nil): return first < size ? .part(first..<size) : .unsatisfiable
    case (nil, let count?): return count > 0 && size > 0 ? .part(max(0, size - count)..<size) : .unsatisfiable
    default: return .whole
    }
}
