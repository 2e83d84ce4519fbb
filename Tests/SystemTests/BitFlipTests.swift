import Emulators
import Foundation
import TestSupport
import Testing

extension ConveyanceProof {
    /// One bit is wrong somewhere. It is found, said, and never published.
    @Suite struct BitFlipTests {
        static let repository = "acme/flipped"
        static let weights = "model.safetensors"
        static let files = ModelFiles(
            seed: 3,
            [weights: 24 << 20 | 321, "tokenizer.json": 2 << 20, "config.json": 600]
        )
        /// Positions per place.
        static let rounds = TestRun.isSoak ? 12 : 1

        let servers: EmulatedServers
        let command = ConveyanceProof.arguments(repository, "flipped")

        init() throws {
            servers = try EmulatedServers()
            try Self.files.write(to: servers.directory(of: Self.repository))
            servers.hub.warm()
        }

        static func position(_ random: inout SeededRandom, in path: String) -> Int {
            Int.random(in: 0..<(files.contents[path]?.count ?? 1), using: &random)
        }

        /// Nothing of a snapshot stands where readers look.
        func expectNothingPublished(_ comment: Comment) async throws {
            let names = try await servers.bucket.names("flipped/")
            #expect(names.filter { !$0.hasPrefix("flipped/.penstock/") } == [], comment)
            #expect(!names.contains("flipped/.penstock/manifest.json"), comment)
        }

        func expectHealed(_ ended: EndedProgram, _ comment: Comment) async throws {
            #expect(ended.status == 0, "\(comment): \(ended)")
            try await Self.files.expectConveyed(to: servers.bucket, "flipped", comment)
        }

        func conveyed() async throws { try await expectHealed(try await servers.run(command), "a clean conveyance") }
    }
}

// MARK: - On the way in

extension ConveyanceProof.BitFlipTests {
    @Test(arguments: [weights, "tokenizer.json"]) func inTheSourceItIsRefused(path: String) async throws {
        var random = TestRun.random(10)
        for _ in 0..<Self.rounds {
            let position = Self.position(&random, in: path)
            // The Hub keeps the hashes that it took before.
            try Self.flipOnDisk(servers.directory(of: Self.repository).appending(path: path), position)
            let ended = try await servers.run(command)
            #expect(ended.status == 3, "\(path), byte \(position): \(ended)")
            #expect(ended.errors.contains("\(path) is damaged: the source promised"), "\(ended)")
            try await expectNothingPublished("\(path), byte \(position)")
            try Self.flipOnDisk(servers.directory(of: Self.repository).appending(path: path), position)
        }
        try await conveyed()
    }

    @Test func onceInTransitItIsFetchedAgain() async throws {
        var random = TestRun.random(11)
        for _ in 0..<Self.rounds {
            let nth = Int.random(in: 1...8, using: &random)
            let byte = Int.random(in: 0..<100_000, using: &random)
            var rule = FaultRule(.sending { $0.flipBitAt = byte }, method: "GET")
            rule.server = "cdn"
            rule.nth = nth
            servers.control.add(rule)
            let ended = try await servers.run(command)
            try await expectHealed(ended, "byte \(byte) of range \(nth)")
            #expect(ended.output.contains("\"event\":\"fetched_again\",\"path\":\"\(Self.weights)\""), "\(ended)")
            try await servers.bucket.deleteAll("flipped/")
            servers.control.reset()
        }
    }

    @Test func alwaysInTransitItIsRefused() async throws {
        var rule = FaultRule(.sending { $0.flipBitAt = 77 }, method: "GET")
        rule.server = "cdn"
        rule.times = nil
        servers.control.add(rule)
        let ended = try await servers.run(command)
        #expect(ended.status == 3, "\(ended)")
        #expect(ended.errors.contains("\(Self.weights) is damaged"), "\(ended)")
        try await expectNothingPublished("every range flipped")
        servers.control.reset()
        try await conveyed()
    }

