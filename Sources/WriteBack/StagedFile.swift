import Checksums
import Glibc
package import LinuxPlatform

/// A written file on the local disk: what applications write goes here, what they read comes from here, and uploads read
/// here what they send.
///
/// Any thread may call anything. No lock is held over I/O: what overlaps on the disk is tracked by the state.
package final class StagedFile: Sendable {
    private let file: any WritableFile
    private let directory: any WritableDirectory
    private let state: Lock<StagedFileState>
    /// The name of the file is on stable storage.
    private let isNamed: Lock<Bool>

    /// Makes a new file of this name, without content.
    ///
    /// - Throws: `exists`, or what the disk says.
    package init(creating name: String, in directory: any WritableDirectory, _ state: StagedFileState) throws(Errno) {
        self.directory = directory
        file = try directory.create(name)
        self.state = Lock(state)
        isNamed = Lock(false)
    }

    /// Opens a file that a journal's record describes.
    ///
    /// - Parameter isSameBoot: of the journal's recovery: then what was written is there, and not only what was synced.
    /// - Throws: `stale` when the file is too short for the record; `noEntry` when it is missing.
    package init(
        opening name: String,
        in directory: any WritableDirectory,
        _ record: StagedFileRecord,
        isSameBoot: Bool,
        layout: PartLayout = .standard
    ) throws(Errno) {
        self.directory = directory
        file = try directory.open(name)
        let state = StagedFileState(record, isSameBoot: isSameBoot, layout: layout)
        guard try file.size() >= state.written.end else { throw .stale }
        self.state = Lock(state)
        // The name came with the first synchronization; without one, nobody knows.
        isNamed = Lock(!record.synced.isEmpty)
    }

    /// A look at the state, or a change that moves no byte: sealing, truncating, offering parts.
    package func withState<Value>(_ body: (inout StagedFileState) -> Value) -> Value { state.withLock(body) }

    /// Writes bytes at `offset`.
    ///
    /// - Parameter invalidated: gets the parts whose uploads are not the file's content any more, before the bytes change.
    /// - Throws: what the disk says; then some of the bytes may be there, and none count.
    package func write(
        _ bytes: UnsafeRawBufferPointer,
        at offset: Int,
        invalidated: ([PartVersion]) -> Void = { _ in }
    ) throws(Errno) {
        guard offset >= 0, !offset.addingReportingOverflow(bytes.count).overflow else { throw Errno(EFBIG) }
        if bytes.isEmpty { return }
        let (layout, write, invalid) = state.withLock { state in
            let (write, invalid) = state.beginWrite(offset..<(offset + bytes.count))
            return (state.layout, write, invalid)
        }
        if !invalid.isEmpty { invalidated(invalid) }
        do throws(Errno) {
            try file.write(bytes, at: offset)
        } catch {
            state.withLock { $0.endWrite(write, checksums: nil) }
            throw error
        }
        let checksums = ChecksumRuns.pieces(of: bytes, at: offset, layout: layout)
        state.withLock { $0.endWrite(write, checksums: checksums) }
    }

    /// Fills the buffer from `offset` on with what was written, and zeros where nothing was.
    ///
    /// - Parameter replaced: gets the ranges of the buffer (by file offsets) that only the replaced object has.
    /// - Returns: the bytes until the file ends.
    package func read(
        into buffer: UnsafeMutableRawBufferPointer,
        at offset: Int,
        replaced: (Range<Int>, UnsafeMutableRawBufferPointer) throws(Errno) -> Void
    ) throws(Errno) -> Int {
        let end = offset.addingReportingOverflow(buffer.count)
        guard offset >= 0, !end.overflow else { throw .invalidArgument }
        var count = 0
        for piece in state.withLock({ $0.pieces(of: offset..<end.partialValue) }) {
            func target(_ range: Range<Int>) -> UnsafeMutableRawBufferPointer {
                count += range.count
                let slice = buffer[(range.lowerBound - offset)..<(range.upperBound - offset)]
                return UnsafeMutableRawBufferPointer(rebasing: slice)
            }
            switch piece {
            case .zeros(let range): target(range).initializeMemory(as: UInt8.self, repeating: 0)
            case .replaced(let range): try replaced(range, target(range))
            case .staged(let range):
                // Shorter than what was written to it: somebody else cut it off.
                guard try file.read(into: target(range), at: range.lowerBound) == range.count else {
                    throw .inputOutput
                }
            }
        }
        return count
    }

    /// Makes what was written before the call safe on the disk. The caller commits the record at `node`, in the order in
    /// which `record` is called; then, and not before, fsync may succeed.
    ///
    /// - Parameter record: called once under the file's lock, so that records have the order of states: enqueue it there.
    /// - Throws: what the disk said, now or earlier: a failed synchronization stays failed. `EFBIG` when the file is in more
    ///   pieces than a record can name.
    package func synchronize<Value>(_ record: (StagedFileRecord) throws(Errno) -> Value) throws(Errno) -> Value {
        let token = try state.withLock { (state) throws(Errno) in try state.beginSynchronization() }
        var failure: Errno?
        do throws(Errno) {
            try file.synchronizeData()
            if !isNamed.withLock({ $0 }) {
                try directory.synchronize()
                isNamed.withLock { $0 = true }
            }
        } catch {
            failure = error
        }
        return try state.withLock { (state) throws(Errno) in
            let made = try state.endSynchronization(token, failure: failure)
            if !made.fits { throw Errno(EFBIG) }
            return try record(made)
        }
    }

    /// Whether the bytes of each run that is proven are what the application wrote; for a start after the machine died. A
    /// run that differs was written over and not synchronized, or the disk is wrong: it is not proven any more.
    ///
    /// - Returns: the ranges that differ.
    package func check(buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> [Range<Int>] {
        var wrong: [Range<Int>] = []
        for run in state.withLock({ $0.runs.runs }) {
            var crc32c = CRC32C.empty
            var position = run.range.lowerBound
            while position < run.range.upperBound {
                let piece = UnsafeMutableRawBufferPointer(
                    rebasing: buffer[..<min(buffer.count, run.range.upperBound - position)]
                )
                let count = try file.read(into: piece, at: position)
                if count == 0 { break }
                crc32c = crc32c.updated(with: UnsafeRawBufferPointer(rebasing: piece[..<count]))
                position += count
            }
            if crc32c != run.crc32c { wrong.append(run.range) }
        }
        let found = wrong
        state.withLock { state in for range in found { state.forgetChecksums(of: range) } }
        return wrong
    }
}
