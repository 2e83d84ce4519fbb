import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TransferEngine

/// The staging of one large content as a row of parts; see FileStager.swift for the algorithm.
struct PartedStaging: Sendable {
    private let stager: FileStager
    private let file: SourceFile
    /// Parts of earlier runs that proved right and stand side by side, by offset.
    private let held: [Int: HeldPart]
    private let tiles: [ByteRange]
    private let states: [ObjectAttributes]

    private struct HeldPart: Sendable {
        var object: ObjectAttributes
        var metadata: PartMetadata
    }

    /// A run of bytes to bring through the hash: from the source, or read back from a part that is held.
    private struct Piece: Sendable {
        var range: ByteRange
        var held: HeldPart?
    }

    /// What a piece leaves: its granules, and the part it became if it was fetched.
    private struct Brought: Sendable {
        var range: ByteRange
        var granules: [CRC32C]
        var part: ObjectAttributes?
    }

    init(_ stager: FileStager, _ file: SourceFile, _ remains: TransferRemains) {
        self.stager = stager
        self.file = file
        var proven: [ByteRange: HeldPart] = [:]
        for object in remains.parts {
            guard let crc32c = object.crc32c,
                let metadata = try? PartMetadata(decoding: object.metadata, size: object.size, crc32c: crc32c),
                metadata.transfer == file.hash.transfer
            else { continue }
            proven[ByteRange(offset: metadata.offset, count: metadata.size)] = HeldPart(
                object: object,
                metadata: metadata
            )
        }
        tiles = UnitPlan.tiles(fileSize: file.size, held: Array(proven.keys))
        held = Dictionary(uniqueKeysWithValues: tiles.compactMap { tile in proven[tile].map { (tile.offset, $0) } })
        states = remains.states
    }

    private var resources: TransferResources { stager.resources }
    private var store: any ObjectStore { stager.store }

    func stage(_ source: any RangedSource) async throws(SnapshotError) -> StagedContent {
        let heldBytes = tiles.reduce(0) { $0 + $1.count }
        if heldBytes > 0 { resources.observer(.resumed(file.path, bytes: heldBytes)) }
        let digest = OrderedDigest(
            size: file.size,
            wantsGitOID: file.hash.isGit,
            resumed: await newestMark(),
            markInterval: resources.options.markInterval,
            workers: resources.workers
        )
        let units = OrderedUnits(resources, file.path.value, giveUp: digest.abandon)
        let brought = try await units.run(pieces(from: digest.start)) {
            piece,
            buffer throws(SnapshotError) in
            try await bring(piece, buffer, source, digest)
        }
        let digests = digest.finish()
        try stager.check(file, digests)
        try await stager.putTable(file, digests, granules(brought))
        let object = try await compose(parts(brought), digests)
        return stager.staged(file, digests, object)
    }

    /// What has to pass through the hash: everything from `start` on. Gaps are fetched in units, parts are read back in
    /// pieces that fit a buffer.
    private func pieces(from start: Int) -> [Piece] {
        let unit = UnitPlan.unitSize(fileSize: file.size, bufferSize: resources.pool.bufferSize)
        var pieces = UnitPlan.gaps(fileSize: file.size, tiles: tiles, unitSize: unit).map {
            Piece(range: $0, held: nil)
        }
        for part in held.values where part.metadata.offset >= start {
            let whole = ByteRange(offset: part.metadata.offset, count: part.metadata.size)
            for piece in UnitPlan.gaps(fileSize: whole.count, tiles: [], unitSize: resources.pool.bufferSize) {
                pieces.append(
                    Piece(range: ByteRange(offset: whole.offset + piece.offset, count: piece.count), held: part)
                )
            }
        }
        return pieces.sorted { $0.range.offset < $1.range.offset }
    }

