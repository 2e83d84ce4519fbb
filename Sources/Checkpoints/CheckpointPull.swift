import Checksums
import Glibc
package import LinuxPlatform
package import Manifests
import ObjectStorage
import TransferEngine

// A checkpoint on a local disk: whole, proven, and under its name at once.
//
//   DIR.penstock-partial/operation        which record this is of; of another one, all is begun anew
//   DIR.penstock-partial/files/…          the files, as far as they are
//   DIR.penstock-partial/progress/<hash>  how many bytes of a file, from its beginning, are there
//   DIR                                   appears by the rename of files/, when every byte was compared

/// What a pull did.
package struct PullReport: Sendable {
    package let record: CheckpointRecord
    /// Bytes that came from the bucket now, and bytes that were there from earlier.
    package let fetched: Int
    package let kept: Int
}

/// Brings a recorded checkpoint to a local directory.
package struct CheckpointPull: Sendable {
    private let catalog: CheckpointCatalog
    private let reader: CheckpointReader
    private let options: ReadingOptions
    private let disk: WorkerPool
    /// Bytes of a file between two notes of how far it is.
    private static let noteInterval = 64 << 20

    /// - Throws: `internal` when the machine has no threads left.
    package init(
        _ catalog: CheckpointCatalog,
        _ options: ReadingOptions,
        time: any TimeSource
    ) throws(CheckpointError) {
        self.catalog = catalog
        self.options = options
        reader = CheckpointReader(catalog.store, options, time: time)
        do throws(Errno) {
            disk = try WorkerPool(name: "pull-disk", count: 4)
        } catch {
            throw CheckpointError(.internal, "cannot start the threads for the disk: \(error)")
        }
    }

    /// Fetches what is missing and names the directory when all of it is there and was compared.
    ///
    /// - Parameter directory: must not exist, or be empty, or hold exactly this checkpoint, which is then a success.
    /// - Throws: `disk`; `integrity` when bytes are wrong twice; `conflict` when the directory holds something else, or the
    ///   checkpoint was replaced while it was fetched. What was fetched stays for the next run.
    package func pull(_ name: CheckpointName, to directory: String) async throws(CheckpointError) -> PullReport {
        var target = directory
        while target.utf8.count > 1, target.utf8.last == UInt8(ascii: "/") { target.removeLast() }
        let found = try await catalog.recorded(name)
        let files = found.record.files
        let local = try LocalCheckpoint(target)
        if try local.isOccupied() {
            try await compare(found.record, found.objects, under: target)
            return PullReport(record: found.record, fetched: 0, kept: found.record.totalSize)
        }
        try local.prepare(for: found.record.operation)
        let fetched = try await mapConcurrently(files, limit: options.maximumFiles) {
            file async throws(CheckpointError) in
            guard let object = CheckpointReader.source(of: file, in: found.objects, catalog.paths) else {
                throw CheckpointError(
                    .conflict,
                    "'\(file.path)' is not what was recorded any more: \(catalog.place)/\(name) is torn"
                )
            }
            return try await fetch(file, object, found.objects.relative(file.path), local)
        }
        try local.publish()
        let total = fetched.reduce(0, +)
        return PullReport(record: found.record, fetched: total, kept: found.record.totalSize - total)
    }

    /// What is there already must be this checkpoint, byte by byte.
    private func compare(
        _ record: CheckpointRecord,
        _ objects: CheckpointObjects,
        under directory: String
    ) async throws(CheckpointError) {
        for file in record.files {
            let path = "\(directory)/\(objects.relative(file.path))"
            let matches = try await onDisk { () throws(Errno) -> Bool in
                let local = try FileDescriptor(path: path, flags: O_RDONLY | O_NOFOLLOW)
                guard try local.size() == file.size else { return false }
                return try local.crc32c(upTo: file.size) == file.crc32c
            }
            guard case .success(true) = matches else {
                throw CheckpointError(
                    .conflict,
                    "\(directory) exists and is not \(record.name): '\(path)' differs or is missing; name another directory"
                )
            }
        }
    }

    /// - Returns: how many bytes came from the bucket.
    private func fetch(
        _ file: CheckpointRecord.File,
        _ object: ObjectAttributes,
        _ path: String,
        _ local: LocalCheckpoint
    ) async throws(CheckpointError) -> Int {
        var resumed = try await onDisk { () throws(Errno) in try local.resumable(path, file) }.orThrow(path)
        for attempt in 0..<2 {
            let start = resumed.offset
            let progress = PullProgress(from: start, size: file.size, interval: Self.noteInterval)
            let rest: CRC32C
            do throws(CheckpointError) {
                rest = try await reader.read(object, from: start) { range, buffer async throws(CheckpointError) in
                    try await onDisk { () throws(Errno) in
                        try local.write(
                            path,
                            UnsafeRawBufferPointer(rebasing: buffer.bytes[..<range.count]),
                            range.offset
                        )
                        if let offset = progress.finished(range) { try local.note(path, offset) }
                    }.orThrow(path)
                }
            } catch {
                guard error.code == .integrity, attempt == 0 else { throw error }
                resumed = (0, .empty)
                continue
            }
            if resumed.crc32c.combine(with: rest, count: file.size - start) == file.crc32c {
                try await onDisk { () throws(Errno) in try local.finish(path, file.size) }.orThrow(path)
                return file.size - start
            }
            // Wrong on the disk, or wrong on the way: once more, all of it.
            resumed = (0, .empty)
        }
        throw CheckpointError(
            .integrity,
            "'\(file.path)' does not have the CRC32C \(file.crc32c) that was recorded, read twice: penstock checkpoint verify "
                + "tells more"
        )
    }

    private func onDisk<Value: Sendable>(
        _ body: @escaping @Sendable () throws(Errno) -> Value
    ) async throws(CheckpointError) -> Result<Value, Errno> {
        await withCheckedContinuation { continuation in
            disk.submit {
                continuation.resume(returning: Result { () throws(Errno) in try body() })
            }
        }
    }
}

extension Result where Failure == Errno {
    fileprivate func orThrow(_ path: String) throws(CheckpointError) -> Success {
        switch self {
        case .success(let value): return value
        case .failure(let error): throw CheckpointError(.disk, "cannot write or read '\(path)' on the disk: \(error)")
        }
    }
}

/// How far a file is from its beginning, while its pieces arrive in any order.
final class PullProgress: Sendable {
    private struct State {
        var front: Int
        var noted: Int
        var ahead: [Int: Int] = [:]
    }

    private let state: Lock<State>
    private let size: Int
    private let interval: Int

    init(from offset: Int, size: Int, interval: Int) {
        self.size = size
        self.interval = interval
        state = Lock(State(front: offset, noted: offset))
    }

    /// - Returns: the offset to note, when enough has come since the last note.
    func finished(_ range: ByteRange) -> Int? {
        state.withLock { state in
            state.ahead[range.offset] = range.end
            while let end = state.ahead.removeValue(forKey: state.front) { state.front = end }
            guard state.front - state.noted >= interval || state.front == size, state.front > state.noted else {
                return nil
            }
            state.noted = state.front
            return state.front
        }
    }
}
