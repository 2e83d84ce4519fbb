import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TransferEngine

/// The staging of one large content as a row of parts; see FileStager.swift for the algorithm.
struct PartedStaging: Sendable {
    let stager: FileStager
    let file: SourceFile
    let upload: any PartedUpload

    private var resources: TransferResources { stager.resources }

    /// A run of bytes to bring to where it is missing.
    private struct Piece: Sendable {
        enum Way: Sendable {
            /// From the source, through the hash, into a part.
            case convey
            /// From the source into a part: an earlier run hashed it and could not store it. It must be the same.
            case refill([CRC32C])
            /// From a part through the hash.
            case readBack(HeldRun)
        }
        var range: ByteRange
        var way: Way
    }

    func stage(_ source: any RangedSource) async throws(SnapshotError) -> StagedContent {
        let heldBytes = upload.held.reduce(0) { $0 + $1.range.count }
        if heldBytes > 0 { resources.observer(.resumed(file.path, bytes: heldBytes)) }
        let digest = OrderedDigest(
            size: file.size,
            wantsGitOID: file.hash.isGit,
            resumed: upload.mark,
            markInterval: upload.markInterval,
            workers: resources.workers
        )
        let units = OrderedUnits(resources, file.path.value) { [upload] in
            digest.abandon()
            upload.giveUp()
        }
        let fetched = try await units.run(pieces(from: digest.start)) {
            piece,
            buffer throws(SnapshotError) in
            try await bring(piece, buffer, source, digest)
        }
        let digests = digest.finish()
        try stager.check(file, digests)
        try await stager.putTable(file, digests, granules(fetched.compactMap(\.self)))
        let whole = try await upload.complete(digests)
        // Until here the last unit's buffer is taken.
        withExtendedLifetime(fetched) {}
        return stager.staged(file, digests, whole)
    }

    /// What has to be brought, in order: gaps are fetched in units, and what is held behind `start` is read back in
    /// pieces that fit a buffer.
    private func pieces(from start: Int) -> [Piece] {
        let held = upload.held.filter { $0.object != nil || $0.range.end <= start }
        let gaps = UnitPlan.gaps(fileSize: file.size, tiles: held.map(\.range), unitSize: upload.unitSize)
        var pieces = gaps.map { range in
            let known = range.end <= start ? upload.granules(of: range) : nil
            return Piece(range: range, way: known.map { .refill($0) } ?? .convey)
        }
        for run in held where run.range.offset >= start {
            for piece in UnitPlan.gaps(fileSize: run.range.count, tiles: [], unitSize: resources.pool.bufferSize) {
                let range = ByteRange(offset: run.range.offset + piece.offset, count: piece.count)
                pieces.append(Piece(range: range, way: .readBack(run)))
            }
        }
        return pieces.sorted { $0.range.offset < $1.range.offset }
    }

    /// - Returns: what was fetched; nil for what was read back.
    private func bring(
        _ piece: Piece,
        _ buffer: BufferLease,
        _ source: any RangedSource,
        _ digest: OrderedDigest
    ) async throws(SnapshotError) -> FetchedUnit? {
        switch piece.way {
        case .readBack(let run):
            let granules = try await readBack(piece.range, run, buffer)
            let crc32c = GranuleAccumulator.combined(granules, count: piece.range.count)
            _ = await digest.absorb(piece.range, buffer, crc32c: crc32c)
            return nil
        case .refill(let expected):
            let unit = try await fetch(piece.range, buffer, source)
            guard unit.granules == expected else {
                let message = "\(file.path) has other bytes at \(piece.range) than an earlier run was sent"
                throw SnapshotError(.integrity, message, isResumable: true)
            }
            try await put(unit, buffer)
            return unit
        case .convey:
            let unit = try await fetch(piece.range, buffer, source)
            async let mark = digest.absorb(unit.range, buffer, crc32c: unit.crc32c)
            do throws(SnapshotError) {
                try await put(unit, buffer)
            } catch {
                digest.abandon()
                _ = await mark
                throw error
            }
            if let mark = await mark {
                await upload.keep(mark, after: unit)
                return unit
            }
            return unit.range.end == file.size ? unit.holding(buffer) : unit
        }
    }

    private func fetch(
        _ range: ByteRange,
        _ buffer: BufferLease,
        _ source: any RangedSource
    ) async throws(SnapshotError) -> FetchedUnit {
        let granules = try await resources.read(source, range, into: buffer, of: file.path.value)
        resources.observer(.fetched(range.count))
        return FetchedUnit(range, granules)
    }

    private func put(_ unit: FetchedUnit, _ buffer: BufferLease) async throws(SnapshotError) {
        try await upload.put(unit, ByteSegments(buffer, 0..<unit.range.count))
        resources.observer(.stored(unit.range.count))
    }

    private func readBack(
        _ range: ByteRange,
        _ run: HeldRun,
        _ buffer: BufferLease
    ) async throws(SnapshotError) -> [CRC32C] {
        guard let object = run.object else {
            throw SnapshotError(.internal, "\(file.path): \(range) cannot be read back")
        }
        let inPart = ByteRange(offset: range.offset - run.range.offset, count: range.count)
        let source = stager.store.source(object)
        let granules = try await resources.read(source, inPart, into: buffer, of: object.name.value)
        resources.observer(.readBack(range.count))
        let first = inPart.offset / UnitPlan.granule
        guard run.granules[first...].starts(with: granules) else {
            let message = "\(object.name) does not hold the bytes that were stored in it"
            throw SnapshotError(.integrity, message, isResumable: true)
        }
        return granules
    }

    /// The granules of the whole file: of held parts as their records say, of fetched ones as computed.
    private func granules(_ fetched: [FetchedUnit]) -> [CRC32C] {
        var runs = Dictionary(uniqueKeysWithValues: upload.held.map { ($0.range.offset, $0.granules) })
        for unit in fetched { runs[unit.range.offset] = unit.granules }
        return runs.sorted { $0.key < $1.key }.flatMap(\.value)
    }
}
