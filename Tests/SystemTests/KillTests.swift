import Emulators
import Foundation
import TestSupport
import Testing

extension ConveyanceProof {
    /// SIGKILL anywhere in a conveyance; the same command, run again, finishes it as if nothing had happened.
    @Suite struct KillTests {
        /// Where a run dies.
        struct Point: CustomStringConvertible {
            enum Place {
                /// While the nth request of a kind hangs, before or after it took effect.
                case request(TripWire.Pattern, nth: Int, carriedOut: Bool)
                /// When so many bytes have come from the Hub.
                case bytes(Int)
                /// One run after the other, each when so many bytes have come in all.
                case series([Int])
                /// In a first run at so many bytes, and again while the second run takes the lease of the first.
                case theft(Int, carriedOut: Bool)
            }
            var description: String
            var place: Place
        }

        /// How many requests of each kind one undisturbed conveyance makes.
        struct Census {
            let uploads: Int
            /// Composes, or completed multipart uploads.
            let joins: Int
            let begins: Int
            let parts: Int
            let moves: Int
            let deletes: Int
            let media: Int

            init(_ log: [LoggedRequest]) {
                func count(_ method: String, _ part: String, _ server: String = "gcs") -> Int {
                    log.count { $0.server == server && $0.method == method && $0.target.contains(part) }
                }
                uploads = count("POST", "/upload/")
                joins = count("POST", "/compose") + count("POST", "?uploadId=")
                begins = count("POST", "?uploads")
                parts = count("PUT", "?partNumber=")
                moves = count("POST", "/moveTo/")
                deletes = count("DELETE", "/o/")
                media = count("GET", "/", "cdn")
            }
        }

        private static let repository = "acme/killed"
        private static let files = ModelFiles(
            seed: 1,
            [
                "model-00001-of-00002.safetensors": 72 << 20 | 12_345, "model-00002-of-00002.safetensors": 21 << 20 | 1,
                "tokenizer.json": 3 << 20, "config.json": 700, "onnx/decoder/model.onnx": 1 << 20, "empty.txt": 0,
            ],
            twins: ["copy/weights.safetensors": "model-00002-of-00002.safetensors"]
        )

        @Test(arguments: PartsWay.allCases) func killedAnywhereItFinishesWhenRunAgain(_ way: PartsWay) async throws {
            let servers = try EmulatedServers()
            try Self.files.write(to: servers.directory(of: Self.repository))
            servers.hub.warm()
            let census = try await Self.undisturbed(servers, way)
            #expect((way == .multipart) == (census.parts > 0))
            var random = TestRun.random(1)
            let points = Self.points(census, way, &random)
            for (index, point) in points.enumerated() {
                try await Self.prove(point, servers, way, prefix: "killed/\(index)")
            }
            #expect(points.count >= (TestRun.isSoak ? 50 : 10))
        }

        private static func undisturbed(_ servers: EmulatedServers, _ way: PartsWay) async throws -> Census {
            let ended = try await servers.run(arguments(repository, "whole", parts: way))
            try #require(ended.status == 0, "\(ended)")
            try await files.expectConveyed(to: servers.bucket, "whole")
            #expect(servers.fetchedBytes == files.distinctSize, "every byte once, twins too")
            // Before the test itself deletes anything.
            let census = Census(servers.control.log)
            try await servers.bucket.deleteAll("whole/")
            return census
        }

        /// One point: die there, run again, compare everything.
        private static func prove(
            _ point: Point,
            _ servers: EmulatedServers,
            _ way: PartsWay,
            prefix: String
        ) async throws {
            servers.control.reset()
            let command = arguments(repository, prefix, parts: way)
            let kills = try await die(point, command, servers)
            #expect(kills > 0, "\(point): the run ended before it got there")
            let ended = try await servers.run(command)
            #expect(ended.status == 0, "\(point): \(ended)")
            let twice = servers.fetchedBytes - files.distinctSize
            #expect(twice <= kills * way.memory, "\(point): \(twice) bytes were fetched twice in \(kills) kills")
            try await files.expectConveyed(to: servers.bucket, prefix, "\(point)")
            let verified = try await servers.run(verify(prefix))
            #expect(verified.status == 0, "\(point): \(verified)")
            try await servers.bucket.deleteAll("\(prefix)/")
        }

