package import Checksums
package import LinuxPlatform

/// A part of a written file as it was offered for upload. A part of another revision has other bytes.
package struct PartVersion: Hashable, Sendable {
    package var part: Int
    package var revision: Int
    package var range: Range<Int>
    /// Of the bytes, as the application wrote them; nil when it is not known.
    package var crc32c: CRC32C?
}

/// Where bytes of a written file are to be found.
package enum StagedPiece: Hashable, Sendable {
    /// In the staging file, at the same offsets.
    case staged(Range<Int>)
    /// In the object that the file replaces, at the same offsets.
    case replaced(Range<Int>)
    case zeros(Range<Int>)
}

/// What is known of a file that is being written: which bytes are where, which are safe, which may be uploaded.
///
/// Writes come as two events, before and after the bytes reach the staging file, so that nobody who reads them
/// meanwhile believes them. Truncation is one event: it moves no byte, for what was cut off is not looked at again.
package struct StagedFileState: Sendable {
    /// In bytes, as applications see it.
    package private(set) var size: Int
    /// What the staging file holds.
    package private(set) var written = ExtentMap()
    /// What of it is on stable storage: as it is now or, where it was written over since, maybe as it was before.
    package private(set) var synced = ExtentMap()
    /// So many bytes of the replaced object show where nothing was written.
    package private(set) var kept: Int
    package private(set) var runs: ChecksumRuns
    /// No handle can write any more.
    package private(set) var isSealed = false
    /// Why a synchronization failed. Stays: nobody can say what of the bytes is on the disk.
    package private(set) var failure: Errno?

    /// It was cut off, or its size was declared, and that was not synchronized.
    private(set) var isSizeUnsafe = false

    private var revisions: [Int: Int] = [:]
    private var offered: Set<Int> = []
    /// All parts before this one are offered.
    private var offeredFront = 0
    private var writes: [Int: Write] = [:]
    private var synchronizations: [Int: ExtentMap] = [:]
    private var lastToken = 0

    private struct Write {
        var range: Range<Int>
        /// Another write of the same bytes is under way, or they were cut off: nobody knows which came last.
        var isTangled = false
    }

    package var layout: PartLayout { runs.layout }
    /// How many bytes from 0 on were written without a gap.
    package var front: Int { written.front }

    /// - Parameter kept: the size of the object that the file replaces, where its bytes show until they are written over.
    package init(kept: Int = 0, layout: PartLayout = .standard) {
        size = kept
        self.kept = kept
        runs = ChecksumRuns(layout: layout)
    }

    /// As it was recorded. Bytes that were written later are not there.
    ///
    /// - Parameter isSameBoot: the machine has been running since; otherwise only what was synced is there.
    package init(_ record: StagedFileRecord, isSameBoot: Bool, layout: PartLayout = .standard) {
        size = record.size
        kept = record.kept
        written = isSameBoot ? record.written : record.synced
        synced = record.synced
        let written = written
        runs = ChecksumRuns(layout: layout)
        runs.insert(record.runs.filter { written.contains($0.range) })
        isSealed = record.isSealed
        failure = record.failure
        // The record does not say: `synchronized` does, if it is not so.
        isSizeUnsafe = isSameBoot
    }

    private mutating func token() -> Int {
        lastToken += 1
        return lastToken
    }

    // MARK: Changes

    /// Bytes of the range are about to change. `endWrite` must follow.
    ///
    /// - Returns: a name for the write; and the parts that were offered and are not any more.
    package mutating func beginWrite(_ range: Range<Int>) -> (write: Int, invalid: [PartVersion]) {
        var write = Write(range: range)
        for (token, other) in writes where other.range.overlaps(range) {
            writes[token]?.isTangled = true
            write.isTangled = true
        }
        let token = token()
        writes[token] = write
        return (token, change(range))
    }

    /// Whether a write of some of these bytes has begun and not ended.
    package func isBeingWritten(_ range: Range<Int>) -> Bool { writes.values.contains { $0.range.overlaps(range) } }

    /// The bytes are in the staging file; without `checksums`, some of them may be, and nothing counts.
    ///
    /// - Parameter checksums: as `ChecksumRuns.pieces` makes them of the bytes.
    package mutating func endWrite(_ token: Int, checksums: [ChecksumRuns.Run]?) {
        guard let (range, isTangled) = finishWrite(token), let checksums else { return }
        wrote(range, checksums: isTangled ? [] : checksums)
    }

    /// The write is over; nothing counts before `wrote`.
    ///
    /// - Returns: its range; and whether nobody knows what of it and of another write came last. Nil for an unknown one.
    package mutating func finishWrite(_ token: Int) -> (range: Range<Int>, isTangled: Bool)? {
        writes.removeValue(forKey: token).map { ($0.range, $0.isTangled) }
    }

    /// Bytes are in the staging file.
    package mutating func wrote(_ range: Range<Int>, checksums: [ChecksumRuns.Run]) {
        written.insert(range)
        size = max(size, range.upperBound)
        runs.remove(range)
        runs.insert(checksums)
    }

    /// Writes are on their way to the staging file.
    package var isBeingWritten: Bool { !writes.isEmpty }

    /// Sets the size. What is beyond it is gone; what is added is zeros.
    ///
    /// - Returns: the parts that were offered and are not any more.
    package mutating func truncate(to size: Int) -> [PartVersion] {
        let changed = min(size, self.size)..<max(size, self.size)
        for (token, write) in writes where write.range.upperBound > size { writes[token]?.isTangled = true }
        let invalid = change(changed)
        written.remove(size..<Int.max)
        synced.remove(size..<Int.max)
        for token in synchronizations.keys { synchronizations[token]?.remove(size..<Int.max) }
        kept = min(kept, size)
        self.size = size
        isSizeUnsafe = true
        return invalid
    }

    /// Forgets what is believed of bytes that change.
    private mutating func change(_ range: Range<Int>) -> [PartVersion] {
        // What grows changes the last part, too, where that was offered with fewer bytes.
        let touched = range.isEmpty ? range : min(range.lowerBound, size)..<range.upperBound
        var invalid: [PartVersion] = []
        let parts = layout.parts(of: touched)
        // A write touches one of many, a declared size many of few.
        let hit = parts.count < offered.count ? parts.filter(offered.contains) : offered.filter(parts.contains).sorted()
        for part in hit {
            invalid.append(version(part))
            takeBack(part)
        }
        runs.remove(range)
        return invalid
    }

    // MARK: Parts

    private func version(_ part: Int) -> PartVersion {
        let range = layout.range(of: part).clamped(to: 0..<size)
        return PartVersion(
            part: part,
            revision: revisions[part, default: 0],
            range: range,
            crc32c: runs.checksum(of: range, holes: holes(in: range))
        )
    }

    /// All bytes that were never written, and are zeros.
    private func holes(in range: Range<Int>) -> [Range<Int>] {
        written.gaps(in: range).compactMap { gap in
            let hole = max(gap.lowerBound, kept)..<max(gap.upperBound, kept)
            return hole.isEmpty ? nil : hole
        }
    }

    /// No handle writes any more, until `reopen`: the last part is as long as it is, and holes are zeros for good.
    package mutating func seal() { isSealed = true }

    /// A handle may write again. What was offered stays so until it is changed.
    package mutating func reopen() { isSealed = false }

    /// How many parts the file has, as long as it is now.
    package var partCount: Int { layout.parts(of: 0..<size).upperBound }

    /// Whether the part may be uploaded: its bytes are not expected to change.
    package func isRipe(_ part: Int) -> Bool {
        let range = layout.range(of: part)
        guard range.lowerBound < size, !writes.values.contains(where: { $0.range.overlaps(range) }) else {
            return false
        }
        if isSealed { return true }
        return range.upperBound <= front && runs.checksum(of: range) != nil
    }

    /// The next part that may be uploaded and was not offered since it changed; it counts as offered from now on.
    package mutating func offerPart() -> PartVersion? {
        let end = isSealed ? partCount : layout.part(at: front)
        while offered.contains(offeredFront) { offeredFront += 1 }
        for part in offeredFront..<max(offeredFront, end) where !offered.contains(part) && isRipe(part) {
            offered.insert(part)
            return version(part)
        }
        return nil
    }

    /// Whether the part still has the bytes that it had when it was offered.
    package func isCurrent(_ version: PartVersion) -> Bool {
        offered.contains(version.part) && revisions[version.part, default: 0] == version.revision
    }

    /// Of the whole file; nil when it is not known, or the replaced object shows.
    package var checksum: CRC32C? { runs.checksum(of: 0..<size, holes: holes(in: 0..<size)) }

    /// Where the bytes of the range are, in order; nothing beyond the size.
    package func pieces(of range: Range<Int>) -> [StagedPiece] {
        let range = range.clamped(to: 0..<size)
        var pieces: [StagedPiece] = []
        var position = range.lowerBound
        func addGap(to end: Int) {
            let old = position..<max(position, min(end, kept))
            if !old.isEmpty { pieces.append(.replaced(old)) }
            let zeros = max(position, old.upperBound)..<max(end, position)
            if !zeros.isEmpty { pieces.append(.zeros(zeros)) }
        }
        for part in written.parts(of: range) {
            addGap(to: part.lowerBound)
            pieces.append(.staged(part))
            position = part.upperBound
        }
        addGap(to: range.upperBound)
        return pieces
    }

    /// The bytes are not proven any more; they may be right all the same.
    package mutating func forgetChecksums(of range: Range<Int>) { runs.remove(range) }

    // MARK: Synchronization

    /// The synchronization that begins now will have made safe what is there now, in this version or a later one.
    ///
    /// - Throws: why an earlier one failed.
    package mutating func beginSynchronization() throws(Errno) -> Int {
        if let failure { throw failure }
        let token = token()
        synchronizations[token] = written
        return token
    }

    /// - Parameter failure: nil when the disk confirmed.
    /// - Returns: what to record; it is safe when the record is.
    package mutating func endSynchronization(_ token: Int, failure: Errno?) throws(Errno) -> StagedFileRecord {
        let ranges = finishSynchronization(token)
        if let failure { failed(failure) }
        if let failure = self.failure { throw failure }
        synchronized(ranges)
        return record
    }

    /// The synchronization is over; nothing counts before `synchronized`.
    ///
    /// - Returns: the ranges that were there when it began, and are still.
    package mutating func finishSynchronization(_ token: Int) -> ExtentMap {
        synchronizations.removeValue(forKey: token) ?? ExtentMap()
    }

    /// The ranges are on stable storage, and so is the size.
    package mutating func synchronized(_ ranges: ExtentMap) {
        synced.formUnion(ranges)
        isSizeUnsafe = false
    }

    /// A synchronization failed. The first reason stays.
    package mutating func failed(_ failure: Errno) { if self.failure == nil { self.failure = failure } }

    /// What was offered is offered again: the parts in the bucket went into an object that was published.
    package mutating func withdraw(_ parts: [Int]) {
        for part in parts where offered.contains(part) { takeBack(part) }
    }

    private mutating func takeBack(_ part: Int) {
        offered.remove(part)
        offeredFront = min(offeredFront, part)
        revisions[part, default: 0] += 1
    }

    /// What the journal needs to know of the file, as it is now. Committed at `process`, it outlives this process with all
    /// that was written; at `node`, with all that is synced.
    package var record: StagedFileRecord {
        StagedFileRecord(
            size: size,
            kept: kept,
            written: written,
            synced: synced,
            runs: Array(runs.runs.prefix(StagedFileRecord.runLimit)),
            isSealed: isSealed,
            failure: failure
        )
    }
}