    private func bring(
        _ piece: Piece,
        _ buffer: BufferLease,
        _ source: any RangedSource,
        _ digest: OrderedDigest
    ) async throws(SnapshotError) -> Brought {
        if let held = piece.held {
            let granules = try await readBack(piece.range, held, buffer)
            let crc32c = GranuleAccumulator.combined(granules, count: piece.range.count)
            _ = await digest.absorb(piece.range, buffer, crc32c: crc32c)
            return Brought(range: piece.range, granules: granules, part: nil)
        }
        let granules = try await resources.read(source, piece.range, into: buffer, of: file.path.value)
        resources.observer(.fetched(piece.range.count))
        let crc32c = GranuleAccumulator.combined(granules, count: piece.range.count)
        async let mark = digest.absorb(piece.range, buffer, crc32c: crc32c)
        let part: ObjectAttributes
        do throws(SnapshotError) {
            part = try await put(piece.range, buffer, granules, crc32c)
        } catch {
            digest.abandon()
            _ = await mark
            throw error
        }
        if let mark = await mark { await save(mark) }
        return Brought(range: piece.range, granules: granules, part: part)
    }

    private func readBack(
        _ range: ByteRange,
        _ part: HeldPart,
        _ buffer: BufferLease
    ) async throws(SnapshotError) -> [CRC32C] {
        let inPart = ByteRange(offset: range.offset - part.metadata.offset, count: range.count)
        let source = store.source(part.object)
        let granules = try await resources.read(source, inPart, into: buffer, of: part.object.name.value)
        resources.observer(.readBack(range.count))
        let first = inPart.offset / UnitPlan.granule
        for (index, granule) in granules.enumerated() where part.metadata.granules[first + index] != granule {
            let message = "\(part.object.name) does not hold the bytes that were stored in it"
            throw SnapshotError(.integrity, message, isResumable: true)
        }
        return granules
    }

    private func put(
        _ range: ByteRange,
        _ buffer: BufferLease,
        _ granules: [CRC32C],
        _ crc32c: CRC32C
    ) async throws(SnapshotError) -> ObjectAttributes {
        let metadata: [String: String]
        do throws(ManifestError) {
            let table = try CRCTable(granules: granules, size: range.count)
            metadata = try PartMetadata(transfer: file.hash.transfer, offset: range.offset, granules: table).encoded()
        } catch {
            throw SnapshotError(.internal, "\(file.path): \(error)")
        }
        let part = try await stager.storing(file) { () async throws(ObjectStoreError) in
            let name = try resources.paths.part(file.hash.transfer, lease: resources.lease, offset: range.offset)
            let options = WriteOptions(.absent, metadata: metadata, storageClass: "STANDARD", crc32c: crc32c)
            return try await put(name, ByteSegments(buffer, 0..<range.count), options)
        }
        resources.observer(.stored(range.count))
        return part
    }

    /// Nobody else writes under our lease: what stands there is of this run's first try at the file, was on its way when
    /// that was given up, and arrived late.
    private func put(
        _ name: ObjectName,
        _ body: ByteSegments,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        do throws(ObjectStoreError) {
            return try await store.put(name, body, options)
        } catch {
            guard error.code == .preconditionFailed else { throw error }
            let late = try await store.attributes(name, generation: nil)
            var replacing = options
            replacing.precondition = .generation(late.generation)
            return try await store.put(name, body, replacing)
        }
    }
}

// MARK: - Hash states

extension PartedStaging {
    /// Saves a state for a later run. A resume aid: a failure only makes that run read more back.
    private func save(_ mark: DigestMark) async {
        guard
            let state = try? HashState(
                transfer: file.hash.transfer,
                offset: mark.offset,
                crc32c: mark.crc32c,
                sha256: mark.sha256State,
                gitSHA1: mark.gitState
            ), let bytes = try? state.encoded(),
            let name = try? resources.paths.state(file.hash.transfer, offset: mark.offset)
        else { return }
        _ = try? await store.put(name, ByteSegments(bytes), WriteOptions(.absent, crc32c: CRC32C.of(bytes)))
    }

