import LinuxPlatform
import TestSupport
import Testing

@testable import WriteBack

@Suite struct JournalTests {
    private static let salt: UInt64 = 0x0123_4567_89AB_CDEF

    private func header(_ records: [[UInt8]]) -> JournalSegment.Header {
        JournalSegment.Header(
            number: 3,
            salt: Self.salt,
            checkpointCount: UInt64(records.count),
            firstSequence: 10,
            boot: JournalLife.boot
        )
    }

    /// A segment with the frames that are given, each synchronized before the next was written.
    private func segment(_ frames: [[[UInt8]]]) -> [UInt8] {
        let checkpoint = [[], [1, 2, 3]] as [[UInt8]]
        var bytes = header(checkpoint).encoded()
        bytes += JournalFrame(kind: .checkpoint, firstSequence: 1, durableThrough: 0, records: checkpoint)
            .encoded(salt: Self.salt)
        var next: UInt64 = 10
        for records in frames {
            let frame = JournalFrame(firstSequence: next, durableThrough: next - 1, records: records)
            bytes += frame.encoded(salt: Self.salt)
            next = frame.endSequence
        }
        return bytes
    }

    @Test func whatWasWrittenIsRead() throws {
        let frames: [[[UInt8]]] = [[[1]], [[], [2, 3]], [[UInt8](repeating: 9, count: 100_000)]]
        let contents = try JournalSegment.parse(segment(frames), file: "a")
        #expect(contents.header == header([[], [1, 2, 3]]))
        #expect(contents.checkpoint == [[], [1, 2, 3]])
        #expect(contents.records == frames.flatMap(\.self))
        #expect(contents.endSequence == 14)
        #expect(contents.tornBytes == 0)
    }

    @Test func aSegmentThatIsCutAnywhereGivesTheWholeFramesBeforeTheCut() throws {
        let frames: [[[UInt8]]] = (0..<6).map { [[UInt8($0)], [UInt8](repeating: UInt8($0), count: $0 * 11)] }
        let whole = segment(frames)
        let start = segment([]).count
        for length in start...whole.count {
            let contents = try JournalSegment.parse(Array(whole[..<length]), file: "a")
            let expected = (0...6).last { segment(Array(frames[..<$0])).count <= length } ?? 0
            #expect(contents.records == frames[..<expected].flatMap(\.self))
        }
        for length in 0..<start {
            #expect(throws: JournalError.self) { try JournalSegment.parse(Array(whole[..<length]), file: "a") }
        }
    }

    @Test func everyFlippedBitBeforeTheLastFrameIsDamageAndSaysWhere() throws {
        let whole = segment([[[1, 2]], [[3]], [[4, 5, 6]]])
        let last = segment([[[1, 2]], [[3]]]).count
        for bit in 0..<(whole.count * 8) {
            var bytes = whole
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            if bit / 8 >= last {
                #expect(try JournalSegment.parse(bytes, file: "a").records == [[1, 2], [3]])
                continue
            }
            do {
                _ = try JournalSegment.parse(bytes, file: "a")
                Issue.record("bit \(bit) of \(whole.count * 8)")
            } catch JournalError.damaged(let file, let offset, _) {
                #expect(file == "a" && offset <= bit / 8)
            } catch JournalError.newer {
                Issue.record("a flipped bit is no newer format")
            }
        }
    }

    /// Two frames were written, none synchronized; the disk kept the second alone.
    @Test func aHoleBeforeWhatNobodyWasPromisedIsATornTail() throws {
        let start = segment([[[1]]])
        let lost = JournalFrame(firstSequence: 11, durableThrough: 10, records: [[2]]).encoded(salt: Self.salt)
        let kept = JournalFrame(firstSequence: 12, durableThrough: 10, records: [[3]]).encoded(salt: Self.salt)
        let zeros = [UInt8](repeating: 0, count: lost.count)
        let contents = try JournalSegment.parse(start + zeros + kept, file: "a")
        #expect(contents.records == [[1]])
        #expect(contents.tornBytes == lost.count + kept.count)
    }

    @Test func aFrameOfAnotherSegmentIsNoFrame() throws {
        let forged = JournalFrame(firstSequence: 12, durableThrough: 11, records: [[3]]).encoded(salt: Self.salt + 1)
        let whole = segment([[[1]]])
        #expect(try JournalSegment.parse(whole + [1, 2, 3, 4, 5, 6, 7, 8] + forged, file: "a").records == [[1]])
    }

