import ObjectStorage

/// An object's name as a path below the store's directory.
///
/// A directory can keep fewer names than a bucket: each must be a `SafePath` (no empty segment, `.` or `..`, at most 255
/// bytes a segment), and the first segment is not the one that the store keeps its own files in.
struct LocalPath: Hashable, Sendable {
    /// Where the store keeps what is not content. Never listed, never an object.
    static let hiddenDirectory = ".penstock-local"

    let name: ObjectName
    let directories: [String]
    let leaf: String

    /// - Throws: `invalidName` saying why a directory cannot keep it.
    init(_ name: ObjectName) throws(ObjectStoreError) {
        var segments = try SafePath(name.value).segments.map(String.init)
        guard segments[0] != Self.hiddenDirectory, let leaf = segments.popLast() else {
            throw .invalidName(name.value, "the store keeps its own files there")
        }
        self.name = name
        self.leaf = leaf
        directories = segments
    }

    /// A name that a file has; nil when no object can be called that.
    init?(file path: String) {
        guard let name = try? ObjectName(path), let local = try? LocalPath(name) else { return nil }
        self = local
    }
}
