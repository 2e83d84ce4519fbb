import Filesystem
import Glibc
import LinuxPlatform
import TestSupport
import Testing

@testable import FUSEMount

/// Memory that several ledgers have one after the other, as processes would.
private final class Legacy {
    let memory: UnsafeMutableRawBufferPointer
    let opens: FileDescriptor
    private(set) var worker: UInt32 = 0

    init(slots: Int = 64) throws {
        memory = .allocate(byteCount: slots * RequestTable.slotSize, alignment: 8)
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        opens = try MemoryFile.empty(name: "test-opens")
    }

    deinit { memory.deallocate() }

    var requests: RequestTable { RequestTable(memory) }

    /// The next process begins.
    func next(countsHandles: Bool = true) throws -> RequestLedger {
        worker += 1
        let copy = FileDescriptor(owning: dup(opens.rawValue))
        let inodes = try OpenInodes(copy)
        return RequestLedger(worker: worker, requests: requests, inodes: inodes, countsHandles: countsHandles)
    }

    /// The process that began last dies.
    func die(strikes: Int = 1) -> [UInt64] { requests.charge(worker: worker, strikes: strikes).map(\.number) }
}

private enum Kind {
    static let lookup: UInt32 = 1
    static let forget: UInt32 = 2
    static let open: UInt32 = 14
    static let read: UInt32 = 15
    static let release: UInt32 = 18
}

private func request(_ kind: UInt32, _ number: UInt64, node: UInt64 = 5, again: Bool = false) -> RequestHeader {
    RequestHeader(opcode: kind, unique: again ? number | 1 << 63 : number, node: node)
}

@Suite struct RequestLedgerTests {
    @Test func whatIsAnsweredLeavesNothing() throws {
        let legacy = try Legacy()
        let ledger = try legacy.next()
        #expect(ledger.received(request(Kind.read, 2)) == .serve)
        ledger.answered(2, isTaken: true)
        #expect(legacy.die(strikes: 100) == [])
    }

    @Test func whatHasNoReplyIsNotWaitedFor() throws {
        let legacy = try Legacy()
        #expect(try legacy.next().received(request(Kind.forget, 2)) == .serve)
        #expect(legacy.die(strikes: 100) == [])
    }

    @Test func aRequestThatWasInProcessAtTwoCrashesIsRefused() throws {
        let legacy = try Legacy()
        #expect(try legacy.next().received(request(Kind.read, 2)) == .serve)
        #expect(legacy.die(strikes: 3) == [])
        #expect(try legacy.next().received(request(Kind.read, 2, again: true)) == .serve)
        #expect(legacy.die(strikes: 3) == [2])
        let last = try legacy.next()
        let number = UInt64(2) | 1 << 63
        #expect(last.received(request(Kind.read, 2, again: true)) == .refuse(ReplyMessage.error(EIO, to: number)))
        #expect(last.received(request(Kind.read, 4)) == .serve)
    }

    /// Where the kernel has ended them already.
    @Test func whatIsForgottenTakesNoSlotAndWhatIsOpenStaysCounted() throws {
        let legacy = try Legacy(slots: 2)
        let first = try legacy.next()
        #expect(first.received(request(Kind.open, 2)) == .serve)
        first.opening(2, flags: 0, backing: 9)
        #expect(first.received(request(Kind.read, 4)) == .serve)
        #expect(legacy.die(strikes: 3) == [])
        let next = try legacy.next()
        next.forgetRequests()
        #expect((0..<2).allSatisfy { legacy.requests.entry($0) == nil })
        #expect(next.openInodes.map { $0.backing?.number } == [9])
        #expect(next.received(request(Kind.read, 6)) == .serve && next.received(request(Kind.read, 8)) == .serve)
        #expect(legacy.die(strikes: 100).sorted() == [6, 8])
    }

    @Test func onlyThoseThatADeadProcessHadTakenAreCharged() throws {
        let legacy = try Legacy()
        _ = try legacy.next().received(request(Kind.read, 2))
        #expect(legacy.die(strikes: 3) == [])
        // The next one dies before the kernel has sent it again.
        _ = try legacy.next()
        #expect(legacy.die(strikes: 3) == [])
        #expect(try legacy.next().received(request(Kind.read, 2, again: true)) == .serve)
    }

    @Test func anOpenThatWasCountedGetsItsOldAnswer() throws {
        let legacy = try Legacy()
        let first = try legacy.next()
        _ = first.received(request(Kind.open, 2))
        first.opening(2, flags: 0xA0, backing: 7)
        _ = legacy.die()
        let second = try legacy.next()
        #expect(second.openInodes == [.init(node: NodeID(5), opens: 1, backing: BackingID(number: 7))])
        let unique = UInt64(2) | 1 << 63
        let old = ReplyMessage.opened(flags: 0xA0, backing: 7, to: unique)
        #expect(second.received(request(Kind.open, 2, again: true)) == .answer(old))
        second.answered(unique, isTaken: true)
        #expect(try legacy.next().openInodes.map(\.opens) == [1])
    }

    @Test func aReleaseThatWasCountedIsNotCountedTwice() throws {
        let legacy = try Legacy()
        let first = try legacy.next()
        for number in [UInt64(2), 4] {
            _ = first.received(request(Kind.open, number))
            first.opening(number, flags: 2, backing: 0)
            first.answered(number, isTaken: true)
        }
        #expect(first.received(request(Kind.release, 6)) == .serve)
        _ = legacy.die()
        let second = try legacy.next()
        let unique = UInt64(6) | 1 << 63
        #expect(second.received(request(Kind.release, 6, again: true)) == .answer(ReplyMessage.error(0, to: unique)))
        #expect(second.openInodes == [.init(node: NodeID(5), opens: 1, backing: nil)])
    }

