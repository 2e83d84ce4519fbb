import Glibc
package import LinuxPlatform
package import Manifests

/// The directory of the local disk in which a mount keeps its journal and what was written: of one process at a time.
package final class StagingDirectory: Sendable {
    package let directory: LocalDirectory
    private let lock: FileLock
    private let descriptor: FileDescriptor

    /// Makes the directory, for its owner alone, when it is missing, and locks it. The lock goes with the value, and with the
    /// process, however that ends.
    ///
    /// - Throws: `wouldBlock` when another process has it; the `errno` of the call that failed.
    package init(path: String) throws(Errno) {
        do throws(Errno) {
            _ = try retryingOnInterrupt { mkdir(path, 0o700) }
        } catch {
            if error != .exists { throw error }
        }
        lock = try FileLock(FileDescriptor(path: "\(path)/lock", flags: O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600))
        directory = try LocalDirectory(path: path)
        descriptor = try FileDescriptor(path: path, flags: O_RDONLY | O_DIRECTORY)
    }

    private static let textLimit = 4096

    /// Makes it the staging directory of a source, for good: what is staged for one must never be published below another.
    ///
    /// - Parameter source: a URL of at most 4,096 bytes.
    /// - Returns: another source whose it is; nil when it is this one's now.
    /// - Throws: the `errno` of the call that failed.
    package func claim(for source: String) throws(Errno) -> String? {
        let owner = try kept("source", source)
        return owner == source ? nil : owner
    }

    /// What the mounts of this directory call themselves where others see it: the same as long as the directory is there.
    ///
    /// - Throws: the `errno` of the call that failed; `invalidArgument` when somebody else has written there.
    package func identity() throws(Errno) -> OperationID {
        guard let identity = OperationID(try kept("writer", OperationID.random().description)) else {
            throw .invalidArgument
        }
        return identity
    }

    /// A text that is written once, and stays.
    private func kept(_ name: String, _ text: @autoclosure () -> String) throws(Errno) -> String {
        if try directory.names().contains(name) {
            let file = try directory.open(name)
            return String(decoding: try file.bytes(0..<min(file.size(), Self.textLimit)), as: UTF8.self)
        }
        let text = text()
        guard text.utf8.count <= Self.textLimit else { throw .nameTooLong }
        let fresh = name + ".new"
        if try directory.names().contains(fresh) { try directory.remove(fresh) }
        let file = try directory.create(fresh)
        try file.write(Array(text.utf8), at: 0)
        try file.synchronizeData()
        try directory.rename(fresh, to: name)
        try directory.synchronize()
        return text
    }

    /// The room of the disk that it is on; nil when that cannot be found out.
    package var space: FilesystemSpace? { try? descriptor.space() }
}

/// The files of a staging directory besides the journal's: one for each written file, named by its number.
enum StagingNames {
    private static let prefix = "staged-"

    static func name(_ number: Int) -> String { prefix + String(number, radix: 16) }

    /// Nil for other files.
    static func number(_ name: String) -> Int? {
        guard name.hasPrefix(prefix), let number = Int(name.dropFirst(prefix.count), radix: 16), number >= 0,
            Self.name(number) == name
        else { return nil }
        return number
    }
}

/// What a start finds of staging files.
enum StagingSweep {
    struct Found {
        var files: [Int: any WritableFile] = [:]
        /// Names that no record names.
        var garbage: [String] = []
        /// Numbers whose name is on stable storage.
        var synced: Set<Int> = []
        /// How many were missing, or too short.
        var damaged = 0
        /// No staging file has a larger number.
        var last = 0
    }

    /// Opens what the state names. A file without the bytes that it should have is damage of that file alone: its name stays,
    /// with what stands in the bucket.
    static func run(_ directory: any WritableDirectory, _ state: inout WriteBackState) throws(JournalError) -> Found {
        let names: [String]
        do throws(Errno) { names = try directory.names() } catch {
            throw .system(error, during: "list", file: "directory")
        }
        let present = Set(names.compactMap(StagingNames.number))
        var found = Found()
        found.last = max(state.lastStaging, present.max() ?? 0)
        for (node, file) in state.files.contents.sorted(by: { $0.key < $1.key }) {
            guard let number = file.staging else { continue }
            let staged = state.staged[node]
            if let opened = try? directory.open(StagingNames.name(number)), let size = try? opened.size(),
                size >= staged?.written.end ?? 0
            {
                found.files[number] = opened
                if staged?.synced.isEmpty == false { found.synced.insert(number) }
                continue
            }
            let isEmpty = staged?.written.isEmpty ?? true
            if !isEmpty { found.damaged += 1 }
            do throws(Errno) { try state.apply(WriteBackRecord(isEmpty ? .unstaged(node) : .damaged(node))) } catch {
                throw .damaged(file: StagingNames.name(number), offset: 0, reason: "\(error)")
            }
        }
        let needed = Set(state.files.contents.values.compactMap(\.staging))
        found.garbage = present.subtracting(needed).sorted().map(StagingNames.name)
        // Nobody has counted them in this process.
        _ = (state.takeGarbage(), state.takeGone())
        return found
    }
}