    @Test func nonsenseIsRefusedAndNeverTrapsTheReader() {
        var random = SeededRandom(seed: 4)
        let whole = segment([[[1, 2]], [[3]], [[4, 5, 6]]])
        for _ in 0..<3000 {
            var bytes = random.next() % 2 == 0 ? random.bytes(Int(random.next() % 300)) : whole
            for _ in 0..<(random.next() % 6) where !bytes.isEmpty {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            _ = try? JournalSegment.parse(bytes, file: "a")
            _ = JournalFrame.decode(bytes[...], salt: Self.salt)
        }
    }

    @Test func aLaterFormatIsNamed() throws {
        var bytes = segment([])
        bytes[8] = 2
        let end = JournalSegment.headerSize
        bytes.replaceSubrange((end - 4)..<end, with: FieldWriter.sealing(Array(bytes[..<(end - 4)])))
        #expect(throws: JournalError.newer(file: "a", version: 2)) { try JournalSegment.parse(bytes, file: "a") }
    }

    @Test func anEmptyDirectoryIsAnEmptyJournal() throws {
        let recovery = try Journal.recover(ForgetfulDisk().directory, boot: JournalLife.boot)
        #expect(recovery.checkpoint.isEmpty && recovery.records.isEmpty && recovery.isSameBoot)
    }

    @Test func anotherBootIsNoticed() throws {
        let disk = ForgetfulDisk()
        let recovery = try Journal.recover(disk.directory, boot: JournalLife.boot)
        _ = try Journal(disk.directory, after: recovery, checkpoint: [])
        #expect(try Journal.recover(disk.directory, boot: JournalLife.boot).isSameBoot)
        #expect(!(try Journal.recover(disk.directory, boot: [UInt8](repeating: 8, count: 16)).isSameBoot))
        #expect(try Journal.thisBoot().count == 16)
        #expect(try Journal.thisBoot() == Journal.thisBoot())
    }

    @Test func recordsThatAreTooLargeAreRefused() throws {
        let disk = ForgetfulDisk()
        let recovery = try Journal.recover(disk.directory, boot: JournalLife.boot)
        let journal = try Journal(disk.directory, after: recovery, checkpoint: [])
        let large = [UInt8](repeating: 1, count: Journal.recordLimit)
        let position = try journal.enqueue(large)
        #expect(throws: JournalError.self) { try journal.enqueue(large + [1]) }
        #expect(JournalLife.succeeds { journal.commit(position, .node, $0) })
        #expect(try Journal.recover(disk.directory, boot: JournalLife.boot).records == [large])
    }

    @Test func onARealDiskManyThreadsCommitAndTheFilesAreTheOwnersAlone() throws {
        let folder = try TemporaryDirectory()
        let directory = try LocalDirectory(path: folder.path)
        let boot = try Journal.thisBoot()
        let recovery = try Journal.recover(directory, boot: boot)
        let journal = try Journal(directory, after: recovery, checkpoint: [], segmentSize: 4096)
        let done = Monitor(0)
        let threads = try (0..<4).map { thread in
            try NamedThread(name: "commit-\(thread)") {
                for number in 0..<50 {
                    guard let position = try? journal.enqueue([UInt8(thread), UInt8(number)]) else { return }
                    journal.commit(position, number % 2 == 0 ? .node : .process) { result in
                        if case .success = result { done.withLock { $0 += 1 } }
                    }
                }
            }
        }
        threads.forEach { $0.join() }
        #expect(done.wait(until: SystemTime().now().advanced(by: Gate.patience)) { $0 == 200 })
        let read = try Journal.recover(directory, boot: boot)
        for thread in 0..<4 {
            let own = read.records.filter { $0[0] == UInt8(thread) }.map { $0[1] }
            #expect(own == (0..<50).map { UInt8($0) })
        }
        let descriptor = try FileDescriptor(path: folder.path, flags: 0o200000)
        for entry in try descriptor.entries() { #expect(try descriptor.status(of: entry.name).mode == 0o600) }
    }
}

@Suite struct CommitQueueTests {
    private func nextWork(_ queue: inout CommitQueue<Int>) throws -> CommitQueue<Int>.Work {
        let work = queue.nextWork()
        return try #require(work)
    }

    @Test func oneLeadsAndSynchronizesForAllWhoCameMeanwhile() throws {
        var queue = CommitQueue<Int>(nextSequence: 1)
        let first = queue.enqueue([1])
        guard case .lead = queue.request(.durable(through: first), 0) else { throw JournalLife.Wrong(what: "no lead") }
        let work = try nextWork(&queue)
        // While the leader writes, ten more come.
        for waiter in 1...10 {
            let position = queue.enqueue([UInt8(waiter)])
            guard case .wait = queue.request(.durable(through: position), waiter) else {
                throw JournalLife.Wrong(what: "a second leader")
            }
        }
        #expect(queue.finish(work, .success).map(\.0) == [0])
        let second = try nextWork(&queue)
        guard case .append(let records, 2, 1, true) = second else { throw JournalLife.Wrong(what: "\(second)") }
        #expect(records.count == 10)
        #expect(queue.finish(second, .success).map(\.0) == Array(1...10))
        #expect(queue.nextWork() == nil)
        guard case .done(.success) = queue.request(.durable(through: 11), 11) else {
            throw JournalLife.Wrong(what: "what is durable is asked for again")
        }
    }

    @Test func aRecordThatIsWrittenOnlyNeedsASynchronizationLater() throws {
        var queue = CommitQueue<Int>(nextSequence: 1)
        let position = queue.enqueue([1])
        _ = queue.request(.written(through: position), 0)
        let work = try nextWork(&queue)
        guard case .append(_, 1, 0, false) = work else { throw JournalLife.Wrong(what: "\(work)") }
        #expect(queue.finish(work, .success).map(\.0) == [0])
        #expect(queue.nextWork() == nil)
        #expect((queue.written, queue.durable) == (1, 0))
        _ = queue.request(.durable(through: position), 1)
        let second = try nextWork(&queue)
        guard case .synchronize = second else { throw JournalLife.Wrong(what: "\(second)") }
        #expect(queue.finish(second, .success).map(\.0) == [1])
    }

    @Test func aCheckpointThatAnotherPerformedIsOver() throws {
        var queue = CommitQueue<Int>(nextSequence: 1)
        let position = queue.enqueue([1])
        let checkpoint = queue.enqueueCheckpoint([])
        _ = queue.request(.durable(through: position), 0)
        let work = try nextWork(&queue)
        guard case .begin = work else { throw JournalLife.Wrong(what: "\(work)") }
        #expect(queue.finish(work, .success).map(\.0) == [0])
        #expect(queue.nextWork() == nil)
        guard case .done(.success) = queue.request(.checkpoint(checkpoint), 1) else {
            throw JournalLife.Wrong(what: "it would wait for ever")
        }
    }
}
