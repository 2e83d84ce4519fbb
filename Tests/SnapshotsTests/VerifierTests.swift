import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import Snapshots
import TestSupport
import Testing

/// What verifying calls damaged, and what it looks at again first.
struct VerifierTests {
    private let bench = Bench()
    private static let large = "model.safetensors"
    private static let small = "config.json"
    private let contents = ConveyorTests.files(31)

    private func convey() async throws {
        _ = try await bench.conveyor(bench.store()).convey(try MemorySource(contents))
    }

    /// Flips a byte of the object in its next `times` reads that hold it.
    private func flipInTransit(_ path: String, at offset: Int, times: Int) -> Lock<Int> {
        let left = Lock(times)
        let name = Bench.prefix.value + path
        bench.bucket.onRead { object, range, bytes in
            guard object.value == name, offset >= range.offset, offset < range.end else { return }
            let flips = left.withLock { left in
                defer { left -= 1 }
                return left > 0
            }
            if flips { bytes[offset - range.offset] ^= 1 }
        }
        return left
    }

    private func verify() async throws -> (report: VerificationReport, misread: [String], bytes: Int) {
        let heard = Lock((misread: [String](), bytes: 0))
        let verifier = SnapshotVerifier(
            bench.store(),
            prefix: Bench.prefix,
            options: Bench.options(),
            time: bench.time
        ) { event in
            heard.withLock { heard in
                if case .misread(let path, let reason) = event { heard.misread.append("\(path): \(reason)") }
                if case .readBack(let count) = event { heard.bytes += count }
            }
        }
        let report = try await verifier.verify()
        let result = heard.withLock(\.self)
        return (report, result.misread, result.bytes)
    }

    private func removeTable() throws {
        let bytes = try #require(contents[Self.large])
        bench.bucket.remove(try PenstockPaths(Bench.prefix).crcTable(SHA256Digest.of(bytes)).value)
    }

    @Test func aByteThatFlipsOnTheWayIsNotDamage() async throws {
        try await convey()
        let left = flipInTransit(Self.large, at: 2_100_000, times: 1)
        let (report, misread, _) = try await verify()
        #expect(left.withLock { $0 } < 1, "the byte was flipped")
        #expect(report.problems.isEmpty && report.verifiedFiles == 4)
        let granule = 2_100_000 / 65_536 * 65_536
        #expect(misread == ["\(Self.large): the granule at byte \(granule) did not have its CRC32C"])
    }

    @Test func aSmallFileIsReadAgainWhole() async throws {
        try await convey()
        _ = flipInTransit(Self.small, at: 100, times: 1)
        let (report, misread, bytes) = try await verify()
        #expect(report.problems.isEmpty)
        #expect(misread.count == 1 && misread[0].hasPrefix(Self.small))
        #expect(bytes == contents.values.reduce(612) { $0 + $1.count }, "nothing else was read again")
    }

    @Test func withoutATableTheFileIsReadAgainWhole() async throws {
        try await convey()
        try removeTable()
        _ = flipInTransit(Self.large, at: 5, times: 1)
        let (report, misread, _) = try await verify()
        #expect(report.problems.map(\.fault) == [.table])
        #expect(misread.count == 1)
    }

    @Test(arguments: [true, false]) func whatIsWrongTwiceIsDamage(hasTable: Bool) async throws {
        try await convey()
        if !hasTable { try removeTable() }
        bench.bucket.flipBit(Bench.prefix.value + Self.large, at: 2_100_000 * 8)
        let (report, misread, bytes) = try await verify()
        #expect(report.problems.map(\.fault) == [.damaged] && misread.isEmpty)
        let problem = try #require(report.problems.first)
        #expect(problem.path.value == Self.large)
        if hasTable {
            #expect(problem.message.contains("\(2_100_000 / 65_536 * 65_536)"))
            #expect(bytes == contents.values.reduce(0) { $0 + $1.count }, "only the piece was read again")
        }
    }
}
