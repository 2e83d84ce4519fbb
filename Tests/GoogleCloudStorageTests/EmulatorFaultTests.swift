import Checksums
import Emulators
import Foundation
import GoogleCredentials
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import GoogleCloudStorage

/// What goes wrong on a real connection, and what the client makes of it.
@Suite struct EmulatorFaultTests {
    private func write(
        _ store: GoogleCloudStorage,
        _ name: String,
        _ bytes: [UInt8],
        _ precondition: WritePrecondition = .absent
    ) async throws -> ObjectAttributes {
        try await store.put(ObjectName(name), ByteSegments(bytes), WriteOptions(precondition))
    }

    private func random(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return random.bytes(count)
    }

    private var lostReply: FaultActions { .sending { $0.losesReply = true } }

    @Test func lostRepliesOfWritesAreSettled() async throws {
        let storage = try await EmulatedStorage()
        let store = try storage.store("flat")
        let bytes = random(10_000, seed: 91)
        storage.emulator.control.add(FaultRule(lostReply, method: "POST", path: "uploadType=multipart"))
        let part = try await write(store, "part", bytes)
        storage.emulator.control.add(FaultRule(lostReply, method: "POST", path: "/compose"))
        let crc = CRC32C.of(bytes + bytes)
        let composed = try await store.compose(
            [ComposeSource(part.name, part.generation), ComposeSource(part.name, part.generation)],
            into: ObjectName("whole"),
            WriteOptions(.absent, crc32c: crc)
        )
        #expect(composed.crc32c == crc)
        storage.emulator.control.add(FaultRule(lostReply, method: "POST", path: "/rewriteTo/"))
        let copied = try await store.copy(
            part.name,
            part.generation,
            to: ObjectName("copy"),
            precondition: .absent,
            metadata: nil
        )
        #expect(copied.crc32c == part.crc32c)
        storage.emulator.control.add(FaultRule(lostReply, method: "POST", path: "/moveTo/"))
        let moved = try await store.move(copied.name, copied.generation, to: ObjectName("moved"), precondition: .absent)
        #expect(moved.crc32c == part.crc32c)
        storage.emulator.control.add(FaultRule(lostReply, method: "PATCH"))
        let patched = try await store.patch(
            moved.name,
            moved.generation,
            metageneration: moved.metageneration,
            metadata: ["k": "v"]
        )
        #expect(patched.metadata["k"] == "v")
        storage.emulator.control.add(FaultRule(lostReply, method: "DELETE"))
        try await store.delete(moved.name, moved.generation)
        #expect(storage.emulator.objects(in: "flat").map(\.name) == ["part", "whole"])
    }

    @Test func aLostReplyOfAnUnconditionalWriteIsThrown() async throws {
        let storage = try await EmulatedStorage()
        let store = try storage.store("flat")
        storage.emulator.control.add(FaultRule(lostReply, method: "POST"))
        #expect(await storeError { _ = try await write(store, "a", [1], .any) }?.code == .unavailable)
        #expect(storage.emulator.control.log.count { $0.method == "POST" && $0.target.contains("/flat/") } == 1)
    }

    @Test func aByteThatFlipsOnTheWayUpIsRefused() async throws {
        let storage = try await EmulatedStorage()
        let store = try storage.store("flat")
        var actions = FaultActions()
        actions.receive.flipBitAt = 9_000
        storage.emulator.control.add(FaultRule(actions, method: "POST"))
        #expect(await storeError { _ = try await write(store, "a", random(10_000, seed: 92)) }?.code == .integrity)
        #expect(storage.emulator.objects(in: "flat").isEmpty)
    }

    @Test func aByteThatFlipsOnTheWayDownIsFetchedAgain() async throws {
        let storage = try await EmulatedStorage()
        let store = try storage.store("flat")
        let bytes = random(10_000, seed: 93)
        _ = try await write(store, "a", bytes)
        storage.emulator.control.add(FaultRule(.sending { $0.flipBitAt = 5000 }, method: "GET", path: "alt=media"))
        #expect(try await store.contents(ObjectName("a"), generation: nil, limit: 10_000).bytes == bytes)
        storage.emulator.corrupt(bucket: "flat", object: "a", byte: 77)
        let error = await storeError { _ = try await store.contents(ObjectName("a"), generation: nil, limit: 10_000) }
        #expect(error?.code == .integrity)
    }

    @Test func readsGoOnWhereTheyBroke() async throws {
        let storage = try await EmulatedStorage()
        let store = try storage.store("flat")
        let bytes = random(300_000, seed: 94)
        let source = store.source(try await write(store, "a", bytes))
        for (index, truncateAt) in [0, 1, 65_536, 100_000].enumerated() {
            var rule = FaultRule(
                .sending { faults in
                    faults.truncateAt = truncateAt
                    faults.resets = index % 2 == 1
                },
                method: "GET",
                path: "alt=media"
            )
            rule.nth = 1
            storage.emulator.control.add(rule)
        }
        let seen = Lock([UInt8]())
        let buffer = BufferLease(size: bytes.count)
        let read = RangeRead(ByteRange(offset: 0, count: bytes.count), into: buffer) { offset, piece in
            seen.withLock { seen in if offset == seen.count { seen += piece } }
        }
        try await source.read(read)
        #expect(Array(buffer.bytes[..<bytes.count]) == bytes)
        #expect(seen.withLock { $0 } == bytes)
    }

