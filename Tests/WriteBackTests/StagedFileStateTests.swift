import Checksums
import LinuxPlatform
import TestSupport
import Testing

@testable import WriteBack

@Suite struct StagedFileStateTests {
    private let layout = PartLayout(smallest: 16, largest: 64)

    /// Writes bytes, all of them `byte`.
    @discardableResult
    private func write(
        _ range: Range<Int>,
        _ byte: UInt8 = 1,
        to state: inout StagedFileState
    ) -> [PartVersion] {
        let (token, invalid) = state.beginWrite(range)
        let bytes = [UInt8](repeating: byte, count: range.count)
        bytes.withUnsafeBytes {
            state.endWrite(token, checksums: ChecksumRuns.pieces(of: $0, at: range.lowerBound, layout: layout))
        }
        return invalid
    }

    private func offers(_ state: inout StagedFileState) -> [PartVersion] {
        var offers: [PartVersion] = []
        while let offer = state.offerPart() { offers.append(offer) }
        return offers
    }

    @Test func wholePartsBehindTheFrontAreOfferedWhileTheFileIsWritten() {
        var state = StagedFileState(layout: layout)
        write(0..<15, to: &state)
        #expect(state.offerPart() == nil)
        write(15..<40, to: &state)
        let expected = CRC32C.of([UInt8](repeating: 1, count: 16))
        #expect(offers(&state).map(\.range) == [0..<16, 16..<32])
        #expect(state.offerPart() == nil)
        state.seal()
        let last = state.offerPart()
        #expect(last?.range == 32..<40)
        #expect(last?.crc32c == CRC32C.of([UInt8](repeating: 1, count: 8)))
        #expect(state.checksum == CRC32C.of([UInt8](repeating: 1, count: 40)))
        #expect(state.isCurrent(PartVersion(part: 0, revision: 0, range: 0..<16, crc32c: expected)))
    }

    /// As safetensors does: the size first, then the bytes in order.
    @Test func aDeclaredSizeIsNotContent() {
        var state = StagedFileState(layout: layout)
        #expect(state.truncate(to: 40).isEmpty)
        #expect(state.size == 40)
        #expect(state.offerPart() == nil)
        write(0..<20, to: &state)
        #expect(offers(&state).map(\.range) == [0..<16])
        #expect(state.pieces(of: 10..<40) == [.staged(10..<20), .zeros(20..<40)])
    }

    @Test func writingOverAnOfferedPartMakesItAnotherRevision() {
        var state = StagedFileState(layout: layout)
        write(0..<32, to: &state)
        let offered = offers(&state)
        #expect(write(3..<4, 2, to: &state) == [offered[0]])
        #expect(!state.isCurrent(offered[0]))
        #expect(state.isCurrent(offered[1]))
        // Its checksum is not known until all of it was written anew, or the file is sealed.
        #expect(state.offerPart() == nil)
        state.seal()
        let again = state.offerPart()
        #expect(again?.part == 0 && again?.revision == 1 && again?.crc32c == nil)
        #expect(state.checksum == nil)
    }

    @Test func aPartIsNotOfferedWhileItIsWritten() {
        var state = StagedFileState(layout: layout)
        write(0..<32, to: &state)
        let (token, _) = state.beginWrite(0..<1)
        state.seal()
        #expect(offers(&state).map(\.part) == [1])
        state.endWrite(token, checksums: nil)
        #expect(offers(&state).map(\.part) == [0])
    }

    @Test func writesThatOverlapInTimeProveNothing() {
        var state = StagedFileState(layout: layout)
        let (first, _) = state.beginWrite(0..<10)
        let (second, _) = state.beginWrite(5..<16)
        for token in [first, second] {
            let range = token == first ? 0..<10 : 5..<16
            state.endWrite(token, checksums: [.init(range: range, crc32c: .empty)])
        }
        #expect(state.front == 16)
        #expect(state.runs.runs.isEmpty)
    }

    @Test func whatFailedIsNotThere() {
        var state = StagedFileState(layout: layout)
        let (token, _) = state.beginWrite(0..<10)
        state.endWrite(token, checksums: nil)
        #expect(state.size == 0)
        #expect(state.written.isEmpty)
    }

    @Test func truncationCutsPartsAndWhatComesBackIsZeros() {
        var state = StagedFileState(layout: layout)
        write(0..<40, to: &state)
        state.seal()
        let offered = offers(&state)
        #expect(state.truncate(to: 20) == [offered[1], offered[2]])
        #expect(state.isCurrent(offered[0]))
        #expect(state.truncate(to: 30).isEmpty)
        #expect(state.pieces(of: 0..<100) == [.staged(0..<20), .zeros(20..<30)])
        // The run of the part that was cut is gone with it.
        #expect(state.checksum == nil)
    }

    @Test func appendingChangesThePartThatWasTheLast() {
        var state = StagedFileState(layout: layout)
        write(0..<20, to: &state)
        state.seal()
        let offered = offers(&state)
        state.reopen()
        #expect(write(20..<24, to: &state) == [offered[1]])
        state.seal()
        #expect(state.offerPart()?.range == 16..<24)
    }

    @Test func aHoleBehindTheEndChangesThePartThatWasTheLast() {
        var state = StagedFileState(layout: layout)
        write(0..<20, to: &state)
        state.seal()
        let offered = offers(&state)
        #expect(write(100..<101, to: &state) == [offered[1]])
    }