    /// The state that covers most of what the held parts hold without a gap, proven against them.
    private func newestMark() async -> DigestMark? {
        var reachable: [Int: CRC32C] = [:]
        var position = 0
        var crc32c = CRC32C.empty
        while let part = held[position] {
            crc32c = crc32c.combine(with: part.metadata.crc32c, count: part.metadata.size)
            position += part.metadata.size
            reachable[position] = crc32c
        }
        for object in states.sorted(by: { $1.name < $0.name }) {
            guard let offset = PenstockPaths.offset(in: object.name), let expected = reachable[offset],
                let (_, bytes) = try? await store.contents(
                    object.name,
                    generation: object.generation,
                    limit: HashState.maximumBytes
                ), let state = try? HashState(decoding: bytes), state.transfer == file.hash.transfer,
                state.offset == offset, state.crc32c == expected
            else { continue }
            return DigestMark(offset: offset, crc32c: expected, sha256State: state.sha256, gitState: state.gitSHA1)
        }
        return nil
    }
}

// MARK: - From parts to a whole

extension PartedStaging {
    /// The granules of the whole file: of held parts from their metadata, of fetched ones as computed.
    private func granules(_ brought: [Brought]) -> [CRC32C] {
        var runs = held.mapValues { part in (0..<part.metadata.granules.count).map { part.metadata.granules[$0] } }
        for piece in brought where piece.part != nil { runs[piece.range.offset] = piece.granules }
        return runs.sorted { $0.key < $1.key }.flatMap(\.value)
    }

    /// An object of a row that is to be joined.
    private struct Component: Sendable {
        var source: ComposeSource
        var size: Int
        var crc32c: CRC32C
    }

    private func parts(_ brought: [Brought]) -> [Component] {
        var components = held.mapValues { part in
            Component(
                source: ComposeSource(part.object.name, part.object.generation),
                size: part.metadata.size,
                crc32c: part.metadata.crc32c
            )
        }
        for piece in brought {
            guard let part = piece.part else { continue }
            components[piece.range.offset] = Component(
                source: ComposeSource(part.name, part.generation),
                size: piece.range.count,
                crc32c: GranuleAccumulator.combined(piece.granules, count: piece.range.count)
            )
        }
        return components.sorted { $0.key < $1.key }.map(\.value)
    }

    /// Joins the parts, in levels of 32 where there are more.
    private func compose(_ parts: [Component], _ digests: FileDigests) async throws(SnapshotError) -> ObjectAttributes {
        var row = parts
        var level = 0
        while row.count > 32 {
            let groups = stride(from: 0, to: row.count, by: 32).map { Array(row[$0..<min($0 + 32, row.count)]) }
            let currentLevel = level
            row = try await mapConcurrently(Array(groups.enumerated()), limit: 8) {
                numbered async throws(SnapshotError) in
                try await join(numbered.element, level: currentLevel, index: numbered.offset)
            }
            level += 1
        }
        let name = try stager.stagedName(file)
        let sources = row.map(\.source)
        let whole = try await stager.storing(file) { () async throws(ObjectStoreError) in
            try await store.compose(sources, into: name, stager.stagedOptions(file, digests))
        }
        guard whole.size == file.size, whole.crc32c == digests.crc32c else {
            try await stager.storing(file) { () async throws(ObjectStoreError) in
                try await store.delete(whole.name, whole.generation)
            }
            let message = "\(file.path), composed in the bucket, has another CRC32C than the bytes that were proven"
            throw SnapshotError(.integrity, message, isResumable: true)
        }
        return whole
    }

    /// Makes one temporary object of up to 32.
    private func join(_ group: [Component], level: Int, index: Int) async throws(SnapshotError) -> Component {
        if group.count == 1 { return group[0] }
        let size = group.reduce(0) { $0 + $1.size }
        let crc32c = group.reduce(CRC32C.empty) { $0.combine(with: $1.crc32c, count: $1.size) }
        let composite = try await stager.storing(file) { () async throws(ObjectStoreError) in
            let name = try resources.paths.composite(
                file.hash.transfer,
                lease: resources.lease,
                level: level,
                index: index
            )
            let options = WriteOptions(.absent, storageClass: "STANDARD", crc32c: crc32c)
            return try await store.compose(group.map(\.source), into: name, options)
        }
        return Component(source: ComposeSource(composite.name, composite.generation), size: size, crc32c: crc32c)
    }
}
