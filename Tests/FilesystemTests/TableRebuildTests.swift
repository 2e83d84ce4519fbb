import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

/// Files of a snapshot whose CRC table is gone or wrong: nothing of them is shown that was not proven.
struct TableRebuildTests {
    private static let size = (5 << 20) + 4321
    private let bytes: [UInt8]
    private let snapshot: PlantedSnapshot
    private let table: String

    init() throws {
        var random = SeededRandom(seed: 23)
        bytes = random.bytes(Self.size)
        snapshot = try PlantedSnapshot(["w.bin": bytes])
        table = try PenstockPaths(ObjectPrefix("")).crcTable(SHA256Digest.of(bytes)).value
    }

    /// The ways in which a table cannot be believed.
    enum Damage: CaseIterable { case missing, flipped, short, long, ofAnotherObject }

    private func damageTable(_ damage: Damage) throws {
        let stored = try #require(snapshot.bucket.bytes(table))
        switch damage {
        case .missing: snapshot.bucket.remove(table)
        case .flipped: snapshot.bucket.flipBit(table, at: 77)
        case .short: try snapshot.bucket.plant(table, stored.dropLast(4))
        case .long: try snapshot.bucket.plant(table, stored + [0, 0, 0, 0])
        case .ofAnotherObject: try snapshot.bucket.plant(table, CRCTable.of(bytes.reversed()).encoded())
        }
    }

    private func openedRig() async throws -> (Rig, NodeID) {
        let rig = try Rig(bucket: snapshot.bucket, manifest: snapshot.manifest)
        let node = try await rig.walk("w.bin").node
        try await rig.open(node)
        return (rig, node)
    }

    @Test(arguments: Damage.allCases) func theObjectIsReadAndProvenBeforeItOpens(damage: Damage) async throws {
        try damageTable(damage)
        let (rig, node) = try await openedRig()
        #expect(rig.lines.containing("no CRC table").count == 1)
        #expect(rig.lines.containing("the object is proven").count == 1)
        #expect(try await rig.read(node, 5, 1000) == Array(bytes[5..<1005]))
        let last = Self.size - 100
        #expect(try await rig.read(node, last, 1000) == Array(bytes[last...]))
    }

    @Test func eachGranuleIsThenCheckedAsWithAStoredTable() async throws {
        try damageTable(.missing)
        let (rig, node) = try await openedRig()
        snapshot.bucket.flipBit("w.bin", at: 3_000_000 * 8)
        await #expect(throws: FilesystemError.inputOutput) { try await rig.read(node, 2_999_990, 100) }
        #expect(try await rig.read(node, 0, 100_000) == Array(bytes[..<100_000]))
    }

    @Test func aRottenObjectWithoutATableIsNotOpened() async throws {
        try damageTable(.missing)
        snapshot.bucket.flipBit("w.bin", at: (Self.size - 1) * 8)
        let rig = try Rig(bucket: snapshot.bucket, manifest: snapshot.manifest)
        let node = try await rig.walk("w.bin").node
        await #expect(throws: FilesystemError.inputOutput) { try await rig.open(node) }
        // Not even its first bytes, which are right: nobody could tell.
        await #expect(throws: FilesystemError.inputOutput) { try await rig.read(node, 0, 100) }
        #expect(rig.lines.containing("is not opened").count == 2)
        // A later open looks again: what was repaired meanwhile is found.
        snapshot.bucket.flipBit("w.bin", at: (Self.size - 1) * 8)
        try await rig.open(node)
        #expect(try await rig.read(node, 0, 100) == Array(bytes[..<100]))
    }

    @Test func aByteThatFlipsOnTheWayIsReadAgain() async throws {
        try damageTable(.flipped)
        let isArmed = Lock(true)
        snapshot.bucket.onRead { name, _, bytes in
            guard name.value == "w.bin",
                isArmed.withLock({ armed in
                    defer { armed = false }
                    return armed
                })
            else { return }
            bytes[10] ^= 4
        }
        let (rig, node) = try await openedRig()
        #expect(!isArmed.withLock { $0 }, "a byte was flipped")
        #expect(try await rig.read(node, 0, 1000) == Array(bytes[..<1000]))
    }

    @Test func aReplacedObjectWithoutATableIsProvenFromTheCopyKeptAside() async throws {
        try damageTable(.missing)
        let aside = try PenstockPaths(ObjectPrefix("")).replaced(SHA256Digest.of(bytes)).value
        try snapshot.bucket.plant(aside, bytes)
        try snapshot.bucket.plant("w.bin", [1, 2, 3])
        let (rig, node) = try await openedRig()
        #expect(try await rig.read(node, 4_000_000, 1000) == Array(bytes[4_000_000..<4_001_000]))
    }

    @Test func anObjectThatIsGoneIsStale() async throws {
        try damageTable(.missing)
        snapshot.bucket.remove("w.bin")
        let rig = try Rig(bucket: snapshot.bucket, manifest: snapshot.manifest)
        let node = try await rig.walk("w.bin").node
        await #expect(throws: FilesystemError.stale) { try await rig.open(node) }
    }
}
