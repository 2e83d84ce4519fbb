import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// Publishes parts in a bucket that loses replies and refuses requests; other writers come in between.
private struct Publishing {
    let store = MemoryObjectStore()
    var random: SeededRandom
    var trouble = 0
    let name: ObjectName
    var publication: FilePublication
    var pending: [PublicationAction] = []
    let content: [UInt8]

    init(seed: UInt64, parts count: Int, replacing: Generation? = nil) async throws {
        random = SeededRandom(seed: seed)
        name = try ObjectName("final")
        var parts: [StoredPart] = []
        var content: [UInt8] = []
        for number in 0..<count {
            let bytes = random.bytes(1 + number % 5)
            let attributes = try await store.put(
                try ObjectName("part-\(number)"),
                ByteSegments(bytes),
                WriteOptions(.absent)
            )
            let source = ComposeSource(attributes.name, attributes.generation)
            parts.append(StoredPart(source: source, size: bytes.count, crc32c: CRC32C.of(bytes)))
            content += bytes
        }
        self.content = content
        publication =
            count == 0
            ? FilePublication(size: 0, crc32c: .empty, replacing: replacing, operation: "ours")
            : FilePublication(parts: parts, replacing: replacing, operation: "ours", prefix: "way/")
    }

    mutating func step() async throws {
        pending += publication.next()
        guard !pending.isEmpty else { return }
        let action = pending.remove(at: Int(random.next() % UInt64(pending.count)))
        let chance = Int(random.next() % 100)
        let fault: StoreFault? =
            chance < trouble
            ? .loseReply
            : chance < 2 * trouble ? .fail(ObjectStoreError(.unavailable, "refused", status: 503)) : nil
        store.setHook { call in call.moment == .before ? fault : nil }
        defer { store.setHook(nil) }
        let (store, name) = (store, name)
        switch action {
        case .join(let group, let sources, let component, _, let crc32c):
            let target = try ObjectName(component)
            publication.joined(
                group,
                await result { () async throws(ObjectStoreError) -> ObjectAttributes in
                    try await store.compose(sources, into: target, WriteOptions(.absent, crc32c: crc32c))
                }
            )
        case .write(let sources, let precondition, let operation, _, let crc32c):
            let options = WriteOptions(
                precondition,
                metadata: [MetadataKey.operation: operation],
                crc32c: crc32c
            )
            publication.written(
                await result { () async throws(ObjectStoreError) -> ObjectAttributes in
                    if sources.isEmpty { return try await store.put(name, ByteSegments(), options) }
                    return try await store.compose(sources, into: name, options)
                }
            )
        case .find:
            publication.found(
                await result { () async throws(ObjectStoreError) -> ObjectAttributes? in
                    do throws(ObjectStoreError) {
                        return try await store.attributes(name, generation: nil)
                    } catch {
                        if error.code == .notFound { return nil }
                        throw error
                    }
                }
            )
        case .pause: publication.retry()
        case .discard(let source): try? await store.delete(source.name, source.generation)
        }
    }

    private func result<Value>(
        _ body: () async throws(ObjectStoreError) -> Value
    ) async -> Result<Value, ObjectStoreError> {
        do throws(ObjectStoreError) { return .success(try await body()) } catch {
            return .failure(error)
        }
    }

    mutating func finish() async throws {
        for _ in 0..<5000 {
            try await step()
            if publication.outcome != nil, pending.isEmpty {
                pending = publication.next()
                if pending.isEmpty { return }
            }
        }
        throw JournalLife.Wrong(what: "not finished")
    }
}

@Suite struct FilePublicationTests {
    @Test(arguments: [0, 1, 32, 33, 100, 1100])
    func partsBecomeOneObjectAndNothingElseStays(count: Int) async throws {
        var publishing = try await Publishing(seed: UInt64(count), parts: count)
        try await publishing.finish()
        guard case .published(let attributes)? = publishing.publication.outcome else {
            throw JournalLife.Wrong(what: "\(String(describing: publishing.publication.outcome))")
        }
        let read = try await publishing.store.contents(publishing.name, generation: nil, limit: 10_000)
        #expect(read.bytes == publishing.content)
        #expect(read.attributes.generation == attributes.generation)
        let names = try await publishing.store.listAll(prefix: "").map(\.name)
        #expect(names == [publishing.name])
    }

    @Test func lostRepliesAndRefusalsPublishOnce() async throws {
        for seed in UInt64(0)..<40 {
            var publishing = try await Publishing(seed: seed, parts: 1 + Int(seed) * 3)
            publishing.trouble = 25
            try await publishing.finish()
            guard case .published? = publishing.publication.outcome else {
                Issue.record("seed \(seed): \(String(describing: publishing.publication.outcome))")
                continue
            }
            publishing.store.setHook(nil)
            let read = try await publishing.store.contents(
                publishing.name,
                generation: nil,
                limit: 10_000
            )
            #expect(read.bytes == publishing.content, "seed \(seed)")
            let writes = publishing.store.calls.filter {
                $0.operation == .compose && $0.object == "final"
            }
            #expect(!writes.isEmpty)
        }
    }

    @Test func whatSomebodyElseWroteIsNotReplaced() async throws {
        for trouble in [0, 30] {
            var publishing = try await Publishing(seed: 3, parts: 40)
            publishing.trouble = trouble
            let foreign = try await publishing.store.put(
                publishing.name,
                ByteSegments([1, 2, 3]),
                WriteOptions(.absent)
            )
            try await publishing.finish()
            guard case .conflict(let found)? = publishing.publication.outcome else {
                throw JournalLife.Wrong(what: "no conflict")
            }
            #expect(found?.generation == foreign.generation)
            let read = try await publishing.store.contents(publishing.name, generation: nil, limit: 100)
            #expect(read.bytes == [1, 2, 3])
            // The parts are still there: the content gets another name.
            #expect(try await publishing.store.listAll(prefix: "part-").count == 40)
        }
    }

    @Test func whatItReplacesMayHaveBeenDeleted() async throws {
        var publishing = try await Publishing(seed: 3, parts: 2, replacing: Generation(77))
        try await publishing.finish()
        guard case .conflict(nil)? = publishing.publication.outcome else {
            throw JournalLife.Wrong(what: "no conflict")
        }
    }

    @Test func aPartThatIsGoneIsSaid() async throws {
        var publishing = try await Publishing(seed: 3, parts: 40)
        let gone = try await publishing.store.attributes(try ObjectName("part-7"), generation: nil)
        try await publishing.store.delete(gone.name, gone.generation)
        try await publishing.finish()
        guard case .partMissing? = publishing.publication.outcome else {
            throw JournalLife.Wrong(what: "not said")
        }
    }

    @Test func anotherChecksumIsNeverCalledPublished() throws {
        var publication = FilePublication(size: 3, crc32c: CRC32C(5), replacing: nil, operation: "ours")
        #expect(publication.next().count == 1)
        let wrong = ObjectAttributes(
            name: try ObjectName("x"),
            generation: Generation(1),
            size: 3,
            crc32c: CRC32C(6)
        )
        publication.written(.success(wrong))
        guard case .failed(let error)? = publication.outcome, error.code == .integrity else {
            throw JournalLife.Wrong(what: "it is called published")
        }
    }
}
