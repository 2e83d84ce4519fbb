import Checksums
import LinuxPlatform
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

    /// Every byte of the object through the hashes.
    func read(
        _ object: ObjectAttributes,
        wantsGitOID: Bool
    ) async throws(SnapshotError) -> (digests: FileDigests, granules: [CRC32C]) {
        let digest = OrderedDigest(
            size: object.size,
            wantsGitOID: wantsGitOID,
            resumed: nil,
            markInterval: .max,
            workers: resources.workers
        )
        let source = resources.store.source(object)
        let name = object.name.value
        let units = UnitPlan.gaps(fileSize: object.size, tiles: [], unitSize: resources.pool.bufferSize)
        let granules = try await OrderedUnits(resources, name, giveUp: digest.abandon).run(units) {
            unit,
            buffer throws(SnapshotError) in
            let granules = try await resources.read(source, unit, into: buffer, of: name)
            resources.observer(.readBack(unit.count))
            let crc32c = GranuleAccumulator.combined(granules, count: unit.count)
            _ = await digest.absorb(unit, buffer, crc32c: crc32c)
            return granules
        }
        return (digest.finish(), granules.flatMap { $0 })
    }
}