        /// Runs until it is killed at the point.
        ///
        /// - Returns: how many runs were killed.
        private static func die(_ point: Point, _ command: [String], _ servers: EmulatedServers) async throws -> Int {
            func fetched() -> Int { servers.control.mediaBytes.values.reduce(0, +) }
            switch point.place {
            case .request(let pattern, let nth, let carriedOut):
                let wire = try servers.tripWire(pattern, nth: nth, carriedOut: carriedOut)
                defer { wire.disarm() }
                return try await servers.start(command).killed { wire.isTripped } ? 1 : 0
            case .bytes(let count):
                return try await servers.start(command).killed { fetched() >= count } ? 1 : 0
            case .series(let counts):
                var kills = 0
                for count in counts where try await servers.start(command).killed(when: { fetched() >= count }) {
                    kills += 1
                }
                return kills
            case .theft(let count, let carriedOut):
                guard try await servers.start(command).killed(when: { fetched() >= count }) else { return 0 }
                let wire = try servers.tripWire(.replacingUpload, carriedOut: carriedOut)
                defer { wire.disarm() }
                return try await servers.start(command).killed { wire.isTripped } ? 2 : 1
            }
        }
    }
}

// MARK: - The points

extension ConveyanceProof.KillTests {
    /// All points of a soak, or those that must not be missing and a seeded choice of the others.
    private static func points(_ census: Census, _ way: PartsWay, _ random: inout SeededRandom) -> [Point] {
        let landmarks = landmarks(census, way)
        var others = scattered(census, way, &random)
        others.shuffle(using: &random)
        return landmarks + (TestRun.isSoak ? others : Array(others.prefix(4)))
    }

    private static func landmarks(_ census: Census, _ way: PartsWay) -> [Point] {
        func at(_ description: String, _ pattern: TripWire.Pattern, _ nth: Int, _ carriedOut: Bool) -> Point {
            Point(description: description, place: .request(pattern, nth: nth, carriedOut: carriedOut))
        }
        var points = [
            at("put together, not yet published", way.join, census.joins, true),
            at("the intent recorded, nothing published", .move, 1, false),
            at("published, no manifest", .move, census.moves, true),
            at("the manifest there, nothing cleaned up", .delete, 1, false),
            at("half cleaned up", .delete, max(1, census.deletes / 2), false),
            Point(description: "stealing the lease", place: .theft(20 << 20, carriedOut: true)),
        ]
        if way == .components { points.append(at("the manifest on its way", .upload, census.uploads, false)) }
        return points
    }

    private static func scattered(_ census: Census, _ way: PartsWay, _ random: inout SeededRandom) -> [Point] {
        var points: [Point] = []
        func add(_ count: Int, _ word: String, _ pattern: TripWire.Pattern, of total: Int) {
            for _ in 0..<count {
                let nth = Int.random(in: 1...max(1, total), using: &random)
                let carriedOut = Bool.random(using: &random)
                let place = Point.Place.request(pattern, nth: nth, carriedOut: carriedOut)
                points.append(Point(description: "\(carriedOut ? "after" : "before") \(word) \(nth)", place: place))
            }
        }
        // One state covers what came while the last was saved: how many there are, and deletes of them, is up to timing.
        let isExact = way == .components
        add(12, "upload", .upload, of: isExact ? census.uploads : census.uploads / 2)
        add(8, "range", .media, of: census.media)
        add(4, "join", way.join, of: census.joins)
        if way == .multipart {
            add(6, "part", .putPart, of: census.parts)
            add(2, "begin", .beginMultipart, of: census.begins)
        }
        add(5, "move", .move, of: census.moves)
        add(7, "delete", .delete, of: isExact ? census.deletes : census.deletes / 2)
        for _ in 0..<8 {
            let bytes = Int.random(in: 0..<files.distinctSize, using: &random)
            points.append(Point(description: "after \(bytes) bytes", place: .bytes(bytes)))
        }
        for _ in 0..<3 {
            let counts = (0..<4).map { _ in Int.random(in: 0..<files.distinctSize, using: &random) }.sorted()
            points.append(Point(description: "again and again, after \(counts) bytes", place: .series(counts)))
        }
        for carriedOut in [true, false] {
            let bytes = Int.random(in: 0..<files.distinctSize / 2, using: &random)
            let word = carriedOut ? "after" : "before"
            points.append(
                Point(description: "\(word) a theft, at \(bytes)", place: .theft(bytes, carriedOut: carriedOut))
            )
        }
        return points
    }
}

extension PartsWay {
    /// The request that makes one object of the parts.
    fileprivate var join: TripWire.Pattern { self == .components ? .compose : .completeMultipart }
}