    @Test func theReplacedObjectShowsWhereNothingWasWritten() {
        var state = StagedFileState(kept: 30, layout: layout)
        write(10..<12, to: &state)
        write(40..<41, to: &state)
        #expect(
            state.pieces(of: 0..<99) == [
                .replaced(0..<10), .staged(10..<12), .replaced(12..<30), .zeros(30..<40), .staged(40..<41),
            ]
        )
        #expect(state.checksum == nil)
        _ = state.truncate(to: 20)
        _ = state.truncate(to: 30)
        #expect(state.pieces(of: 15..<99) == [.replaced(15..<20), .zeros(20..<30)])
    }

    @Test func whatIsWrittenDuringASynchronizationIsNotMadeSafeByIt() throws {
        var state = StagedFileState(layout: layout)
        write(0..<20, to: &state)
        let token = try state.beginSynchronization()
        write(5..<8, 2, to: &state)
        write(20..<30, to: &state)
        let record = try state.endSynchronization(token, failure: nil)
        // What was written over is there in one version or the other, and may not become zeros.
        #expect(record.synced.ranges == [0..<20])
        #expect(record.written.ranges == [0..<30])
        #expect(record.size == 30)
    }

    @Test func whatIsCutOffDuringASynchronizationIsNotMadeSafeByIt() throws {
        var state = StagedFileState(layout: layout)
        write(0..<20, to: &state)
        let token = try state.beginSynchronization()
        _ = state.truncate(to: 10)
        write(15..<20, 2, to: &state)
        let record = try state.endSynchronization(token, failure: nil)
        #expect(record.synced.ranges == [0..<10])
        #expect(record.written.ranges == [0..<10, 15..<20])
    }

    @Test func whatWasSyncedAndIsWrittenOverStaysThereInOneVersionOrTheOther() throws {
        var state = StagedFileState(layout: layout)
        write(0..<20, to: &state)
        let token = try state.beginSynchronization()
        _ = try state.endSynchronization(token, failure: nil)
        write(5..<8, 2, to: &state)
        let next = StagedFileState(state.record, isSameBoot: false, layout: layout)
        #expect(next.pieces(of: 0..<20) == [.staged(0..<20)])
    }

    @Test func aFailedSynchronizationStaysFailed() throws {
        var state = StagedFileState(layout: layout)
        write(0..<20, to: &state)
        let token = try state.beginSynchronization()
        #expect(throws: Errno.inputOutput) { try state.endSynchronization(token, failure: .inputOutput) }
        #expect(throws: Errno.inputOutput) { try state.beginSynchronization() }
        #expect(state.record.synced.isEmpty)
        // And after a restart.
        let record = try #require(StagedFileRecord(decoding: state.record.encoded))
        var next = StagedFileState(record, isSameBoot: true, layout: layout)
        #expect(throws: Errno.inputOutput) { try next.beginSynchronization() }
    }

    @Test func aRecordIsReadAsItWasWrittenAndNonsenseIsNone() throws {
        var random = SeededRandom(seed: 12)
        for _ in 0..<200 {
            var state = StagedFileState(kept: Int(random.next() % 50), layout: layout)
            for _ in 0..<(random.next() % 12) {
                let start = Int(random.next() % 100)
                write(start..<(start + 1 + Int(random.next() % 20)), to: &state)
            }
            let token = try state.beginSynchronization()
            let record = try state.endSynchronization(token, failure: nil)
            #expect(StagedFileRecord(decoding: record.encoded) == record)
            var bytes = record.encoded
            #expect(StagedFileRecord(decoding: bytes + [0]) == nil)
            #expect(StagedFileRecord(decoding: Array(bytes.dropLast())) == nil)
            for _ in 0..<4 {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            if let other = StagedFileRecord(decoding: bytes) {
                #expect(other.synced.end <= other.size && other.kept <= other.size)
                _ = StagedFileState(other, isSameBoot: false, layout: layout).checksum
            }
        }
    }

    /// Random writes, truncations and offers, beside the plain bytes: what is current has exactly its checksum.
    @Test func inAnyOrderWhatIsCurrentIsTheContent() throws {
        for seed in UInt64(0)..<60 {
            var random = SeededRandom(seed: seed)
            var state = StagedFileState(layout: layout)
            var content: [UInt8] = []
            var offered: [PartVersion] = []
            for _ in 0..<80 {
                switch random.next() % 6 {
                case 0:
                    let size = Int(random.next() % 200)
                    _ = state.truncate(to: size)
                    content = Array(content.prefix(size)) + [UInt8](repeating: 0, count: max(0, size - content.count))
                case 1: if state.isSealed { state.reopen() } else { state.seal() }
                case 2, 3: offered += offers(&state)
                default:
                    let start = random.next() % 3 == 0 ? Int(random.next() % 180) : min(content.count, 180)
                    let range = start..<(start + 1 + Int(random.next() % 30))
                    let byte = UInt8(truncatingIfNeeded: random.next())
                    write(range, byte, to: &state)
                    content += [UInt8](repeating: 0, count: max(0, range.upperBound - content.count))
                    content.replaceSubrange(range, with: [UInt8](repeating: byte, count: range.count))
                }
                #expect(state.size == content.count, "seed \(seed)")
                if let checksum = state.checksum { #expect(checksum == CRC32C.of(content), "seed \(seed)") }
                for version in offered where state.isCurrent(version) {
                    #expect(version.range.upperBound <= content.count, "seed \(seed)")
                    guard let checksum = version.crc32c, version.range.upperBound <= content.count else { continue }
                    #expect(checksum == CRC32C.of(Array(content[version.range])), "seed \(seed)")
                }
            }
            state.seal()
            offered += offers(&state)
            let current = offered.filter { state.isCurrent($0) }.sorted { $0.part < $1.part }
            #expect(current.map(\.part) == Array(0..<state.partCount), "seed \(seed)")
            #expect(current.reduce(0) { $0 + $1.range.count } == content.count)
        }
    }
}
