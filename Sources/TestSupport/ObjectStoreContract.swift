import Checksums
import LinuxPlatform
package import ObjectStorage

/// A store did not keep a promise of `ObjectStore`.
package struct ContractViolation: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// The promises of `ObjectStore` as checks that run against any store: a client on an emulator, a directory, memory.
///
/// In a test target: `@Test(arguments: ObjectStoreContract.checks)` and `try await check.run(on: store)`. Each check works
/// under a prefix of its own, so that they can share one bucket and run side by side.
package enum ObjectStoreContract {
    /// Operations that not every store has. A store without one must say `unsupported`.
    package enum Feature: String, Sendable, CaseIterable {
        case move
        case multipart
        case folders
    }

    package static let checks: [ContractCheck] = objectChecks + readChecks + writeChecks + uploadChecks + folderChecks
}

/// One promise.
package struct ContractCheck: Sendable, CustomStringConvertible {
    package let name: String
    /// The operation it is about, when not every store has it.
    package let feature: ObjectStoreContract.Feature?
    let body: @Sendable (ContractRoom) async throws -> Void

    init(
        _ name: String,
        needs feature: ObjectStoreContract.Feature? = nil,
        _ body: @escaping @Sendable (ContractRoom) async throws -> Void
    ) {
        self.name = name
        self.feature = feature
        self.body = body
    }

    package var description: String { name }

    /// - Parameters:
    ///   - features: what the store can do; the checks of others expect `unsupported`.
    ///   - prefix: everything happens below it.
    /// - Throws: `ContractViolation`, or the store's error where none was expected.
    package func run(
        on store: any ObjectStore,
        features: Set<ObjectStoreContract.Feature> = Set(ObjectStoreContract.Feature.allCases),
        prefix: String = "contract/"
    ) async throws {
        let slug = name.map { $0.isLetter || $0.isNumber ? String($0) : "-" }.joined()
        let room = ContractRoom(store: store, prefix: "\(prefix)\(slug)/", features: features)
        guard let feature, !features.contains(feature) else { return try await body(room) }
        try await room.expectUnsupported(feature)
    }
}

/// A store, a place in it, and the words that the checks are written in.
package struct ContractRoom: Sendable {
    let store: any ObjectStore
    let prefix: String
    let features: Set<ObjectStoreContract.Feature>

    func name(_ path: String) throws -> ObjectName { try ObjectName(prefix + path) }

    func expect(_ condition: Bool, _ promise: String) throws {
        if !condition { throw ContractViolation(promise) }
    }

    /// The error's code must be one of `codes`.
    func expectError(
        _ codes: ObjectStoreError.Code...,
        from what: String,
        _ body: () async throws -> Void
    ) async throws {
        do {
            try await body()
        } catch let error as ObjectStoreError {
            if codes.contains(error.code) { return }
            throw ContractViolation("\(what) failed with \(error.code) and not \(codes): \(error)")
        }
        throw ContractViolation("\(what) did not fail with \(codes)")
    }

    /// Bytes that differ at each place and from seed to seed.
    func bytes(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return random.bytes(count)
    }

    @discardableResult
    func put(
        _ path: String,
        _ bytes: [UInt8],
        _ precondition: WritePrecondition = .absent,
        metadata: [String: String] = [:]
    ) async throws -> ObjectAttributes {
        try await store.put(
            try name(path),
            ByteSegments(bytes),
            WriteOptions(precondition, metadata: metadata, crc32c: CRC32C.of(bytes))
        )
    }

    func contents(_ path: String) async throws -> [UInt8] {
        try await store.contents(try name(path), generation: nil, limit: 64 << 20).bytes
    }

    func isThere(_ path: String) async throws -> Bool {
        do throws(ObjectStoreError) {
            _ = try await store.attributes(try ObjectName(prefix + path), generation: nil)
            return true
        } catch {
            if error.code == .notFound { return false }
            throw error
        }
    }

    /// The names below the room, without its prefix.
    func listing() async throws -> [String] {
        try await store.listAll(prefix: prefix).map { String($0.name.value.dropFirst(prefix.count)) }
    }

    func expectUnsupported(_ feature: ObjectStoreContract.Feature) async throws {
        let source = try await put("source", [1])
        let target = try name("target")
        switch feature {
        case .move:
            try await expectError(.unsupported, from: "move") {
                _ = try await store.move(source.name, source.generation, to: target, precondition: .absent)
            }
        case .multipart:
            try await expectError(.unsupported, from: "multipart") {
                _ = try await store.beginMultipart(target, WriteOptions(.any))
            }
        case .folders:
            // A server that has them, but not in this bucket, calls that a conflict.
            try await expectError(.unsupported, .preconditionFailed, .invalidRequest, .notFound, from: "createFolder") {
                try await store.createFolder("\(prefix)folder/")
            }
        }
    }
}