    @Test func onTheWayToTheBucketItIsSentAgain() async throws {
        var random = TestRun.random(12)
        for _ in 0..<Self.rounds {
            // Some of the parts: past the head of the multipart message, within the bytes of the part.
            var actions = FaultActions()
            actions.receive.flipBitAt = Int.random(in: 4_000..<1 << 20, using: &random)
            var rule = FaultRule(actions, method: "POST", path: "/upload/")
            rule.server = "gcs"
            rule.nth = Int.random(in: 2...6, using: &random)
            servers.control.add(rule)
            try await expectHealed(try await servers.run(command), "one part flipped on its way")
            servers.control.reset()
            try await servers.bucket.deleteAll("flipped/")
        }
    }

    /// Inverts a bit and leaves size, inode and time of change as they were.
    private static func flipOnDisk(_ file: URL, _ position: Int) throws {
        let before = try FileManager.default.attributesOfItem(atPath: file.path)
        var status = stat()
        stat(file.path, &status)
        let handle = try FileHandle(forUpdating: file)
        try handle.seek(toOffset: UInt64(position))
        let byte = try #require(try handle.read(upToCount: 1)?.first)
        try handle.seek(toOffset: UInt64(position))
        try handle.write(contentsOf: Data([byte ^ 1]))
        try handle.close()
        let times = [status.st_atim, status.st_mtim]
        try #require(utimensat(AT_FDCWD, file.path, times, 0) == 0, "\(before)")
    }
}

// MARK: - In what an interrupted run left

extension ConveyanceProof.BitFlipTests {
    /// Leaves the remains of a run that died with several parts in the bucket.
    private func died(_ more: [String] = []) async throws {
        let wire = try servers.tripWire(.compose, carriedOut: false)
        let killed = try await servers.start(command + more).killed { wire.isTripped }
        wire.disarm()
        try #require(killed)
    }

    /// The remains of a run that died when all parts of its multipart uploads were in the bucket.
    private func diedInMultipart() async throws {
        let wire = try servers.tripWire(.completeMultipart, carriedOut: false)
        let killed = try await servers.start(multipart).killed { wire.isTripped }
        wire.disarm()
        try #require(killed)
    }

    private var multipart: [String] { ConveyanceProof.arguments(Self.repository, "flipped", parts: .multipart) }

    @Test(arguments: [true, false]) func inAnUploadsStateItIsNotUsed(atRest: Bool) async throws {
        var random = TestRun.random(22)
        for _ in 0..<Self.rounds {
            try await diedInMultipart()
            let states = try await remains("state")
            try #require(!states.isEmpty)
            for state in states { _ = try await damage(state.name, &random, atRest: atRest) }
            try await expectHealed(try await servers.run(multipart), "\(states.map(\.name))")
            try await servers.bucket.deleteAll("flipped/")
        }
    }

    @Test func onTheWayToAMultipartUploadItIsSentAgain() async throws {
        var random = TestRun.random(23)
        for _ in 0..<Self.rounds {
            var actions = FaultActions()
            actions.receive.flipBitAt = Int.random(in: 0..<1 << 20, using: &random)
            var rule = FaultRule(actions, method: "PUT", path: "partNumber=")
            rule.server = "gcs"
            rule.nth = Int.random(in: 1...3, using: &random)
            servers.control.reset()
            let number = servers.control.add(rule)
            let ended = try await servers.run(multipart)
            #expect(servers.control.strikes(of: number) == 1)
            #expect(servers.fetchedBytes == Self.files.distinctSize, "the part was still in memory")
            try await expectHealed(ended, "one part flipped on its way")
            servers.control.reset()
            try await servers.bucket.deleteAll("flipped/")
        }
    }

    private func remains(_ kind: String) async throws -> [BucketInspector.StoredObject] {
        try await servers.bucket.objects("flipped/.penstock/\(kind)/")
    }

