import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

/// Random lookups, listings, opens, reads and forgets while the bucket changes, against what the bucket holds.
struct ReferenceModelTests {
    private static let operations = 150
    /// A slice, or with PENSTOCK_SOAK=1 all of 100,000 operations.
    private static let seeds = SeedSlice.first(15, ofSoak: 667)

    @Test(arguments: seeds)
    func theTreeIsWhatTheBucketHolds(seed: UInt64) async throws {
        var run = try ModelRun(seed: seed)
        for _ in 0..<Self.operations { try await run.step() }
        run.letGo()
        // Whatever was looked up and forgotten leaves the root.
        #expect(run.rig.filesystem.inodeCount == 1)
    }
}

/// What must be true of the tree: objects by name, nothing more.
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

/// A filesystem and its model, changed and asked in step.
private struct ModelRun {
    private struct Opened {
        let node: NodeID
        let bytes: [UInt8]
    }

    private static let directories = ["", "a", "a/b", "c"]
    private static let names = ["f", "g", "h"]

    let rig: Rig
    private let bucket = MemoryBucket()
    private var random: SeededRandom
    private var model = Model()
    private var opened: [Opened] = []
    /// What the kernel would count.
    private var lookups: [NodeID: UInt64] = [:]

    init(seed: UInt64) throws {
        random = SeededRandom(seed: seed)
        rig = try Rig(bucket: bucket)
    }

    mutating func step() async throws {
        let directory = try #require(Self.directories.randomElement(using: &random))
        let name = try #require(Self.names.randomElement(using: &random))
        let path = directory.isEmpty ? name : directory + "/" + name
        switch Int.random(in: 0..<11, using: &random) {
        case 0, 1:
            model.objects[path] = random.bytes(Int.random(in: 0...200_000, using: &random))
            try bucket.plant(path, model.objects[path] ?? [])
        case 2:
            model.objects[path] = nil
            bucket.remove(path)
        case 3: try await expectListing(directory)
        case 4, 5: try await expectFile(path)
        case 6, 7: try await expectOldBytesOrStale(opened.randomElement(using: &random))
        case 8, 9: forgetSomething()
        default:
            guard let index = opened.indices.randomElement(using: &random) else { return }
            rig.filesystem.release(opened.remove(at: index).node)
        }
    }

    /// As the kernel does when the mount goes.
    mutating func letGo() {
        for file in opened { rig.filesystem.release(file.node) }
        for (node, count) in lookups { rig.filesystem.forget(node, count) }
        opened = []
        lookups = [:]
    }

    /// The kernel forgets part of what it knows, or all of it; never what is open.
    private mutating func forgetSomething() {
        let candidates = lookups.keys.filter { node in !opened.contains { $0.node == node } }
            .sorted { $0.value < $1.value }
        guard let node = candidates.randomElement(using: &random), let known = lookups[node] else { return }
        let count = UInt64.random(in: 1...known, using: &random)
        rig.filesystem.forget(node, count)
        lookups[node] = known == count ? nil : known - count
    }

    private mutating func lookup(_ parent: NodeID, _ name: String) async throws(FilesystemError) -> NodeAttributes {
        let attributes = try await rig.lookup(parent, name)
        lookups[attributes.node, default: 0] += 1
        return attributes
    }

    private mutating func walk(_ path: String) async throws(FilesystemError) -> NodeAttributes {
        var attributes = try rig.filesystem.attributes(.root)
        for name in path.split(separator: "/") { attributes = try await lookup(attributes.node, String(name)) }
        return attributes
    }

    private mutating func expectListing(_ directory: String) async throws {
        let expected = model.children(directory)
        guard let node = try? await walk(directory).node else {
            #expect(expected.isEmpty)
            return
        }
        let names = try await rig.names(node)
        #expect(names == expected.keys.sorted())
        for (name, isDirectory) in expected {
            let isShownAsDirectory = try await lookup(node, name).isDirectory
            #expect(isShownAsDirectory == isDirectory)
        }
    }

    private mutating func expectFile(_ path: String) async throws {
        guard let bytes = model.objects[path] else {
            do {
                _ = try await walk(path)
                Issue.record("\(path) is shown, and is not in the bucket")
            } catch FilesystemError.noEntry {}
            return
        }
        let attributes = try await walk(path)
        #expect(attributes.size == bytes.count)
        try await rig.open(attributes.node)
        opened.append(Opened(node: attributes.node, bytes: bytes))
        try await expectOldBytesOrStale(opened.last, mayBeStale: false)
    }

    /// A range anywhere, also over the end and behind it.
    private mutating func expectOldBytesOrStale(_ file: Opened?, mayBeStale: Bool = true) async throws {
        guard let file else { return }
        let offset = Int.random(in: 0...file.bytes.count + 10, using: &random)
        let count = Int.random(in: 0...1 << 20, using: &random)
        do {
            let bytes = try await rig.read(file.node, offset, count)
            #expect(bytes == Array(file.bytes.dropFirst(offset).prefix(count)))
        } catch FilesystemError.stale {
            // Gone and not in memory any more: said, and never other bytes.
            #expect(mayBeStale)
        }
    }
}
