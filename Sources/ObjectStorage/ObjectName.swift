/// The name of an object in its bucket: 1 to 1,024 bytes of UTF-8, any of them, `/` without meaning of its own.
///
/// Source: Cloud Storage, "Object names": no CR, LF or NUL, not `.` or `..`, not below `.well-known/acme-challenge/`. Names
/// are bytes: NFC and NFD spellings are two objects.
package struct ObjectName: Hashable, Comparable, Sendable, CustomStringConvertible {
    package static let maximumLength = 1024
    private static let forbiddenStart = ".well-known/acme-challenge/"
    package let value: String

    /// - Throws: `ObjectStoreError.invalidName` saying what is wrong with it.
    package init(_ value: String) throws(ObjectStoreError) {
        let bytes = value.utf8
        let complaint: String? =
            if bytes.isEmpty { "it is empty" } else if bytes.count > Self.maximumLength {
                "it has \(bytes.count) bytes, more than \(Self.maximumLength)"
            } else if value == "." || value == ".." {
                "it is '\(value)'"
            } else if bytes.starts(with: Self.forbiddenStart.utf8) {
                "no object's name may begin with '\(Self.forbiddenStart)'"
            } else if bytes.contains(where: {
                $0 == 0 || $0 == 0x0A || $0 == 0x0D
            }) { "it holds a NUL, CR or LF" } else { nil }
        if let complaint { throw .invalidName(value, complaint) }
        self.value = value
    }

    /// Byte order, the order of listings.
    package static func < (left: Self, right: Self) -> Bool {
        left.value.utf8.lexicographicallyPrecedes(right.value.utf8)
    }

    package static func == (left: Self, right: Self) -> Bool {
        // Swift's == on strings calls NFC and NFD spellings equal; object names are bytes.
        left.value.utf8.elementsEqual(right.value.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        for byte in value.utf8 { hasher.combine(byte) }
    }

    package var description: String { value }
}

/// A place under which objects stand: empty, or ending in `/`.
package struct ObjectPrefix: Hashable, Sendable, CustomStringConvertible {
    package let value: String

    /// Adds the closing `/` where it is missing.
    package init(_ value: String) {
        self.value = value.isEmpty || value.hasSuffix("/") ? value : value + "/"
    }

    /// The name of what stands at `path` under this prefix.
    package func name(_ path: String) throws(ObjectStoreError) -> ObjectName { try ObjectName(value + path) }

    /// The path of `name` under this prefix, or nil when it stands elsewhere.
    package func path(of name: ObjectName) -> String? {
        guard name.value.utf8.starts(with: value.utf8) else { return nil }
        return String(decoding: name.value.utf8.dropFirst(value.utf8.count), as: UTF8.self)
    }

    package var description: String { value }
}

/// A relative path that stays where it is put: what a Hub or a bucket calls a file is hostile until it is one of these.
///
/// One or more segments parted by `/`; no segment is empty, `.` or `..`; no control characters, which XML cannot carry and
/// terminals obey; at most 1,024 bytes in all and 255 in a segment.
package struct SafePath: Hashable, Comparable, Sendable, CustomStringConvertible {
    package static let maximumLength = 1024
    package static let maximumSegment = 255
    package let value: String

    /// - Throws: `ObjectStoreError.invalidName` saying what is wrong with it.
    package init(_ value: String) throws(ObjectStoreError) {
        if let complaint = Self.complaint(about: value) { throw .invalidName(value, complaint) }
        self.value = value
    }

    package var segments: [Substring] {
        // By bytes: to `String.split` a slash with a combining mark after it is another character.
        value.utf8.split(separator: 0x2F, omittingEmptySubsequences: false).map { Substring($0) }
    }

    /// Every directory above the path, nearest the root first: `a/b/c` gives `a` and `a/b`.
    package var directories: [String] {
        let segments = segments
        return (1..<max(1, segments.count)).map { segments[..<$0].joined(separator: "/") }
    }

    private static func complaint(about value: String) -> String? {
        let bytes = value.utf8
        if bytes.isEmpty { return "it is empty" }
        if bytes.count > maximumLength { return "it has \(bytes.count) bytes, more than \(maximumLength)" }
        if value.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) {
            return "it holds a control character"
        }
        if bytes.first == 0x2F { return "it is absolute" }
        for segment in value.utf8.split(separator: 0x2F, omittingEmptySubsequences: false) {
            if segment.isEmpty { return "it has an empty segment" }
            if segment.count > maximumSegment { return "a segment has more than \(maximumSegment) bytes" }
            if segment.elementsEqual(".".utf8) || segment.elementsEqual("..".utf8) {
                return "it has a segment '.' or '..'"
            }
        }
        return nil
    }

    package static func < (left: Self, right: Self) -> Bool {
        left.value.utf8.lexicographicallyPrecedes(right.value.utf8)
    }

    package static func == (left: Self, right: Self) -> Bool { left.value.utf8.elementsEqual(right.value.utf8) }

    package func hash(into hasher: inout Hasher) {
        for byte in value.utf8 { hasher.combine(byte) }
    }

    package var description: String { value }
}