    @Test(arguments: [true, false]) func inTheIntentItIsRefusedAndRebuilt(atRest: Bool) async throws {
        var random = TestRun.random(20)
        for _ in 0..<Self.rounds {
            let wire = try servers.tripWire(.move, nth: 2, carriedOut: true)
            try #require(try await servers.start(command).killed { wire.isTripped })
            wire.disarm()
            let byte = try await damage("flipped/.penstock/intent.json", &random, atRest: atRest)
            let refused = try await servers.run(command)
            #expect(refused.status == 3, "byte \(byte): \(refused)")
            #expect(refused.errors.contains("--rebuild-manifest"), "\(refused)")
            try await expectHealed(try await servers.run(command + ["--rebuild-manifest"]), "byte \(byte)")
            let verified = try await servers.run(ConveyanceProof.verify("flipped"))
            #expect(verified.status == 0, "\(verified)")
            try await servers.bucket.deleteAll("flipped/")
        }
    }

    @Test func inAStoredPartItIsFetchedAgain() async throws {
        var random = TestRun.random(13)
        for _ in 0..<Self.rounds {
            try await died()
            let part = try #require(try await remains("parts").randomElement(using: &random))
            let byte = Int.random(in: 0..<(Int(part.size) ?? 1), using: &random)
            #expect(servers.gcs.corrupt(bucket: EmulatedServers.bucket, object: part.name, byte: byte))
            let ended = try await servers.run(command)
            try await expectHealed(ended, "byte \(byte) of \(part.name)")
            #expect(ended.output.contains("\"event\":\"fetched_again\""), "\(ended)")
            try await servers.bucket.deleteAll("flipped/")
        }
    }

    @Test func inAReplacedPartItIsFetchedAgain() async throws {
        var random = TestRun.random(14)
        try await died()
        let part = try #require(try await remains("parts").randomElement(using: &random))
        var content = try await servers.bucket.contents(part.name)
        content[Int.random(in: 0..<content.count, using: &random)] ^= 1
        try await servers.bucket.put(part.name, content, metadata: part.metadata ?? [:])
        try await expectHealed(try await servers.run(command), "\(part.name)")
    }

    @Test func inAPartsMetadataItIsFetchedAgain() async throws {
        var random = TestRun.random(15)
        for _ in 0..<max(3, Self.rounds) {
            try await died()
            let part = try #require(try await remains("parts").randomElement(using: &random))
            let metadata = try #require(part.metadata).filter { !$0.value.isEmpty }
            let key = try #require(metadata.keys.sorted().randomElement(using: &random))
            var value = Array(try #require(metadata[key]).utf8)
            value[Int.random(in: 0..<value.count, using: &random)] ^= 1
            try await servers.bucket.patch(part.name, [key: String(decoding: value, as: UTF8.self)])
            servers.control.reset()
            try await expectHealed(try await servers.run(command), "\(key) of \(part.name)")
            let size = try #require(Int(part.size))
            #expect(servers.fetchedBytes >= size, "\(key) of \(part.name): the part is not used")
            try await servers.bucket.deleteAll("flipped/")
        }
    }

    @Test(arguments: [true, false]) func inASavedHashStateItIsNotUsed(atRest: Bool) async throws {
        var random = TestRun.random(16)
        let marks = ["--mark-interval", "\(8 << 20)"]
        for _ in 0..<Self.rounds {
            try await died(marks)
            let states = try await remains("state")
            #expect(!states.isEmpty)
            for state in states {
                let byte = Int.random(in: 0..<(Int(state.size) ?? 1), using: &random)
                if atRest {
                    #expect(servers.gcs.corrupt(bucket: EmulatedServers.bucket, object: state.name, byte: byte))
                } else {
                    var content = try await servers.bucket.contents(state.name)
                    content[byte] ^= 1
                    try await servers.bucket.put(state.name, content)
                }
            }
            let ended = try await servers.run(command + marks)
            try await expectHealed(ended, "\(states.map(\.name))")
            #expect(!ended.output.contains("fetched_again"), "found before it was used: \(ended)")
            try await servers.bucket.deleteAll("flipped/")
        }
    }
}

// MARK: - In what is published

extension ConveyanceProof.BitFlipTests {
    /// Damages an object: as a disk does, under its old checksum, or as a writer does, with a checksum of its own.
    private func damage(_ name: String, _ random: inout SeededRandom, atRest: Bool) async throws -> Int {
        var content = try await servers.bucket.contents(name)
        let byte = Int.random(in: 0..<content.count, using: &random)
        if atRest {
            #expect(servers.gcs.corrupt(bucket: EmulatedServers.bucket, object: name, byte: byte))
        } else {
            content[byte] ^= 1
            try await servers.bucket.put(name, content)
        }
        return byte
    }

