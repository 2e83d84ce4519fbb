import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import Publication
import Snapshots
import TestSupport
import Testing

/// A destination in memory and what conveys into it.
struct Bench {
    let time: ManualTime
    let bucket: MemoryBucket

    init(_ options: MemoryBucket.Options = MemoryBucket.Options()) {
        time = ManualTime()
        bucket = MemoryBucket(options, time: time)
    }

    static let prefix = ObjectPrefix("models/tiny")

    func store(_ faults: StoreFaultHook? = nil) -> MemoryObjectStore {
        MemoryObjectStore(bucket, hook: faults)
    }

    func conveyor(
        _ store: any ObjectStore,
        _ options: ConveyorOptions = Bench.options(),
        observer: @escaping ConveyanceObserver = { _ in }
    ) -> Conveyor {
        Conveyor(to: store, prefix: Self.prefix, options: options, time: time, observer: observer)
    }

    /// Small buffers, so that small files are large.
    static func options() -> ConveyorOptions {
        var options = ConveyorOptions(memory: 4 << 20)
        options.markInterval = 1 << 20
        return options
    }

    func verify(_ options: ConveyorOptions = Bench.options()) async throws -> VerificationReport {
        let verifier = SnapshotVerifier(store(), prefix: Self.prefix, options: options, time: time) { _ in }
        return try await verifier.verify()
    }

    /// Every object under the prefix that is not a file of the snapshot, its manifest or a CRC table.
    func leftovers() async throws -> [String] {
        let listing = try await DestinationListing(store(), PenstockPaths(Self.prefix))
        var left = listing.temporaries + listing.unusable
        if let lease = listing.lease { left.append(lease) }
        if let intent = listing.intent { left.append(intent) }
        return left.map(\.name.value)
    }

    func contents(_ path: String) async throws -> [UInt8] {
        let name = try Self.prefix.name(path)
        return try await store().contents(name, generation: nil, limit: 64 << 20).bytes
    }
}

struct ConveyorTests {
    static func files(_ seed: UInt64) -> [String: [UInt8]] {
        var random = SeededRandom(seed: seed)
        return [
            "model.safetensors": random.bytes((3 << 20) + 12_345),
            "sub/tokenizer.json": random.bytes(200_000),
            "config.json": random.bytes(612),
            "empty": [],
        ]
    }

    @Test func everyFileArrivesAndIsProven() async throws {
        let bench = Bench()
        let contents = Self.files(1)
        let source = try MemorySource(contents)
        let report = try await bench.conveyor(bench.store()).convey(source)
        #expect(report.outcome == .conveyed)
        #expect(source.fetchedBytes == contents.values.reduce(0) { $0 + $1.count })
        for (path, bytes) in contents { #expect(try await bench.contents(path) == bytes) }
        let verified = try await bench.verify()
        #expect(verified.problems.isEmpty && verified.verifiedFiles == 4 && verified.unlisted.isEmpty)
        #expect(try await bench.leftovers() == [])
    }

    @Test func aSecondRunMovesNothing() async throws {
        let bench = Bench()
        let contents = Self.files(2)
        _ = try await bench.conveyor(bench.store()).convey(try MemorySource(contents))
        let again = try MemorySource(contents)
        let report = try await bench.conveyor(bench.store()).convey(again)
        #expect(report.outcome == .unchanged)
        #expect(again.fetchedBytes == 0)
    }

    @Test func anUpdateFetchesOnlyWhatChangedAndKeepsTheOldVersionAside() async throws {
        let bench = Bench()
        var contents = Self.files(3)
        let old = try #require(contents["config.json"])
        _ = try await bench.conveyor(bench.store()).convey(try MemorySource(contents))
        contents["config.json"] = Array("{}".utf8)
        contents["renamed.safetensors"] = contents.removeValue(forKey: "model.safetensors")
        let update = try MemorySource(contents, commit: "b")
        _ = try await bench.conveyor(bench.store()).convey(update)
        #expect(update.fetchedBytes == 2)
        let aside = try PenstockPaths(Bench.prefix).replaced(SHA256Digest.of(old))
        #expect(try await bench.store().contents(aside, generation: nil, limit: 1000).bytes == old)
        #expect(try await bench.verify().problems.isEmpty)
        #expect(try await bench.verify().unlisted.map(\.value) == ["model.safetensors"])
    }

    @Test func pruneDeletesWhatTheNewVersionDoesNotHave() async throws {
        let bench = Bench()
        var contents = Self.files(4)
        _ = try await bench.conveyor(bench.store()).convey(try MemorySource(contents))
        contents["empty"] = nil
        var options = Bench.options()
        options.prune = true
        _ = try await bench.conveyor(bench.store(), options).convey(try MemorySource(contents, commit: "b"))
        let verified = try await bench.verify()
        #expect(verified.problems.isEmpty && verified.unlisted.isEmpty && verified.verifiedFiles == 3)
    }

    @Test func aSourceThatSendsOtherBytesIsFetchedTwiceAndThenRefused() async throws {
        let bench = Bench()
        let source = try MemorySource(Self.files(5)) { path, bytes in
            if path.value == "model.safetensors" { bytes[2_000_000] ^= 1 }
        }
        let error = await #expect(throws: SnapshotError.self) {
            try await bench.conveyor(bench.store()).convey(source)
        }
        #expect(error?.code == .integrity)
        #expect(error?.message.contains("model.safetensors") == true)
        await #expect(throws: ObjectStoreError.self) { try await bench.contents("model.safetensors") }
        await #expect(throws: ObjectStoreError.self) { try await bench.contents(".penstock/manifest.json") }
    }

