import Checksums
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

/// Runs `body` and gives the code of the error it throws, or nil.
private func failure(_ body: () async throws -> Void) async -> ObjectStoreError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? ObjectStoreError)?.code
    }
}

struct MemoryObjectStoreTests {
    let store = MemoryObjectStore()
    let name: ObjectName
    let other: ObjectName

    init() throws {
        name = try ObjectName("a/b")
        other = try ObjectName("a/c")
    }

    @Test("create-only writes once; a pinned replacement needs the right generation")
    func preconditions() async throws {
        let first = try await store.put(name, ByteSegments([1]), WriteOptions(.absent))
        #expect(
            await failure { _ = try await store.put(name, ByteSegments([2]), WriteOptions(.absent)) }
                == .preconditionFailed
        )
        let second = try await store.put(name, ByteSegments([3]), WriteOptions(.generation(first.generation)))
        #expect(second.generation != first.generation)
        let stale = WriteOptions(.generation(first.generation))
        #expect(await failure { _ = try await store.put(name, ByteSegments([4]), stale) } == .preconditionFailed)
        #expect(store.bucket.bytes("a/b") == [3])
    }

    @Test("a wrong promised checksum writes nothing")
    func wrongChecksum() async {
        let options = WriteOptions(.any, crc32c: CRC32C(1))
        #expect(await failure { _ = try await store.put(name, ByteSegments([1]), options) } == .integrity)
        #expect(store.bucket.names.isEmpty)
    }

    @Test("a source reads its generation only, through the tap, and fails when that is gone")
    func pinnedSource() async throws {
        var random = SeededRandom(seed: 1)
        let bytes = random.bytes(40_000)
        let attributes = try await store.put(name, ByteSegments(bytes), WriteOptions(.any))
        let source = store.source(attributes)
        let buffer = BufferLease(size: 40_000)
        let seen = Lock<[UInt8]>([])
        try await source.read(
            RangeRead(ByteRange(offset: 5, count: 35_000), into: buffer, at: 100) { offset, piece in
                seen.withLock {
                    #expect($0.count == offset)
                    $0 += piece
                }
            }
        )
        #expect(Array(buffer.bytes[100..<35_100]) == Array(bytes[5..<35_005]))
        #expect(seen.withLock { $0 } == Array(bytes[5..<35_005]))
        let outside = ByteRange(offset: 39_999, count: 2)
        #expect(await failure { try await source.read(RangeRead(outside, into: buffer)) } == .outOfRange)
        _ = try await store.put(name, ByteSegments([1]), WriteOptions(.any))
        let inside = ByteRange(offset: 0, count: 1)
        #expect(await failure { try await source.read(RangeRead(inside, into: buffer)) } == .notFound)
    }

    @Test("pages of every size list every object and prefix once, in byte order", arguments: [false, true])
    func pages(emptyPages: Bool) async throws {
        var options = MemoryBucket.Options()
        options.hasEmptyPages = emptyPages
        let store = MemoryObjectStore(MemoryBucket(options))
        for name in ["a", "a/1", "a/2", "a0", "b/c/d", "b/c/e", "b/x", "é", "z"] { try store.bucket.plant(name, [0]) }
        for pageSize in 1...10 {
            var entries: [String] = []
            var request = ListRequest(prefix: "", delimiter: "/", pageSize: pageSize)
            repeat {
                let page = try await store.list(request)
                #expect(page.objects.count + page.prefixes.count <= pageSize)
                entries += (page.objects.map(\.name.value) + page.prefixes).sorted {
                    $0.utf8.lexicographicallyPrecedes($1.utf8)
                }
                request.pageToken = page.nextPageToken
            } while request.pageToken != nil
            #expect(entries == ["a", "a/", "a0", "b/", "z", "é"])
        }
        let below = try await store.listAll(prefix: "b/c")
        #expect(below.map(\.name.value) == ["b/c/d", "b/c/e"])
    }

    @Test("a resumable upload shows nothing until its last byte, skips what it has, refuses a gap")
    func resumable() async throws {
        let unit = 256 * 1024
        let bytes = [UInt8](repeating: 7, count: 2 * unit + 3)
        let session = try await store.beginUpload(name, size: bytes.count, WriteOptions(.absent))
        func send(_ range: Range<Int>, isLast: Bool) async throws(ObjectStoreError) -> UploadProgress {
            try await store.continueUpload(
                session,
                ByteSegments(Array(bytes[range])),
                at: range.lowerBound,
                isLast: isLast
            )
        }
        store.setHook { $0.index == 1 && $0.moment == .before ? .keepOnly(300 * 1024) : nil }
        guard case .persisted(unit) = try await send(0..<(2 * unit), isLast: false) else {
            Issue.record("the store kept more or less than a whole unit")
            return
        }
        #expect(await failure { _ = try await send((2 * unit)..<(2 * unit + 3), isLast: true) } == .unavailable)
        #expect(await failure { _ = try await send(unit..<(unit + 5), isLast: false) } == .invalidRequest)
        #expect(store.bucket.names.isEmpty)
        guard case .finished(let attributes) = try await send(0..<bytes.count, isLast: true) else {
            Issue.record("the last byte did not finish it")
            return
        }
        #expect(attributes.size == bytes.count)
        guard case .finished(attributes) = try await store.uploadProgress(session) else {
            Issue.record("a finished session did not say so")
            return
        }
        try await store.cancelUpload(session)
        #expect(await failure { _ = try await store.uploadProgress(session) } == .sessionLost)
    }

    @Test("a multipart upload needs its parts, in order, with their etags")
    func multipart() async throws {
        var options = MemoryBucket.Options()
        options.minimumPartSize = 4
        let store = MemoryObjectStore(MemoryBucket(options))
        let upload = try await store.beginMultipart(name, WriteOptions(.any, metadata: ["k": "v"]))
        func put(_ number: Int, _ bytes: [UInt8]) async throws(ObjectStoreError) -> MultipartPart {
            try await store.putPart(upload, number: number, ByteSegments(bytes), crc32c: .of(bytes))
        }
        let old = try await put(2, [9])
        let one = try await put(1, [1, 2, 3, 4])
        let two = try await put(2, [5])
        #expect(
            await failure { _ = try await store.putPart(upload, number: 3, ByteSegments([1]), crc32c: .empty) }
                == .integrity
        )
        #expect(try await store.parts(upload) == [one, two])
        #expect(await failure { _ = try await store.completeMultipart(upload, [one, old]) } == .invalidRequest)
        #expect(await failure { _ = try await store.completeMultipart(upload, [two, one]) } == .invalidRequest)
        #expect(try await store.multipartUploads(prefix: "a/") == [upload])
        let attributes = try await store.completeMultipart(upload, [one, two])
        #expect(store.bucket.bytes("a/b") == [1, 2, 3, 4, 5])
        #expect(attributes.metadata == ["k": "v"])
        #expect(await failure { _ = try await store.parts(upload) } == .notFound)
    }

    @Test("compose joins, copy copies, move moves, delete deletes one generation")
    func derivedObjects() async throws {
        let one = try await store.put(name, ByteSegments([1]), WriteOptions(.any, metadata: ["a": "b"]))
        let two = try await store.put(other, ByteSegments([2]), WriteOptions(.any))
        let joined = try ObjectName("joined")
        let sources = [ComposeSource(name, one.generation), ComposeSource(other, two.generation)]
        _ = try await store.compose(sources, into: joined, WriteOptions(.absent))
        #expect(store.bucket.bytes("joined") == [1, 2])
        let copied = try await store.copy(
            name,
            one.generation,
            to: other,
            precondition: .generation(two.generation),
            metadata: nil
        )
        #expect(copied.metadata == ["a": "b"])
        #expect(await failure { _ = try await store.compose(sources, into: joined, WriteOptions(.any)) } == .notFound)
        let moved = try await store.move(other, copied.generation, to: try ObjectName("moved"), precondition: .absent)
        try await store.delete(name, moved.generation)
        #expect(store.bucket.names == ["a/b", "joined", "moved"])
        try await store.delete(name, one.generation)
        try await store.delete(name, one.generation)
        #expect(store.bucket.names == ["joined", "moved"])
    }

    @Test("a patch needs the metageneration, and removes keys by nil")
    func patch() async throws {
        let object = try await store.put(name, ByteSegments([1]), WriteOptions(.any, metadata: ["a": "1", "b": "2"]))
        let patched = try await store.patch(name, object.generation, metageneration: 1, metadata: ["a": nil, "c": "3"])
        #expect(patched.metadata == ["b": "2", "c": "3"])
        #expect(patched.generation == object.generation)
        #expect(patched.metageneration == 2)
        #expect(
            await failure {
                _ = try await store.patch(name, object.generation, metageneration: 1, metadata: [:])
            } == .preconditionFailed
        )
    }

    @Test("a killed connection does nothing more, and a new one finds what was done")
    func kill() async throws {
        for step in 0..<4 {
            let bucket = MemoryBucket()
            let store = MemoryObjectStore(bucket, hook: StoreFault.killing(atStep: step))
            var thrown: ObjectStoreError?
            do {
                _ = try await store.put(name, ByteSegments([1]), WriteOptions(.any))
                _ = try await store.put(other, ByteSegments([1]), WriteOptions(.any))
            } catch { thrown = error }
            #expect(thrown?.message == MemoryObjectStore.killed.message)
            #expect(store.isKilled)
            #expect(await failure { _ = try await store.list(ListRequest(prefix: "")) } == .internal)
            let found = try await MemoryObjectStore(bucket).listAll(prefix: "").map(\.name.value)
            #expect(found == [[], ["a/b"], ["a/b"], ["a/b", "a/c"]][step])
        }
    }

    @Test("a lost reply is a write that happened")
    func lostReply() async {
        store.setHook { $0.operation == .put && $0.moment == .before ? .loseReply : nil }
        #expect(await failure { _ = try await store.put(name, ByteSegments([1]), WriteOptions(.any)) } == .unavailable)
        #expect(store.bucket.names == ["a/b"])
    }

    @Test("a flipped bit, stored or on its way, is found by a whole read")
    func flippedBits() async throws {
        try store.bucket.plant("a/b", [1, 2, 3])
        store.bucket.onRead { _, _, bytes in bytes[1] ^= 1 }
        #expect(await failure { _ = try await store.contents(name, generation: nil, limit: 10) } == .integrity)
        store.bucket.onRead(nil)
        #expect(try await store.contents(name, generation: nil, limit: 10).bytes == [1, 2, 3])
        #expect(store.bucket.flipBit("a/b", at: 9))
        #expect(await failure { _ = try await store.contents(name, generation: nil, limit: 10) } == .integrity)
    }

    @Test("folders of a hierarchical bucket are renamed whole")
    func folders() async throws {
        var options = MemoryBucket.Options()
        options.isHierarchical = true
        let store = MemoryObjectStore(MemoryBucket(options))
        _ = try await store.put(name, ByteSegments([1]), WriteOptions(.any))
        try await store.createFolder("a/empty")
        #expect(await failure { try await store.deleteFolder("a") } == .preconditionFailed)
        try await store.renameFolder("a", to: "z/y")
        #expect(store.bucket.names == ["z/y/b"])
        #expect(store.bucket.folders == ["z/", "z/y/", "z/y/empty/"])
        #expect(await failure { try await self.store.createFolder("x") } == .unsupported)
    }
}
