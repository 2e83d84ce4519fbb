import Glibc
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import BlockCache

/// A disk that does not answer: readers go on without it, and what it says later changes nothing.
struct DiskHangTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Every thread that reads the disk is held, as by a disk that hangs, until the gate opens.
    private func hang(_ rig: DiskRig, until gate: Gate) {
        for _ in 0..<8 { rig.disk.readers.submit { try? gate.wait() } }
    }

    @Test(arguments: [false, true])
    func readersGetTheirBytesFromTheNetwork(isOpen: Bool) async throws {
        let object = try DiskObject()
        let bucket = LyingSource(object.bytes)
        let first = try DiskRig(directory.path)
        #expect(try await first.readAll(first.content(object, bucket)) == object.bytes)

        let second = try DiskRig(directory.path, readPatience: .milliseconds(50))
        let content = second.content(object, bucket)
        if isOpen { await second.disk.settle() }
        let gate = Gate()
        hang(second, until: gate)
        let fetched = bucket.requested
        for offset in stride(from: 0, to: object.bytes.count, by: 1 << 20) {
            let range = ByteRange(offset: offset, count: min(1 << 20, object.bytes.count - offset))
            #expect(try await second.cache.read(content, range) == Array(object.bytes[range.offset..<range.end]))
        }
        #expect(bucket.requested > fetched && second.metrics.diskErrors > 0)
        gate.open()
        // What it says now is late: nobody waits for it, and nobody's memory is touched.
        await second.disk.readers.run {}
        #expect(try await second.readAll(content) == object.bytes)
    }

    /// Who only wants to show something is told what is known.
    @Test func whoLooksIsToldWithoutTheDisk() async throws {
        let object = try DiskObject()
        let rig = try DiskRig(directory.path)
        let content = rig.content(object, LyingSource(object.bytes))
        _ = try await rig.readAll(content)
        let absent = try DiskObject("absent", size: 3_000_000)
        func survey(_ patience: Duration) async -> DiskSurvey {
            await withCheckedContinuation { continuation in
                rig.disk.survey([object.identity, absent.identity], patience: patience) {
                    continuation.resume(returning: $0)
                }
            }
        }
        let before = await survey(.seconds(60))
        #expect(before.responds && before.usedBytes >= object.bytes.count)
        let gate = Gate()
        rig.disk.lookers.submit { try? gate.wait() }
        for _ in 0..<DiskCache.maximumSurveys + 3 {
            let found = await survey(.milliseconds(20))
            #expect(!found.responds)
            #expect(found.residency(object.identity).isProven && found.residency(absent.identity).bytes == 0)
        }
        gate.open()
        await rig.disk.lookers.run {}
        let after = await survey(.seconds(60))
        #expect(after.responds && after.usedBytes == before.usedBytes)
    }

    /// Whatever the order of events, the reader goes on exactly once, and no piece lands after that.
    @Test(arguments: 0..<2000 as Range<UInt64>)
    func exactlyOneGoesOn(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var turn = DiskTurn()
        var wentOn = 0
        var pieces = Int.random(in: 0...4, using: &random)
        var isDiskDone = false
        var isAlarmDone = false
        var isCopying = false
        while !(isDiskDone && isAlarmDone) {
            if !isAlarmDone, Bool.random(using: &random) {
                isAlarmDone = true
                wentOn += turn.patienceEnded() ? 1 : 0
                #expect(!isCopying || wentOn == 0)
            } else if isCopying {
                isCopying = false
                isDiskDone = turn.pieceCopied()
                wentOn += isDiskDone ? 1 : 0
            } else if !isDiskDone, pieces > 0 {
                pieces -= 1
                isCopying = turn.pieceRead()
                isDiskDone = !isCopying
                #expect(!isCopying || wentOn == 0)
            } else if !isDiskDone {
                isDiskDone = true
                wentOn += turn.ended() ? 1 : 0
            }
        }
        #expect(wentOn == 1)
    }
}