    @Test(arguments: [("config.json", 7), ("model.safetensors", 2_000_000)])
    func oneWrongByteOnTheWayIsFetchedAgain(path: String, offset: Int) async throws {
        let bench = Bench()
        let contents = Self.files(6)
        let source = try MemorySource(contents, misreadOnce: (path, offset))
        let again = Lock<[String]>([])
        let conveyor = bench.conveyor(bench.store()) { event in
            if case .fetchedAgain(let path, _) = event { again.withLock { $0.append(path.value) } }
        }
        #expect(try await conveyor.convey(source).outcome == .conveyed)
        #expect(again.withLock(\.self) == [path])
        for (path, bytes) in contents { #expect(try await bench.contents(path) == bytes) }
        #expect(try await bench.verify().problems.isEmpty)
        #expect(try await bench.leftovers() == [])
    }

    @Test func aStrangersFileIsNotTouched() async throws {
        let bench = Bench()
        let name = try Bench.prefix.name("config.json")
        let mine = Array("mine".utf8)
        _ = try await bench.store().put(name, ByteSegments(mine), WriteOptions(.absent))
        let error = await #expect(throws: SnapshotError.self) {
            try await bench.conveyor(bench.store()).convey(try MemorySource(Self.files(7)))
        }
        #expect(error?.code == .conflict)
        #expect(try await bench.contents("config.json") == mine)
        var options = Bench.options()
        options.overwrite = true
        _ = try await bench.conveyor(bench.store(), options).convey(try MemorySource(Self.files(7)))
        #expect(try await bench.verify().problems.isEmpty)
    }

    @Test func aStrangersFileWithTheRightBytesIsAdopted() async throws {
        let bench = Bench()
        let contents = Self.files(8)
        let bytes = try #require(contents["model.safetensors"])
        let name = try Bench.prefix.name("model.safetensors")
        _ = try await bench.store().put(name, ByteSegments(bytes), WriteOptions(.absent))
        let source = try MemorySource(contents)
        _ = try await bench.conveyor(bench.store()).convey(source)
        #expect(source.fetchedBytes == 200_612)
        #expect(try await bench.verify().problems.isEmpty)
    }

    @Test func equalFilesAreFetchedOnce() async throws {
        let bench = Bench()
        var contents = Self.files(9)
        contents["copy.safetensors"] = contents["model.safetensors"]
        let source = try MemorySource(contents)
        _ = try await bench.conveyor(bench.store()).convey(source)
        #expect(source.fetchedBytes == (3 << 20) + 12_345 + 200_612)
        #expect(try await bench.verify().problems.isEmpty)
        #expect(try await bench.leftovers() == [])
    }
}