    @Test(arguments: [weights, "config.json"], [true, false])
    func inAPublishedFileItIsFoundAndRepaired(path: String, atRest: Bool) async throws {
        try await conveyed()
        var random = TestRun.random(17)
        for _ in 0..<Self.rounds {
            let byte = try await damage("flipped/\(path)", &random, atRest: atRest)
            let found = try await servers.run(ConveyanceProof.verify("flipped"))
            #expect(found.status == 3, "byte \(byte): \(found)")
            #expect(found.output.contains("\"event\":\"problem\",\"path\":\"\(path)\""), "\(found)")
            let repaired = try await servers.run(ConveyanceProof.verify("flipped", ["--repair"]))
            try await expectHealed(repaired, "byte \(byte) of \(path)")
            let again = try await servers.run(ConveyanceProof.verify("flipped"))
            #expect(again.status == 0, "\(again)")
        }
    }

    @Test(arguments: [weights, "config.json"]) func onTheWayToVerifyItIsReadAgain(path: String) async throws {
        try await conveyed()
        var random = TestRun.random(21)
        for _ in 0..<Self.rounds {
            // Also the shortest range has it: whichever request comes first is struck.
            let byte = Int.random(in: 0..<300, using: &random)
            var rule = FaultRule(.sending { $0.flipBitAt = byte }, method: "GET", path: path)
            rule.server = "gcs"
            servers.control.add(rule)
            let ended = try await servers.run(ConveyanceProof.verify("flipped"))
            #expect(ended.status == 0, "byte \(byte) of \(path): \(ended)")
            #expect(ended.output.contains("\"event\":\"misread\",\"path\":\"\(path)\""), "\(ended)")
            // What stays wrong is damage.
            rule.times = nil
            servers.control.add(rule)
            let damaged = try await servers.run(ConveyanceProof.verify("flipped"))
            #expect(damaged.status == 3, "byte \(byte) of \(path): \(damaged)")
            servers.control.reset()
        }
    }

    @Test(arguments: [true, false]) func inACRCTableItIsFoundAndRepaired(atRest: Bool) async throws {
        try await conveyed()
        var random = TestRun.random(18)
        for _ in 0..<Self.rounds {
            let table = try #require(
                try await servers.bucket.names("flipped/.penstock/crc/").randomElement(using: &random)
            )
            let byte = try await damage(table, &random, atRest: atRest)
            let found = try await servers.run(ConveyanceProof.verify("flipped"))
            #expect(found.status == 3, "byte \(byte) of \(table): \(found)")
            #expect(found.output.contains("\"fault\":\"table\""), "\(found)")
            let repaired = try await servers.run(ConveyanceProof.verify("flipped", ["--repair"]))
            try await expectHealed(repaired, "byte \(byte) of \(table)")
            let again = try await servers.run(ConveyanceProof.verify("flipped"))
            #expect(again.status == 0, "byte \(byte) of \(table), repaired: \(again)")
        }
    }

    @Test(arguments: [true, false]) func inTheManifestItIsFoundAndRebuilt(atRest: Bool) async throws {
        try await conveyed()
        var random = TestRun.random(19)
        for _ in 0..<Self.rounds {
            let byte = try await damage("flipped/.penstock/manifest.json", &random, atRest: atRest)
            let verified = try await servers.run(ConveyanceProof.verify("flipped"))
            #expect(verified.status == 3, "byte \(byte): \(verified)")
            let refused = try await servers.run(command)
            #expect(refused.status == 3, "byte \(byte): \(refused)")
            #expect(refused.errors.contains("--rebuild-manifest"), "\(refused)")
            servers.control.reset()
            try await expectHealed(try await servers.run(command + ["--rebuild-manifest"]), "byte \(byte)")
            #expect(servers.fetchedBytes == 0, "what stands is proven, not fetched")
            let again = try await servers.run(ConveyanceProof.verify("flipped"))
            #expect(again.status == 0, "\(again)")
        }
    }
}
