import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

/// Random lookups, listings, opens and reads while the bucket changes, against what the bucket holds.
struct ReferenceModelTests {
    private struct Opened {
        let node: NodeID
        let bytes: [UInt8]
    }

    private struct Model {
        var objects: [String: [UInt8]] = [:]

        /// Names directly below a directory, and whether each is a directory.
        func children(_ directory: String) -> [String: Bool] {
            var children: [String: Bool] = [:]
            let prefix = directory.isEmpty ? "" : directory + "/"
            for name in objects.keys where name.hasPrefix(prefix) {
                let parts = name.dropFirst(prefix.count).split(separator: "/", maxSplits: 1)
                children[String(parts[0])] = parts.count > 1
            }
            return children
        }
    }

    private static let directories = ["", "a", "a/b", "c"]
    private static let names = ["f", "g", "h"]

    @Test(arguments: 0..<15 as Range<UInt64>)
    func theTreeIsWhatTheBucketHolds(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let bucket = MemoryBucket()
        let rig = try Rig(bucket: bucket)
        var model = Model()
        var opened: [Opened] = []
        for _ in 0..<150 {
            let directory = try #require(Self.directories.randomElement(using: &random))
            let name = try #require(Self.names.randomElement(using: &random))
            let path = directory.isEmpty ? name : directory + "/" + name
            switch Int.random(in: 0..<8, using: &random) {
            case 0, 1:
                model.objects[path] = random.bytes(Int.random(in: 0...200_000, using: &random))
                try bucket.plant(path, model.objects[path] ?? [])
            case 2:
                model.objects[path] = nil
                bucket.remove(path)
            case 3: try await expectListing(rig, model, directory)
            case 4, 5:
                if let file = try await expectFile(rig, model, path) { opened.append(file) }
            case 6: try await expectOldBytesOrStale(rig, opened.randomElement(using: &random))
            default:
                guard let index = opened.indices.randomElement(using: &random) else { continue }
                let file = opened.remove(at: index)
                rig.filesystem.release(file.node)
            }
        }
    }

    private func expectListing(_ rig: Rig, _ model: Model, _ directory: String) async throws {
        let expected = model.children(directory)
        guard let node = try? await rig.walk(directory).node else {
            #expect(expected.isEmpty)
            return
        }
        #expect(try await rig.names(node) == expected.keys.sorted())
        for (name, isDirectory) in expected {
            #expect(try await rig.lookup(node, name).isDirectory == isDirectory)
        }
    }

    private func expectFile(_ rig: Rig, _ model: Model, _ path: String) async throws -> Opened? {
        guard let bytes = model.objects[path] else {
            await #expect(throws: FilesystemError.noEntry) { try await rig.walk(path) }
            return nil
        }
        let attributes = try await rig.walk(path)
        #expect(attributes.size == bytes.count)
        try await rig.open(attributes.node)
        #expect(try await rig.read(attributes.node, 0, 1 << 20) == bytes)
        return Opened(node: attributes.node, bytes: bytes)
    }

    private func expectOldBytesOrStale(_ rig: Rig, _ file: Opened?) async throws {
        guard let file else { return }
        do {
            #expect(try await rig.read(file.node, 0, 1 << 20) == file.bytes)
        } catch FilesystemError.stale {
            // Gone and not in memory any more: said, and never other bytes.
        }
    }
}
