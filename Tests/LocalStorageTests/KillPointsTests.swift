import Checksums
import LinuxPlatform
import LocalStorage
import ObjectStorage
import TestSupport
import Testing

/// The process dies at each step of each change in turn; what it leaves is the old or the new, with its attributes.
struct KillPointsTests {
    enum Change: String, CaseIterable, Sendable {
        case put
        case compose
        case copy
        case upload
        case multipart
    }

    private func perform(_ change: Change, _ store: LocalObjectStore, _ old: ObjectAttributes) async throws {
        let name = old.name
        let options = WriteOptions(.generation(old.generation), metadata: ["of": "new"])
        let part = try await store.attributes(try ObjectName("part"), generation: nil)
        switch change {
        case .put: _ = try await store.put(name, ByteSegments([2, 2]), options)
        case .compose: _ = try await store.compose([ComposeSource(part.name, part.generation)], into: name, options)
        case .copy:
            _ = try await store.copy(
                part.name,
                part.generation,
                to: name,
                precondition: options.precondition,
                metadata: options.metadata
            )
        case .upload:
            let session = try await store.beginUpload(name, size: 2, options)
            _ = try await store.continueUpload(session, ByteSegments([2, 2]), at: 0, isLast: true)
        case .multipart:
            let upload = try await store.beginMultipart(name, options)
            let put = try await store.putPart(upload, number: 1, ByteSegments([2, 2]), crc32c: .of([2, 2]))
            _ = try await store.completeMultipart(upload, [put])
        }
    }

    @Test("a killed change leaves the old or the new", arguments: Change.allCases, LocalStep.allCases)
    func oldOrNew(change: Change, step: LocalStep) async throws {
        let room = try LocalRoom()
        try await room.put("part", [2, 2])
        let old = try await room.put("x", [1], metadata: ["of": "old"])
        let dying = try room.store { $0 == step }
        #expect(await failure { try await perform(change, dying, old) } == .internal)
        let found = try await room.store().contents(old.name, generation: nil, limit: 10)
        let isNew = found.attributes.generation != old.generation
        #expect(isNew == [.renamed, .synchronized, .cleanedUp].contains(step))
        #expect(found.bytes == (isNew ? [2, 2] : [1]))
        #expect(found.attributes.metadata == ["of": isNew ? "new" : "old"])
        // Whoever comes next goes on from there.
        let next = try await room.put("x", [3], .generation(found.attributes.generation))
        #expect(next.generation.value > found.attributes.generation.value)
        #expect(try await room.names() == ["part", "x"])
    }

    @Test("a killed move leaves the object under one of its names", arguments: LocalStep.allCases)
    func move(step: LocalStep) async throws {
        let room = try LocalRoom()
        let old = try await room.put("x", [1], metadata: ["k": "v"])
        let dying = try room.store { $0 == step }
        _ = await failure {
            _ = try await dying.move(old.name, old.generation, to: try room.name("d/y"), precondition: .absent)
        }
        let names = try await room.names()
        #expect(names == ["x"] || names == ["d/y"])
        let found = try await room.store().attributes(try room.name(names[0]), generation: nil)
        #expect(found.metadata == ["k": "v"])
        #expect((found.generation == old.generation) == (names == ["x"]))
    }

    @Test("an upload whose last reply was lost tells how it ended", arguments: LocalStep.allCases)
    func uploadAfterKill(step: LocalStep) async throws {
        let room = try LocalRoom()
        let dying = try room.store { $0 == step }
        let name = try room.name("x")
        let session = try await dying.beginUpload(name, size: 3, WriteOptions(.absent))
        _ = await failure { _ = try await dying.continueUpload(session, ByteSegments([1, 2, 3]), at: 0, isLast: true) }
        let store = try room.store()
        switch try await store.uploadProgress(session) {
        case .finished(let attributes):
            #expect(try await store.attributes(name, generation: nil).generation == attributes.generation)
        case .persisted(let count):
            #expect(count == 3)
            let end = try await store.continueUpload(session, ByteSegments(), at: 3, isLast: true)
            guard case .finished = end else {
                Issue.record("the upload did not finish")
                return
            }
        }
        #expect(try await room.contents("x") == [1, 2, 3])
    }
}
