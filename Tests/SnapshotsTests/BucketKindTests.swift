import LinuxPlatform
import ObjectStorage
import Snapshots
import TestSupport
import Testing

/// Buckets that are not as the usual one.
struct BucketKindTests {
    enum Kind: CaseIterable { case cannotMove, emptyPages, hierarchical }

    private func bench(_ kind: Kind) -> Bench {
        var options = MemoryBucket.Options()
        switch kind {
        case .cannotMove: options.canMove = false
        case .emptyPages: options.hasEmptyPages = true
        case .hierarchical: options.isHierarchical = true
        }
        return Bench(options)
    }

    @Test(arguments: Kind.allCases) func takesASnapshotAndItsUpdate(kind: Kind) async throws {
        let bench = bench(kind)
        var contents = ConveyorTests.files(41)
        for commit: Character in ["a", "b"] {
            _ = try await bench.conveyor(bench.store()).convey(try MemorySource(contents, commit: commit))
            for (path, bytes) in contents { #expect(try await bench.contents(path) == bytes) }
            #expect(try await bench.verify().problems.isEmpty)
            #expect(try await bench.leftovers() == [])
            contents["model.safetensors"] = contents["model.safetensors"].map { $0.reversed() }
            contents["new.json"] = [1, 2, 3]
        }
    }

    @Test func aZonalBucketIsRefusedBeforeTheFirstByte() async throws {
        var options = MemoryBucket.Options()
        options.locationType = "zone"
        let bench = Bench(options)
        let source = try MemorySource(ConveyorTests.files(43))
        let error = await #expect(throws: SnapshotError.self) {
            try await bench.conveyor(bench.store()).convey(source)
        }
        #expect(error?.code == .usage && error?.message.contains("zonal") == true)
        #expect(source.fetchedBytes == 0 && bench.bucket.names.isEmpty)
    }

    @Test func moreThan32PartsAreJoinedInLevels() async throws {
        let bench = Bench()
        var random = SeededRandom(seed: 42)
        let block = random.bytes(1 << 20)
        var bytes: [UInt8] = []
        for number in 0..<34 { bytes += block[..<(1 << 20 - 1)] + [UInt8(number)] }
        bytes += [7, 8, 9]
        let composed = Lock<[Int]>([])
        let store = bench.store { call in
            if call.operation == .compose, call.moment == .after { composed.withLock { $0.append(call.index) } }
            return nil
        }
        _ = try await bench.conveyor(store).convey(try MemorySource(["large.bin": bytes]))
        #expect(composed.withLock(\.count) == 3, "32 parts and 3 parts, and both together")
        #expect(try await bench.contents("large.bin") == bytes)
        #expect(try await bench.verify().problems.isEmpty)
        #expect(try await bench.leftovers() == [])
    }
}
