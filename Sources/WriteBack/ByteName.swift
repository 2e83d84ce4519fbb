/// A name in a directory, or a path: the same as another only when its bytes are. Swift's own comparison of strings takes
/// the NFC and the NFD spelling of a word for one, and so for one file.
package struct ByteName: Hashable, Comparable, Sendable, CustomStringConvertible, ExpressibleByStringInterpolation {
    package let value: String

    package init(_ value: String) { self.value = value }

    package init(stringLiteral value: String) { self.value = value }

    package var description: String { value }

    package var isEmpty: Bool { value.isEmpty }

    /// What slashes part. By bytes: to `String.split` a slash with a combining mark behind it is another character.
    package var segments: [ByteName] { value.utf8.split(separator: 0x2F).map { ByteName(String(Substring($0))) } }

    /// The path of a name below this one; the empty path is the root's.
    package func appending(_ name: ByteName) -> ByteName {
        isEmpty ? name : ByteName("\(value)/\(name.value)")
    }

    package static func == (left: Self, right: Self) -> Bool { left.value.utf8.elementsEqual(right.value.utf8) }

    package static func < (left: Self, right: Self) -> Bool {
        left.value.utf8.lexicographicallyPrecedes(right.value.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        var value = value
        value.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