extension ObjectStoreContract {
    static let objectChecks: [ContractCheck] = [
        ContractCheck("a put is seen by stat, whole") { room in
            let bytes = room.bytes(1000)
            let written = try await room.put("a", bytes, metadata: ["k": "v", "empty": ""])
            let found = try await room.store.attributes(try room.name("a"), generation: nil)
            try room.expect(found.generation == written.generation, "stat gives the put's generation")
            try room.expect(found.size == 1000 && found.crc32c == CRC32C.of(bytes), "stat gives size and CRC32C")
            try room.expect(found.metadata["k"] == "v" && found.metadata["empty"] == "", "stat gives the metadata")
            try room.expect(found.contentType == "application/octet-stream", "stat gives the content type")
            let pinned = try await room.store.attributes(found.name, generation: found.generation)
            try room.expect(pinned.size == 1000, "stat of a named generation")
        },
        ContractCheck("what is missing is notFound") { room in
            let other = Generation(12345)
            try await room.put("there", [1])
            try await room.expectError(.notFound, from: "stat of a missing object") {
                _ = try await room.store.attributes(try room.name("missing"), generation: nil)
            }
            try await room.expectError(.notFound, from: "stat of a missing generation") {
                _ = try await room.store.attributes(try room.name("there"), generation: other)
            }
            try await room.expectError(.notFound, from: "contents of a missing object") {
                _ = try await room.store.contents(try room.name("missing"), generation: nil, limit: 10)
            }
        },
        ContractCheck("names are bytes") { room in
            let paths = [
                "a b", "a+b", "a#b", "a%2Fb", "a?b=c&d", "d\u{E9}j\u{E0}", "de\u{301}ja\u{300}", "\u{1F600}",
                "a:b@c;d,e",
                "quo'te\"", "[x]*", "~tilde",
            ]
            for path in paths { try await room.put(path, Array(path.utf8)) }
            for path in paths {
                try room.expect(try await room.contents(path) == Array(path.utf8), "'\(path)' reads back")
            }
            let names = try await room.store.listAll(prefix: room.prefix).map(\.name)
            try room.expect(names == names.sorted(), "listed in byte order")
            try room.expect(Set(names) == Set(try paths.map(room.name)), "each name is listed as it was put")
        },
        ContractCheck("listings come in pages") { room in
            let paths = ["a", "b/1", "b/2", "c", "d/x/y", "e"]
            for path in paths { try await room.put(path, [0]) }
            try room.expect(try await room.listing() == paths, "all names in byte order")
            var seen: [String] = []
            var token: String?
            repeat {
                let page = try await room.store.list(ListRequest(prefix: room.prefix, pageSize: 2, pageToken: token))
                try room.expect(page.objects.count <= 2, "a page is no longer than asked for")
                seen += page.objects.map { String($0.name.value.dropFirst(room.prefix.count)) }
                token = page.nextPageToken
            } while token != nil
            try room.expect(seen == paths, "pages give each name once, in order")
            let from = ListRequest(prefix: room.prefix, startOffset: "\(room.prefix)c")
            let rest = try await room.store.list(from).objects.map(\.name.value)
            try room.expect(rest == ["c", "d/x/y", "e"].map { room.prefix + $0 }, "startOffset is included")
        },
        ContractCheck("a delimiter stops at directories") { room in
            for path in ["a", "b/1", "b/2", "c/d/e"] { try await room.put(path, [0]) }
            var prefixes: [String] = []
            var names: [String] = []
            var token: String?
            repeat {
                let request = ListRequest(prefix: room.prefix, delimiter: "/", pageSize: 1, pageToken: token)
                let page = try await room.store.list(request)
                prefixes += page.prefixes
                names += page.objects.map(\.name.value)
                token = page.nextPageToken
            } while token != nil
            try room.expect(names == [room.prefix + "a"], "only the objects of this level")
            try room.expect(prefixes == ["b/", "c/"].map { room.prefix + $0 }, "each directory once")
            let partial = try await room.store.list(ListRequest(prefix: "\(room.prefix)b", delimiter: "/"))
            try room.expect(partial.prefixes == ["\(room.prefix)b/"], "a prefix need not be a whole segment")
        },
        ContractCheck("delete takes exactly one generation") { room in
            let first = try await room.put("a", [1])
            let second = try await room.put("a", [2], .generation(first.generation))
            try await room.store.delete(first.name, first.generation)
            try room.expect(try await room.contents("a") == [2], "another generation stays")
            try await room.store.delete(second.name, second.generation)
            try room.expect(try await !room.isThere("a"), "the generation is gone")
            try await room.store.delete(second.name, second.generation)
        },
        ContractCheck("patch changes metadata and nothing else") { room in
            let written = try await room.put("a", [1, 2], metadata: ["keep": "1", "drop": "2"])
            let changes: [String: String?] = ["drop": nil, "new": "3"]
            let patched = try await room.store.patch(
                written.name,
                written.generation,
                metageneration: written.metageneration,
                metadata: changes
            )
            try room.expect(patched.metadata == ["keep": "1", "new": "3"], "set, removed and kept")
            try room.expect(patched.generation == written.generation, "the generation stays")
            try room.expect(patched.metageneration == written.metageneration + 1, "the metageneration counts up")
            try await room.expectError(.preconditionFailed, from: "a patch of an old metageneration") {
                _ = try await room.store.patch(
                    written.name,
                    written.generation,
                    metageneration: written.metageneration,
                    metadata: ["late": "x"]
                )
            }
        },
        ContractCheck("the store tells the time") { room in
            let before = try await room.store.serverTime()
            let written = try await room.put("a", [1])
            let after = try await room.store.serverTime()
            try room.expect(before <= after, "time goes on")
            // The clock may count whole seconds.
            if let created = written.created {
                try room.expect(created.advanced(by: .seconds(2)) >= before, "objects are made by the same clock")
            }
        },
        ContractCheck("the layout is known") { room in
            let layout = try await room.store.layout()
            try room.expect(!layout.locationType.isEmpty, "a location type")
        },
    ]
}
