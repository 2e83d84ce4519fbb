import Checksums
import LinuxPlatform
import ObjectStorage

// Bytes of files: from the staging file, from the object that shows through, and from applications.
extension WriteBack {
    /// Where the bytes of a range are, and what is needed to read them there.
    struct Places: Sendable {
        var pieces: [StagedPiece] = []
        var file: (any WritableFile)?
        /// The object that shows through.
        var standing: ObjectAttributes?
    }

    /// Of what the file has now; the whole object where nothing is staged.
    func places(_ core: Core, _ node: NameNode, _ range: Range<Int>) throws(Errno) -> Places {
        guard let file = core.engine.state.files[node] else { throw .stale }
        var places = Places()
        places.file = file.staging.flatMap { core.files[$0] }
        if let identity = file.standing, let name = core.engine.state.names.files[node]?.stands,
            let object = try? root.name(name.value)
        {
            places.standing = ObjectAttributes(
                name: object,
                generation: identity.generation,
                size: identity.size,
                crc32c: identity.crc32c
            )
        }
        if let pieces = core.engine.state.staged[node]?.pieces(of: range) {
            places.pieces = pieces
        } else {
            let rest = range.clamped(to: 0..<(file.standing?.size ?? 0))
            if !rest.isEmpty { places.pieces = [.replaced(rest)] }
        }
        return places
    }

    /// Fills the buffer, from its beginning on, with the pieces. Blocks for the disk; bytes of the object are left out.
    ///
    /// - Returns: how many bytes there are; and which of the object are missing, by file offsets.
    static func fill(
        _ buffer: UnsafeMutableRawBufferPointer,
        from start: Int,
        _ places: Places
    ) throws(Errno) -> (count: Int, missing: [Range<Int>]) {
        var (count, missing) = (0, [Range<Int>]())
        for piece in places.pieces {
            switch piece {
            case .zeros(let range):
                let target = buffer[(range.lowerBound - start)..<(range.upperBound - start)]
                UnsafeMutableRawBufferPointer(rebasing: target).initializeMemory(as: UInt8.self, repeating: 0)
                count += range.count
            case .replaced(let range):
                missing.append(range)
                count += range.count
            case .staged(let range):
                let target = buffer[(range.lowerBound - start)..<(range.upperBound - start)]
                guard let file = places.file,
                    try file.read(into: UnsafeMutableRawBufferPointer(rebasing: target), at: range.lowerBound)
                        == range.count
                else { throw .inputOutput }
                count += range.count
            }
        }
        return (count, missing)
    }

    /// Reads the range into the buffer: the disk on a thread for it, the object with requests.
    ///
    /// - Parameter waits: for a publication or move of the file, when its object is not where it was. Whoever publishes must not.
    func read(
        _ node: NameNode,
        _ range: Range<Int>,
        into lease: BufferLease,
        waits: Bool = false
    ) async throws(ObjectStoreError) -> Int {
        while true {
            let found = core.withLock { core in Result { () throws(Errno) in try places(core, node, range) } }
            guard case .success(let places) = found else {
                throw ObjectStoreError(.notFound, "file \(node.number) is gone")
            }
            do throws(ObjectStoreError) {
                // What is published is read once.
                return try await read(node, range, places, into: lease, by: waits ? reading : plainReading)
            } catch {
                guard error.code == .notFound, await isElsewhere(node, than: places, waits: waits) else { throw error }
            }
        }
    }

    /// Whether the object that the file shows has another name or generation by now: it was moved, or published anew.
    private func isElsewhere(_ node: NameNode, than places: Places, waits: Bool) async -> Bool {
        await withCheckedContinuation { continuation in
            ask { [self] core in
                let now = try? self.places(core, node, 0..<0).standing
                if let now, (now.name, now.generation) != (places.standing?.name, places.standing?.generation) {
                    return { continuation.resume(returning: true) }
                }
                let names = core.engine.state.names
                let isMoving =
                    names.files[node]?.isBusy == true || names.files[node]?.stands.map { names.isInTransit($0) } == true
                if waits, !core.isClosed, isMoving { return nil }
                return { continuation.resume(returning: false) }
            }
        }
    }

