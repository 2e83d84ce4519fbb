import LinuxPlatform
import TestSupport
import Testing

@testable import WriteBack

@Suite struct JournalCrashTests {
    /// What is wrong with the journal that a disk holds; nil when every promise is kept.
    private func complaint(_ disk: ForgetfulDisk, _ promised: Int, _ enqueued: Int) -> String? {
        do {
            let count = try JournalLife.count(try Journal.recover(disk.directory, boot: JournalLife.boot))
            if count < promised { return "\(promised) were promised, \(count) are there" }
            return count <= enqueued ? nil : "\(enqueued) were enqueued, \(count) are there"
        } catch {
            return "\(error)"
        }
    }

    private static let remains: [ForgetfulDisk.Remains] =
        [.nothing, .everything] + (1...6).map { .anySubset(seed: $0) }

    private func changes(_ seed: UInt64) throws -> (changes: Int, synchronizations: [Int]) {
        let disk = ForgetfulDisk()
        var promises = JournalLife.Promises()
        try JournalLife.run(disk, seed: seed, operations: 60, &promises)
        #expect(promises.node > 20)
        return (disk.changes, disk.synchronizations)
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func atEveryPrefixOfItsWritesNothingPromisedIsLost(seed: UInt64) throws {
        for last in 0...(try changes(seed).changes) {
            let disk = ForgetfulDisk(faults: .init(diesAtChange: last))
            var promises = JournalLife.Promises()
            try JournalLife.run(disk, seed: seed, operations: 60, &promises)
            for remains in Self.remains {
                let rest = complaint(disk.crashed(remains), promises.node, promises.enqueued)
                #expect(rest == nil, "seed \(seed), died at \(last), \(remains)")
            }
            let promised = max(promises.process, promises.node)
            #expect(complaint(disk.restarted(), promised, promises.enqueued) == nil, "seed \(seed), died at \(last)")
        }
    }

    /// Each start finds what the one before left, itself cut short anywhere.
    @Test func oneCrashAfterAnotherLosesNothing() throws {
        for seed in UInt64(100)..<160 {
            var random = SeededRandom(seed: seed)
            var disk = ForgetfulDisk()
            var promises = JournalLife.Promises()
            for life in 0..<12 {
                disk.set(.init(diesAtChange: Int(random.next() % 60)))
                try JournalLife.run(disk, seed: random.next(), operations: 30, &promises)
                let isRestart = random.next() % 3 == 0
                let promised = isRestart ? max(promises.process, promises.node) : promises.node
                disk = isRestart ? disk.restarted() : disk.crashed(.anySubset(seed: random.next()))
                let found = complaint(disk, promised, promises.enqueued)
                #expect(found == nil, "seed \(seed), life \(life)")
                promises = JournalLife.Promises(node: promised, process: promised, enqueued: promises.enqueued)
            }
        }
    }

    /// The proof that the tests above would see it: each synchronization is left out in turn.
    @Test func eachSynchronizationThatIsLeftOutIsNoticed() throws {
        let whole = try changes(1)
        #expect(whole.synchronizations.count > 20)
        for (skipped, change) in whole.synchronizations.enumerated() {
            #expect(try isNoticed(skipped, change), "synchronization \(skipped) is needed by nobody")
        }
    }

    /// The next synchronizations may make good for it: whether a crash soon after shows it.
    private func isNoticed(_ skipped: Int, _ change: Int) throws -> Bool {
        for last in (change + 1)...(change + 8) {
            let disk = ForgetfulDisk(faults: .init(diesAtChange: last, skippedSynchronization: skipped))
            var promises = JournalLife.Promises()
            try JournalLife.run(disk, seed: 1, operations: 60, &promises)
            for remains in Self.remains
            where complaint(disk.crashed(remains), promises.node, promises.enqueued) != nil {
                return true
            }
        }
        return false
    }

    @Test func afterAFailedSynchronizationNothingIsPromisedUntilTheNextStart() throws {
        for failed in 2..<30 {
            let disk = ForgetfulDisk(faults: .init(failedSynchronization: failed))
            let recovery = try Journal.recover(disk.directory, boot: JournalLife.boot)
            let journal = try Journal(disk.directory, after: recovery, checkpoint: JournalLife.checkpoint(0))
            var promised = 0
            var failures = 0
            for number in 0..<40 {
                let position = try journal.enqueue(JournalLife.record(number))
                if JournalLife.succeeds({ journal.commit(position, .node, $0) }) {
                    #expect(failures == 0)
                    promised = number + 1
                } else {
                    failures += 1
                }
            }
            #expect(promised == failed - 2)
            #expect(failures == 40 - promised)
            #expect(complaint(disk.crashed(.everything), promised, 40) == nil)
            #expect(complaint(disk.crashed(.nothing), promised, 40) == nil)
            // The next start writes anew what it read, though pages that were never written looked clean.
            let next = disk.restarted()
            var promises = JournalLife.Promises()
            try JournalLife.run(next, seed: 1, operations: 0, &promises)
            #expect(promises.node >= promised)
            #expect(complaint(next.crashed(.nothing), promises.node, 40) == nil)
        }
    }

    @Test func aFullDiskFailsTheCommitAndTheRecordsComeWithTheNext() throws {
        let disk = ForgetfulDisk(faults: .init(capacity: 600))
        let recovery = try Journal.recover(disk.directory, boot: JournalLife.boot)
        let journal = try Journal(disk.directory, after: recovery, checkpoint: JournalLife.checkpoint(0))
        var isFull = false
        for number in 0..<30 {
            if number == 20 { disk.set(.init()) }
            let position = try journal.enqueue(JournalLife.record(number))
            let isSafe = JournalLife.succeeds { journal.commit(position, .node, $0) }
            if !isSafe { isFull = true }
            #expect(isSafe || number < 20)
        }
        #expect(isFull)
        #expect(complaint(disk.crashed(.nothing), 30, 30) == nil)
    }

    @Test func aCheckpointThatDoesNotFitLeavesTheOldSegmentAtWork() throws {
        let disk = ForgetfulDisk(faults: .init(capacity: 5000))
        let recovery = try Journal.recover(disk.directory, boot: JournalLife.boot)
        let journal = try Journal(disk.directory, after: recovery, checkpoint: JournalLife.checkpoint(0))
        let first = try journal.enqueue(JournalLife.record(0))
        let large = [UInt8](repeating: 1, count: 5000)
        let checkpoint = try journal.enqueueCheckpoint([large])
        #expect(!JournalLife.succeeds { journal.commitCheckpoint(checkpoint, $0) })
        #expect(JournalLife.succeeds { journal.commit(first, .node, $0) })
        #expect(complaint(disk.crashed(.nothing), 1, 1) == nil)
    }
}
