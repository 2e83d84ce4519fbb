/// One name in a directory: 1 to 255 bytes of UTF-8, no `/`, no NUL, not `.` or `..`. Names are bytes: the NFC and NFD
/// spellings of a word are two names, which Swift's own comparison of strings would call equal.
package struct EntryName: Hashable, Comparable, Sendable, CustomStringConvertible {
    package static let maximumLength = 255
    package let value: String

    /// Nil when it cannot be a name.
    package init?(_ value: String) {
        let bytes = value.utf8
        guard (1...Self.maximumLength).contains(bytes.count), !bytes.contains(0x2F), !bytes.contains(0),
            !bytes.elementsEqual(".".utf8), !bytes.elementsEqual("..".utf8)
        else { return nil }
        self.value = value
    }

    package static func == (left: Self, right: Self) -> Bool { left.value.utf8.elementsEqual(right.value.utf8) }

    package static func < (left: Self, right: Self) -> Bool {
        // Listings are sorted and searched by this: over plain bytes it takes a fifth of the time.
        let isLess = left.value.utf8.withContiguousStorageIfAvailable { left in
            right.value.utf8.withContiguousStorageIfAvailable { right in left.lexicographicallyPrecedes(right) }
        }
        return (isLess ?? nil) ?? left.value.utf8.lexicographicallyPrecedes(right.value.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        var value = value
        value.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }

    package var description: String { value }
}

/// A text that is compared by its bytes, for dictionaries: see `EntryName`.
package struct BytePath: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let value: String
    package init(_ value: String) { self.value = value }

    package var description: String { value }

    /// Whether this is `directory`, or something below it; everything is below the empty path.
    package func isAt(orBelow directory: BytePath) -> Bool {
        let prefix = directory.value.utf8
        guard value.utf8.starts(with: prefix) else { return false }
        let rest = value.utf8.dropFirst(prefix.count)
        return prefix.isEmpty || rest.isEmpty || rest.first == 0x2F
    }

    package static func < (left: Self, right: Self) -> Bool {
        left.value.utf8.lexicographicallyPrecedes(right.value.utf8)
    }

    package static func == (left: Self, right: Self) -> Bool { left.value.utf8.elementsEqual(right.value.utf8) }

    package func hash(into hasher: inout Hasher) {
        var value = value
        value.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
