import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TransferEngine

/// Parts that are objects of their own, each proven by the granule CRCs in its metadata, and composed at the end.
struct ComposedParts: PartedUpload {
    private let stager: FileStager
    private let file: SourceFile
    /// Every part that is in the bucket, by offset.
    private let components: Lock<[Int: Component]>

    let held: [HeldRun]
    let mark: DigestMark?

    /// An object of a row that is to be joined.
    private struct Component: Sendable {
        var source: ComposeSource
        var size: Int
        var crc32c: CRC32C
    }

    private var resources: TransferResources { stager.resources }
    private var store: any ObjectStore { stager.store }
    var unitSize: Int { stager.unitSize(file) }
    var markInterval: Int { resources.options.markInterval }

    /// Looks at what earlier runs left, and believes what proves right.
    static func open(_ stager: FileStager, _ file: SourceFile, _ remains: TransferRemains) async -> ComposedParts {
        var proven: [ByteRange: (object: ObjectAttributes, metadata: PartMetadata)] = [:]
        for object in remains.parts {
            guard let crc32c = object.crc32c,
                let metadata = try? PartMetadata(decoding: object.metadata, size: object.size, crc32c: crc32c),
                metadata.transfer == file.hash.transfer
            else { continue }
            proven[ByteRange(offset: metadata.offset, count: metadata.size)] = (object, metadata)
        }
        var held: [HeldRun] = []
        var components: [Int: Component] = [:]
        for tile in UnitPlan.tiles(fileSize: file.size, held: Array(proven.keys)) {
            guard let (object, metadata) = proven[tile] else { continue }
            let granules = (0..<metadata.granules.count).map { metadata.granules[$0] }
            held.append(HeldRun(range: tile, granules: granules, object: object))
            components[tile.offset] = Component(
                source: ComposeSource(object.name, object.generation),
                size: tile.count,
                crc32c: metadata.crc32c
            )
        }
        let mark = await newestMark(stager.store, file, held, remains.states)
        return ComposedParts(stager, file, components, held, mark)
    }

    private init(
        _ stager: FileStager,
        _ file: SourceFile,
        _ components: [Int: Component],
        _ held: [HeldRun],
        _ mark: DigestMark?
    ) {
        self.stager = stager
        self.file = file
        self.components = Lock(components)
        self.held = held
        self.mark = mark
    }

    /// Nothing before the mark is missing.
    func granules(of range: ByteRange) -> [CRC32C]? { nil }

    func put(_ unit: FetchedUnit, _ body: ByteSegments) async throws(SnapshotError) {
        let metadata: [String: String]
        do throws(ManifestError) {
            let table = try CRCTable(granules: unit.granules, size: unit.range.count)
            metadata = try PartMetadata(transfer: file.hash.transfer, offset: unit.range.offset, granules: table)
                .encoded()
        } catch {
            throw SnapshotError(.internal, "\(file.path): \(error)")
        }
        let part = try await stager.storing(file) { () async throws(ObjectStoreError) in
            let name = try resources.paths.part(file.hash.transfer, lease: resources.lease, offset: unit.range.offset)
            let options = WriteOptions(.absent, metadata: metadata, storageClass: "STANDARD", crc32c: unit.crc32c)
            return try await stager.put(name, body, options)
        }
        let component = Component(
            source: ComposeSource(part.name, part.generation),
            size: unit.range.count,
            crc32c: unit.crc32c
        )
        components.withLock { $0[unit.range.offset] = component }
    }

    func giveUp() {}

    /// Its parts are objects, which go with the others of the content.
    func abandon() async {}
}

// MARK: - Hash states

extension ComposedParts {
    func keep(_ mark: DigestMark, after unit: FetchedUnit) async {
        guard
            let state = try? HashState(mark, of: file.hash.transfer), let bytes = try? state.encoded(),
            let name = try? resources.paths.state(file.hash.transfer, offset: mark.offset)
        else { return }
        _ = try? await store.put(name, ByteSegments(bytes), WriteOptions(.absent, crc32c: CRC32C.of(bytes)))
    }

    /// The state that covers most of what the held parts hold without a gap, proven against them.
    private static func newestMark(
        _ store: any ObjectStore,
        _ file: SourceFile,
        _ held: [HeldRun],
        _ states: [ObjectAttributes]
    ) async -> DigestMark? {
        var reachable: [Int: CRC32C] = [:]
        var position = 0
        var crc32c = CRC32C.empty
        for run in held where run.range.offset == position {
            let part = GranuleAccumulator.combined(run.granules, count: run.range.count)
            crc32c = crc32c.combine(with: part, count: run.range.count)
            position = run.range.end
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
            return DigestMark(state)
        }
        return nil
    }
}

// MARK: - From parts to a whole

extension ComposedParts {
    /// Joins the parts, in levels of 32 where there are more.
    func complete(_ digests: FileDigests) async throws(SnapshotError) -> ObjectAttributes {
        var row = components.withLock { $0.sorted { $0.key < $1.key }.map(\.value) }
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
        let whole = try await compose(row, into: name, stager.stagedOptions(file, digests))
        return try await stager.compared(whole, file, digests)
    }

    /// Makes one temporary object of up to 32.
    private func join(_ group: [Component], level: Int, index: Int) async throws(SnapshotError) -> Component {
        if group.count == 1 { return group[0] }
        let size = group.reduce(0) { $0 + $1.size }
        let crc32c = group.reduce(CRC32C.empty) { $0.combine(with: $1.crc32c, count: $1.size) }
        let transfer = file.hash.transfer
        let name = try stager.named(file) { () throws(ObjectStoreError) in
            try resources.paths.composite(transfer, lease: resources.lease, level: level, index: index)
        }
        let options = WriteOptions(.absent, storageClass: "STANDARD", crc32c: crc32c)
        let composite = try await compose(group, into: name, options)
        return Component(source: ComposeSource(composite.name, composite.generation), size: size, crc32c: crc32c)
    }

    private func compose(
        _ row: [Component],
        into name: ObjectName,
        _ options: WriteOptions
    ) async throws(SnapshotError) -> ObjectAttributes {
        try await stager.storing(file) { () async throws(ObjectStoreError) in
            try await stager.writing(name, options) { options async throws(ObjectStoreError) in
                try await store.compose(row.map(\.source), into: name, options)
            }
        }
    }
}