    private func read(
        _ node: NameNode,
        _ range: Range<Int>,
        _ places: Places,
        into lease: BufferLease,
        by reading: any ObjectReading
    ) async throws(ObjectStoreError) -> Int {
        let filled = await pool.run { () -> Result<(count: Int, missing: [Range<Int>]), Errno> in
            Result { () throws(Errno) in try Self.fill(lease.bytes, from: range.lowerBound, places) }
        }
        switch filled {
        case .failure(let error):
            throw ObjectStoreError(.unavailable, "the staging file of \(node.number) cannot be read: \(error)")
        case .success(let (count, missing)):
            if missing.isEmpty { return count }
            guard let standing = places.standing else {
                // It has no name any more, and another file was published in its place.
                throw ObjectStoreError(.notFound, "the object that file \(node.number) shows was replaced")
            }
            for gap in missing {
                let wanted = ByteRange(offset: gap.lowerBound, count: gap.count)
                try await reading.copy(standing, wanted, into: lease, at: gap.lowerBound - range.lowerBound)
            }
            return count
        }
    }

    /// The bytes of a request, in memory that counts against the window.
    func body(_ node: NameNode, _ range: Range<Int>) async throws(ObjectStoreError) -> ByteSegments {
        if range.isEmpty { return ByteSegments() }
        let lease: BufferLease
        do { lease = try await buffers.leaseWhenFree() } catch {
            throw ObjectStoreError(.cancelled, "an upload of file \(node.number) was cancelled")
        }
        guard try await read(node, range, into: lease) == range.count else {
            throw ObjectStoreError(.unavailable, "file \(node.number) has become shorter while it was sent")
        }
        return ByteSegments(lease, 0..<range.count)
    }

    /// Of the bytes as they are now.
    func checksum(_ node: NameNode, _ range: Range<Int>) async throws(ObjectStoreError) -> CRC32C {
        var crc32c = CRC32C.empty
        var position = range.lowerBound
        while position < range.upperBound {
            let piece = position..<min(range.upperBound, position + options.chunk)
            let lease: BufferLease
            do { lease = try await buffers.leaseWhenFree() } catch {
                throw ObjectStoreError(.cancelled, "reading file \(node.number) was cancelled")
            }
            guard try await read(node, piece, into: lease) == piece.count else {
                throw ObjectStoreError(.unavailable, "file \(node.number) has become shorter while it was read")
            }
            let before = crc32c
            crc32c = await pool.run {
                before.updated(with: UnsafeRawBufferPointer(rebasing: lease.bytes[..<piece.count]))
            }
            position = piece.upperBound
        }
        return crc32c
    }

    /// Compares the staging file with the checksums of what applications wrote: the machine has died since.
    func check(_ node: NameNode) async {
        let (runs, file) = core.withLock { core in
            (
                core.engine.state.staged[node]?.runs.runs ?? [],
                core.engine.state.files[node]?.staging.flatMap { core.files[$0] }
            )
        }
        var wrong: [Range<Int>] = []
        for run in runs where !isClosed {
            let isRight = await pool.run { file.map { Self.matches($0, run) } ?? false }
            if !isRight { wrong.append(run.range) }
        }
        let found = wrong
        update { $0.engine.checked(node, found) }
    }

    private static func matches(_ file: any WritableFile, _ run: ChecksumRuns.Run) -> Bool {
        let lease = BufferLease(size: min(run.range.count, 1 << 20))
        var crc32c = CRC32C.empty
        var position = run.range.lowerBound
        while position < run.range.upperBound {
            let count = min(lease.count, run.range.upperBound - position)
            let piece = UnsafeMutableRawBufferPointer(rebasing: lease.bytes[..<count])
            guard let read = try? file.read(into: piece, at: position), read == count else { return false }
            crc32c = crc32c.updated(with: UnsafeRawBufferPointer(piece))
            position += count
        }
        return crc32c == run.crc32c
    }
}