    @Test func wrongBodiesNeverLand() async throws {
        let storage = try await EmulatedStorage()
        let store = try storage.store("flat", options: StorageOptions(retryDeadline: .milliseconds(200)))
        let source = store.source(try await write(store, "a", random(5000, seed: 95)))
        var html = FaultActions()
        html.wrongBody = .html
        var gzip = FaultActions()
        gzip.wrongBody = .gzip
        var whole = FaultActions()
        whole.ignoresRange = true
        var nameless = FaultActions()
        nameless.dropHeaders = ["x-goog-generation"]
        for actions in [html, gzip, whole, nameless] {
            storage.emulator.control.reset()
            storage.emulator.control.add(FaultRule(actions, method: "GET", path: "alt=media"))
            let buffer = BufferLease(size: 100)
            buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0xEE)
            let error = await storeError {
                try await source.read(RangeRead(ByteRange(offset: 50, count: 100), into: buffer))
            }
            #expect(error?.code == .integrity)
            #expect(buffer.bytes[..<100].allSatisfy { $0 == 0xEE })
        }
    }

    @Test func aShortAcknowledgementIsFollowed() async throws {
        let storage = try await EmulatedStorage()
        let store = try storage.store("flat")
        let bytes = random(1 << 20, seed: 96)
        let session = try await store.beginUpload(ObjectName("a"), size: bytes.count, WriteOptions(.absent))
        var actions = FaultActions()
        actions.service.acknowledgeAtMost = 300_000
        storage.emulator.control.add(FaultRule(actions, method: "PUT"))
        let first = ByteSegments(Array(bytes[..<(512 << 10)]))
        guard case .persisted(let held) = try await store.continueUpload(session, first, at: 0, isLast: false) else {
            Issue.record("finished too early")
            return
        }
        #expect(held < 512 << 10)
        let rest = ByteSegments(Array(bytes[held...]))
        guard case .finished(let written) = try await store.continueUpload(session, rest, at: held, isLast: true) else {
            Issue.record("not finished")
            return
        }
        #expect(written.crc32c == CRC32C.of(bytes))
    }

    @Test func aLostFinalizeIsLearned() async throws {
        let storage = try await EmulatedStorage()
        let store = try storage.store("flat")
        let bytes = random(1000, seed: 97)
        let session = try await store.beginUpload(ObjectName("a"), size: bytes.count, WriteOptions(.absent))
        storage.emulator.control.add(FaultRule(lostReply, method: "PUT"))
        let error = await storeError {
            _ = try await store.continueUpload(session, ByteSegments(bytes), at: 0, isLast: true)
        }
        #expect(error?.code == .unavailable)
        guard case .finished(let written) = try await store.uploadProgress(session) else {
            Issue.record("not finished")
            return
        }
        #expect(written.size == 1000)
    }

    @Test(arguments: [404, 410])
    func anExpiredSessionIsLost(_ status: Int) async throws {
        let storage = try await EmulatedStorage()
        let store = try storage.store("flat")
        let session = try await store.beginUpload(ObjectName("a"), size: 1, WriteOptions(.absent))
        var actions = FaultActions()
        actions.service.expiresSession = HTTPStatus(status)
        storage.emulator.control.add(FaultRule(actions, method: "PUT"))
        #expect(await storeError { _ = try await store.uploadProgress(session) }?.code == .sessionLost)
    }

    @Test func emptyPagesAreNotTheEnd() async throws {
        let storage = try await EmulatedStorage()
        let store = try storage.store("flat")
        for name in ["a", "b", "c"] { _ = try await write(store, name, [1]) }
        var actions = FaultActions()
        actions.service.emptyPage = true
        storage.emulator.control.add(FaultRule(actions, method: "GET", path: "/o?"))
        #expect(try await store.listAll(prefix: "").map(\.name.value) == ["a", "b", "c"])
    }

    @Test func aRevokedTokenIsReplacedInTheMiddle() async throws {
        let storage = try await EmulatedStorage(requiresToken: true)
        let host = String(storage.emulator.baseURL.dropFirst("http://".count))
        let options = CredentialOptions(environment: ["GCE_METADATA_HOST": host, "HOME": "/nonexistent"])
        let credentials = try await GoogleCredentials.find(options, transport: storage.engine)
        let store = try storage.store("flat", credentials: credentials)
        let written = try await write(store, "a", [1, 2, 3])
        storage.emulator.tokens.expireAll()
        let buffer = BufferLease(size: 3)
        try await store.source(written).read(RangeRead(ByteRange(offset: 0, count: 3), into: buffer))
        #expect(Array(buffer.bytes[..<3]) == [1, 2, 3])
        let anonymous = try storage.store("flat")
        let error = await storeError { _ = try await anonymous.attributes(written.name, generation: nil) }
        #expect(error?.code == .unauthenticated)
    }
}
