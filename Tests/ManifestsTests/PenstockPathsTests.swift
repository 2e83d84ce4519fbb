import Manifests
import ObjectStorage
import TestSupport
import Testing

@Suite struct PenstockPathsTests {
    private let paths = PenstockPaths(ObjectPrefix("models/tiny"))

    @Test func everythingStandsUnderOneDirectory() throws {
        var random = SeededRandom(seed: 1)
        let digest = try Sample.sha256(&random)
        let transfer = TransferID(digest)
        let names = [
            try paths.manifest, try paths.intent, try paths.lease, try paths.crcTable(digest),
            try paths.replaced(digest), try paths.part(transfer, lease: Generation(7), offset: 65_536),
            try paths.composite(transfer, lease: Generation(7), level: 1, index: 0),
            try paths.state(transfer, offset: 64), try paths.staged(transfer, lease: Generation(7)),
        ]
        #expect(names.allSatisfy { $0.value.hasPrefix("models/tiny/.penstock/") })
        #expect(Set(names).count == names.count)
        #expect(names[0].value == "models/tiny/.penstock/manifest.json")
        #expect(names[3].value == "models/tiny/.penstock/crc/\(digest)")
        #expect(names[5].value == "\(paths.parts(transfer))7/0000000000065536")
        #expect(names[7].value.hasPrefix(paths.states(transfer)))
    }

    @Test func aWholeBucketIsAPrefixToo() throws {
        #expect(try PenstockPaths(ObjectPrefix("")).manifest.value == ".penstock/manifest.json")
    }

    @Test func partsAreListedInTheOrderOfTheContent() throws {
        let transfer = try #require(TransferID("t"))
        let offsets = [5 << 40, 0, 9 << 16, 10 << 16, 100 << 16]
        let names = try offsets.map { try paths.part(transfer, lease: Generation(1), offset: $0) }
        #expect(names.sorted().compactMap(PenstockPaths.offset) == offsets.sorted())
    }

    @Test(arguments: ["a/b", "a/123", "a/000000000000123x", "0000000000000123/", "a/-000000000000123"])
    func otherNamesHaveNoOffset(name: String) throws {
        #expect(PenstockPaths.offset(in: try ObjectName(name)) == nil)
    }

    @Test func aPrefixThatLeavesNoRoomIsAnError() {
        let long = PenstockPaths(ObjectPrefix(String(repeating: "x", count: 1010)))
        #expect(throws: ObjectStoreError.self) { try long.manifest }
    }

    @Test(arguments: ["", "UPPER", "a/b", "../x", "a b", String(repeating: "a", count: 81)])
    func identifiersAreFitForNames(text: String) {
        #expect(TransferID(text) == nil)
        #expect(OperationID(text) == nil)
    }

    @Test func randomOperationsDiffer() {
        #expect(Set((0..<100).map { _ in OperationID.random().value }).count == 100)
    }
}
