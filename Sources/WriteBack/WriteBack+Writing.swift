import Checksums
import Glibc
import LinuxPlatform
import ObjectStorage

// What applications do to the bytes of files.
extension WriteBack {
    /// Bytes of a file at most: the largest object of Cloud Storage.
    static let sizeLimit = 5 << 40

    /// Writes to the staging file and completes when the record of it is in the journal, for the next process to read.
    func write(
        _ request: TreeRequest,
        _ node: NameNode,
        _ bytes: UnsafeRawBufferPointer,
        at offset: Int,
        _ completion: @escaping @Sendable (Result<Void, Errno>) -> Void
    ) {
        let end = offset.addingReportingOverflow(bytes.count)
        guard offset >= 0, !end.overflow, end.partialValue <= Self.sizeLimit else {
            return completion(.failure(Errno(EFBIG)))
        }
        if bytes.isEmpty { return completion(.success(())) }
        let range = offset..<end.partialValue
        let staged = prepare(node, range)
        switch staged {
        case .failure(let error): completion(.failure(error))
        case .success(let room): admit(request, node, range, room, bytes, completion)
        }
    }

    /// Makes the staging file when there is none yet.
    ///
    /// - Returns: how many bytes the write will add to the disk.
    private func prepare(_ node: NameNode, _ range: Range<Int>) -> Result<Int, Errno> {
        do throws(Errno) {
            let number = try core.withLock { (core) throws(Errno) -> Int? in
                guard let file = core.engine.state.files[node] else { throw .stale }
                if file.staging != nil { return nil }
                core.lastStaging += 1
                return core.lastStaging
            }
            if let number {
                let file = try directory.create(StagingNames.name(number))
                let isUsed = try change { (core) throws(Errno) in
                    guard let known = core.engine.state.files[node] else { throw .stale }
                    // Another writer was faster.
                    if known.staging != nil { return false }
                    core.files[number] = file
                    try core.engine.record(
                        .staged(node, number: number, kept: core.engine.state.size(node) ?? 0)
                    )
                    return true
                }
                if !isUsed.value { try? directory.remove(StagingNames.name(number)) }
            }
            return .success(
                try core.withLock { (core) throws(Errno) in
                    guard let written = core.engine.state.staged[node]?.written else { throw .stale }
                    guard written.ranges.count < StagedFileRecord.rangeLimit else { throw Errno(EFBIG) }
                    return written.gaps(in: range).reduce(0) { $0 + $1.count }
                }
            )
        } catch {
            return .failure(error)
        }
    }

    /// Lets the write pass when there is room, or when others have made some.
    private func admit(
        _ request: TreeRequest,
        _ node: NameNode,
        _ range: Range<Int>,
        _ room: Int,
        _ bytes: UnsafeRawBufferPointer,
        _ completion: @escaping @Sendable (Result<Void, Errno>) -> Void
    ) {
        let answer = requestRoom(room, request) {
            let copy = Array(bytes)
            return { [self] error in
                if let error { return completion(.failure(error)) }
                copy.withUnsafeBytes { write(node, range, room, $0, completion) }
            }
        }
        switch answer {
        case .admitted: write(node, range, room, bytes, completion)
        case .never: completion(.failure(.noSpace))
        case .wait: break
        }
    }

    /// Writes bytes for which there is room.
    private func write(
        _ node: NameNode,
        _ range: Range<Int>,
        _ room: Int,
        _ bytes: UnsafeRawBufferPointer,
        _ completion: @escaping @Sendable (Result<Void, Errno>) -> Void
    ) {
        struct Begun {
            var token: Int
            var file: any WritableFile
            /// The bytes must not be there before all records so far are.
            var waits: Bool
        }
        do throws(Errno) {
            let (begun, position) = try change { (core) throws(Errno) -> Begun in
                guard let number = core.engine.state.files[node]?.staging, let file = core.files[number] else {
                    throw .stale
                }
                // The record of the old checksums must not outlive the old bytes.
                let isOver =
                    core.engine.state.staged[node]?.runs.hasRun(in: range) == true
                    || core.engine.state.names.files[node]?.isReady == true || core.engine.state.names.isCurrent(node)
                // Another write of these bytes may be waiting for the same record.
                let waits = isOver || core.engine.state.staged[node]?.isBeingWritten(range) == true
                if isOver { try core.engine.record(.overwriting(node, range)) }
                guard let (token, invalid) = core.engine.state.staged[node]?.beginWrite(range) else { throw .stale }
                core.engine.drop(node, invalid)
                return Begun(token: token, file: file, waits: waits)
            }
            guard begun.waits else {
                return finish(node, begun.token, room, bytes, range, begun.file, completion)
            }
            let copy = Array(bytes)
            commit(position, .process) { [self] result in
                if case .failure(let error) = result {
                    abandon(node, begun.token, room)
                    return completion(.failure(error))
                }
                copy.withUnsafeBytes { finish(node, begun.token, room, $0, range, begun.file, completion) }
            }
        } catch {
            giveBack(room)
            completion(.failure(error))
        }
    }

    /// Bytes of a file that the disk is told to write while the next ones come.
    private static let stretch = 8 << 20