    /// The tree of a writable mount must hear of each open and each release, whoever had it before.
    @Test func whereOthersCountHandlesOpensAndReleasesAreServed() throws {
        let legacy = try Legacy()
        let first = try legacy.next(countsHandles: false)
        _ = first.received(request(Kind.open, 2))
        first.opening(2, flags: 0, backing: 0)
        _ = first.received(request(Kind.release, 4))
        #expect(first.openInodes == [])
        #expect(legacy.die(strikes: 3) == [])
        let second = try legacy.next(countsHandles: false)
        #expect(second.received(request(Kind.open, 2, again: true)) == .serve)
        #expect(second.received(request(Kind.release, 4, again: true)) == .serve)
        #expect(legacy.die(strikes: 3).sorted() == [2, 4])
        let third = try legacy.next(countsHandles: false)
        let unique = UInt64(2) | 1 << 63
        #expect(third.received(request(Kind.open, 2, again: true)) == .refuse(ReplyMessage.error(EIO, to: unique)))
        #expect(third.received(request(Kind.release, 4, again: true)) == .serve, "or it would never be closed")
    }

    @Test func anOpenThatNobodyTookIsNotCounted() throws {
        let legacy = try Legacy()
        let ledger = try legacy.next()
        _ = ledger.received(request(Kind.open, 2))
        ledger.opening(2, flags: 2, backing: 0)
        ledger.answered(2, isTaken: false)
        #expect(ledger.openInodes == [])
    }

    @Test func whenTheTableIsFullWhatIsOldestKnownGoesAndNothingFails() throws {
        let legacy = try Legacy(slots: 4)
        let first = try legacy.next()
        for number in 1...10 { #expect(first.received(request(Kind.read, UInt64(number * 2))) == .serve) }
        _ = legacy.die()
        let second = try legacy.next()
        for number in 11...14 { #expect(second.received(request(Kind.read, UInt64(number * 2))) == .serve) }
        #expect(legacy.die(strikes: 6).sorted() == [22, 24, 26, 28])
    }

    /// Opens and releases of a few inodes, in processes that die between any two steps.
    @Test(arguments: [UInt64(1), 2, 3, 4, 5, 6, 7, 8])
    func howeverTheyDieHandlesAreCountedExactly(seed: UInt64) throws {
        var kernel = try Kernel(seed: seed)
        for _ in 0..<3000 { try kernel.step() }
        try kernel.settle()
        #expect(kernel.faults == [], "seed \(seed)")
    }
}

/// What the kernel has sent and has open, beside what the ledgers of one process after the other say.
private struct Kernel {
    private let legacy: Legacy
    private var ledger: RequestLedger
    private var random: SeededRandom
    private var handles: [UInt64: Int] = [:]
    private var waiting: [RequestHeader] = []
    private var number: UInt64 = 0
    private(set) var faults: [String] = []

    init(seed: UInt64) throws {
        random = SeededRandom(seed: seed)
        legacy = try Legacy()
        ledger = try legacy.next()
    }

    mutating func step() throws {
        switch Int.random(in: 0..<10, using: &random) {
        case 0: try die()
        case 1...5: send()
        default:
            guard let index = waiting.indices.randomElement(using: &random) else { return }
            // Some die when an open is counted and not answered yet.
            answer(waiting.remove(at: index), isCut: Int.random(in: 0..<4, using: &random) == 0)
        }
        check { $0 >= $1 }
    }

    /// Every request gets its answer: now the counts must be the same.
    mutating func settle() throws {
        while let header = waiting.popLast() { answer(header, isCut: false) }
        check { $0 == $1 }
    }

    private mutating func send() {
        number += 2
        let node = UInt64.random(in: 2...4, using: &random)
        let isRelease = Bool.random(using: &random) && handles[node, default: 0] > 0
        if isRelease { handles[node, default: 0] -= 1 }
        let header = request(isRelease ? Kind.release : Kind.open, number, node: node)
        if ledger.received(header) != .serve { faults.append("\(header) was answered before it was served") }
        waiting.append(header)
    }

    private mutating func answer(_ header: RequestHeader, isCut: Bool) {
        if header.opcode == Kind.open { ledger.opening(header.unique, flags: 2, backing: 0) }
        if isCut { return waiting.append(header) }
        if header.opcode == Kind.open { handles[header.node, default: 0] += 1 }
        ledger.answered(header.unique, isTaken: true)
    }

    private mutating func die() throws {
        _ = legacy.die(strikes: 0)
        ledger = try legacy.next()
        // The kernel sends again what it has no reply to.
        let again = waiting.map { request($0.opcode, $0.number, node: $0.node, again: true) }
        waiting = []
        for header in again {
            if case .answer = ledger.received(header) {
                if header.opcode == Kind.open { handles[header.node, default: 0] += 1 }
                ledger.answered(header.unique, isTaken: true)
            } else {
                waiting.append(header)
            }
        }
    }

    private mutating func check(_ isRight: (_ counted: Int, _ open: Int) -> Bool) {
        let counted = Dictionary(uniqueKeysWithValues: ledger.openInodes.map { ($0.node.value, Int($0.opens)) })
        for node in Set(handles.keys).union(counted.keys) {
            let pair = (counted[node, default: 0], handles[node, default: 0])
            if !isRight(pair.0, pair.1) { faults.append("\(node): \(pair.0) counted, \(pair.1) open") }
        }
    }
}
