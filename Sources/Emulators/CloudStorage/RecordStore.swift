import Glibc
import LinuxPlatform

/// Small JSON files that survive a restart of the emulator: each is written beside its name and renamed onto it.
///
/// Nothing is synchronised to the disk: the emulator may be killed, the machine may not.
struct RecordStore: Sendable {
    let directory: String

    /// - Throws: the `errno` of mkdir(2).
    init(directory: String) throws(Errno) {
        self.directory = directory
        for kind in Kind.allCases { try DirectoryTree.make("\(directory)/\(kind.rawValue)", mode: 0o755) }
    }

    enum Kind: String, CaseIterable {
        case buckets, objects, uploads
    }

    /// The name of a record: what it is, and a word without slashes.
    struct Name: Hashable, Sendable {
        let kind: Kind
        let word: String
    }

    func write(_ name: Name, _ value: JSONValue) throws(Errno) {
        let final = path(name)
        let temporary = final + ".new"
        let file = try FileDescriptor(path: temporary, flags: O_WRONLY | O_CREAT | O_TRUNC)
        let bytes = value.serialized
        let result = bytes.withUnsafeBytes { pointer in
            Result { () throws(Errno) in try file.write(pointer, at: 0) }
        }
        try result.get()
        _ = try retryingOnInterrupt { rename(temporary, final) }
    }

    func remove(_ name: Name) { unlink(path(name)) }

    /// Every record of a kind that can be read, with its name. Remains of unfinished writes are removed.
    func all(_ kind: Kind) throws(Errno) -> [(name: Name, value: JSONValue)] {
        var records: [(Name, JSONValue)] = []
        let directory = try FileDescriptor(path: "\(directory)/\(kind.rawValue)", flags: O_RDONLY | O_DIRECTORY)
        for entry in try directory.entries().map(\.name) {
            guard entry.hasSuffix(".json") else {
                try directory.unlink(entry)
                continue
            }
            let file = try FileDescriptor(path: entry, flags: O_RDONLY, relativeTo: directory.rawValue)
            var bytes = [UInt8](repeating: 0, count: try file.size())
            let read = bytes.withUnsafeMutableBytes { pointer in
                Result { () throws(Errno) in try file.read(into: pointer, at: 0) }
            }
            guard try read.get() == bytes.count, let value = JSONValue(parsing: bytes) else { continue }
            records.append((Name(kind: kind, word: String(entry.dropLast(5))), value))
        }
        return records
    }

    private func path(_ name: Name) -> String { "\(directory)/\(name.kind.rawValue)/\(name.word).json" }
}