    /// What lies behind a writer goes to the disk at once: fsync then waits for the last stretch, not for the whole file.
    private func beginWriting(_ file: any WritableFile, _ range: Range<Int>) {
        let (first, last) = (range.lowerBound / Self.stretch, range.upperBound / Self.stretch)
        guard first < last else { return }
        pool.submit { file.beginWriting((first * Self.stretch)..<(last * Self.stretch)) }
    }

    private func abandon(_ node: NameNode, _ token: Int, _ room: Int) {
        update { core in _ = core.engine.state.staged[node]?.finishWrite(token) }
        giveBack(room)
    }

    private func finish(
        _ node: NameNode,
        _ token: Int,
        _ room: Int,
        _ bytes: UnsafeRawBufferPointer,
        _ range: Range<Int>,
        _ file: any WritableFile,
        _ completion: @escaping @Sendable (Result<Void, Errno>) -> Void
    ) {
        do throws(Errno) {
            try file.write(bytes, at: range.lowerBound)
        } catch {
            abandon(node, token, room)
            return completion(.failure(error))
        }
        beginWriting(file, range)
        let runs = ChecksumRuns.pieces(of: bytes, at: range.lowerBound, layout: options.layout)
        let now = time.timeOfDay()
        do throws(Errno) {
            let (spare, position) = try change { (core) throws(Errno) -> Int in
                guard let (_, isTangled) = core.engine.state.staged[node]?.finishWrite(token) else { throw .stale }
                let before = core.engine.state.stagedBytes(node)
                try core.engine.record(.wrote(node, range, isTangled ? [] : runs, now))
                let spare = room - (core.engine.state.stagedBytes(node) - before)
                // Others have cut off bytes that stood there; before anybody gives them back.
                if spare < 0 { core.budget.adopt(-spare) }
                return spare
            }
            // Others have written the same bytes meanwhile.
            if spare > 0 { giveBack(spare) }
            commit(position, .process, completion)
        } catch {
            giveBack(room)
            completion(.failure(error))
        }
    }

    /// fsync: the bytes, the file's name, and the record of both.
    func synchronize(_ node: NameNode, _ completion: @escaping @Sendable (Result<Void, Errno>) -> Void) {
        pool.submit { [self] in
            do throws(Errno) {
                guard let begun = try beginSynchronization(node) else {
                    // Nothing of it is on this disk but records: one more, that its size is meant.
                    let (_, position) = try change { (core) throws(Errno) in
                        if core.engine.state.staged[node]?.isSizeUnsafe == true {
                            try core.engine.record(.synced(node, ExtentMap()))
                        }
                    }
                    return commit(position, .node, completion)
                }
                var failure: Errno?
                do throws(Errno) {
                    try begun.file.synchronizeData()
                    if !core.withLock({ $0.named.contains(begun.number) }) {
                        try directory.synchronize()
                        core.withLock { _ = $0.named.insert(begun.number) }
                    }
                } catch {
                    failure = error
                }
                let error = failure
                let (_, position) = try change { (core) throws(Errno) in
                    guard let ranges = core.engine.state.staged[node]?.finishSynchronization(begun.token) else {
                        return
                    }
                    if let error { try core.engine.record(.unsynced(node, error)) }
                    if let failed = core.engine.state.staged[node]?.failure { throw failed }
                    try core.engine.record(.synced(node, ranges))
                }
                commit(position, .node, completion)
            } catch {
                // The next process is to say so, too.
                commit(core.withLock { $0.position }, .process) { _ in completion(.failure(error)) }
            }
        }
    }

    private func beginSynchronization(
        _ node: NameNode
    ) throws(Errno) -> (token: Int, number: Int, file: any WritableFile)? {
        try core.withLock { (core) throws(Errno) in
            guard let file = core.engine.state.files[node] else { throw .stale }
            if let failure = core.engine.state.staged[node]?.failure { throw failure }
            guard let number = file.staging, let opened = core.files[number], core.engine.state.staged[node] != nil
            else { return nil }
            guard let token = try core.engine.state.staged[node]?.beginSynchronization() else { return nil }
            return (token, number, opened)
        }
    }

    /// ftruncate, O_TRUNC: what is cut off is gone for everybody at once; what stands in the bucket stays until the new content
    /// is whole.
    func truncate(_ node: NameNode, to size: Int, _ core: inout Core) throws(Errno) {
        guard size >= 0, size <= Self.sizeLimit else { throw Errno(EFBIG) }
        guard let old = core.engine.state.size(node) else { throw .stale }
        if old == size { return }
        if let staged = core.engine.state.staged[node] {
            // The parts that it touches, before the record forgets them.
            var copy = staged
            core.engine.drop(node, copy.truncate(to: size))
        }
        try core.engine.record(.truncated(node, size, time.timeOfDay()))
        if size == 0, core.engine.state.files[node]?.staging != nil,
            core.engine.state.staged[node]?.isBeingWritten == false
        {
            // What comes now goes to a new file: this one need not be cut, and its record is older than its end.
            try core.engine.record(.unstaged(node))
        }
    }
}
