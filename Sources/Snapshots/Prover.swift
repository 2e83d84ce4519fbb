import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TransferEngine

/// Reads an object back from the bucket and proves that it is a file's content.
struct Prover: Sendable {
    let resources: TransferResources

    init(_ resources: TransferResources) { self.resources = resources }

    /// Every byte of the object through the hashes; its CRC table is stored anew from what was read.
    ///
    /// - Throws: `integrity` when it is not the file's content.
    func prove(_ object: ObjectAttributes, _ file: SourceFile) async throws(SnapshotError) -> FileDigests {
        let (digests, granules) = try await read(object, wantsGitOID: file.hash.isGit)
        let stager = FileStager(resources, commit: "")
        try stager.check(file, digests)
        guard object.crc32c == nil || object.crc32c == digests.crc32c else {
            throw SnapshotError(.integrity, "\(object.name) does not match the CRC32C that the bucket has for it")
        }
        try await stager.putTable(file, digests, granules)
        return digests
    }

    /// What one reading of an object gave.
    struct Reading: Sendable {
        var digests: FileDigests
        var granules: [CRC32C]
        /// The first granule that was not the table's twice in a row: the object is damaged there.
        var damagedGranule: Int?
    }

    /// Every byte of the object through the hashes.
    func read(
        _ object: ObjectAttributes,
        wantsGitOID: Bool
    ) async throws(SnapshotError) -> (digests: FileDigests, granules: [CRC32C]) {
        let reading = try await read(object, wantsGitOID: wantsGitOID, comparing: nil) { _ in }
        return (reading.digests, reading.granules)
    }

    /// Every byte of the object through the hashes. A piece that is not what the table says is read once more.
    ///
    /// - Parameters:
    ///   - table: of the object, proven; nil compares nothing.
    ///   - onMisread: told the offset of a granule that came wrong and then right: it was damaged on the way.
    func read(
        _ object: ObjectAttributes,
        wantsGitOID: Bool,
        comparing table: CRCTable?,
        onMisread: @escaping @Sendable (Int) -> Void
    ) async throws(SnapshotError) -> Reading {
        let digest = OrderedDigest(
            size: object.size,
            wantsGitOID: wantsGitOID,
            resumed: nil,
            markInterval: .max,
            workers: resources.workers
        )
        let source = resources.store.source(object)
        let name = object.name.value
        let damaged = Lock<Int?>(nil)
        let units = UnitPlan.gaps(fileSize: object.size, tiles: [], unitSize: resources.pool.bufferSize)
        let granules = try await OrderedUnits(resources, name, giveUp: digest.abandon).run(units) {
            unit,
            buffer throws(SnapshotError) in
            var granules = try await resources.read(source, unit, into: buffer, of: name)
            if let wrong = table?.firstDifference(from: granules, at: unit.offset) {
                granules = try await resources.read(source, unit, into: buffer, of: name)
                if let still = table?.firstDifference(from: granules, at: unit.offset) {
                    damaged.withLock { $0 = min($0 ?? still, still) }
                } else {
                    onMisread(wrong * CRCTable.granuleSize)
                }
            }
            resources.observer(.readBack(unit.count))
            let crc32c = GranuleAccumulator.combined(granules, count: unit.count)
            _ = await digest.absorb(unit, buffer, crc32c: crc32c)
            return granules
        }
        return Reading(
            digests: digest.finish(),
            granules: granules.flatMap { $0 },
            damagedGranule: damaged.withLock(\.self)
        )
    }
}

extension CRCTable {
    /// The first of the granules from `offset` on that has another CRC than the table says; all of them must be the
    /// object's.
    fileprivate func firstDifference(from granules: [CRC32C], at offset: Int) -> Int? {
        let first = offset / Self.granuleSize
        return granules.indices.first { first + $0 >= count || self[first + $0] != granules[$0] }.map { first + $0 }
    }
}
