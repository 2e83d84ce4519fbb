import LinuxPlatform
import TestSupport
import Testing
import TransferEngine

/// A table with a clock, and with what each read has received.
private struct Bench {
    var table = HedgeTable()
    var now = MonotonicInstant(nanoseconds: 1_000_000_000)
    var received: [HedgeTable.ReadID: Int] = [:]
    private var counts: [HedgeTable.ReadID: Int] = [:]

    static let size = 8 << 20

    mutating func pass(_ milliseconds: Int) { now = now.advanced(by: .milliseconds(milliseconds)) }

    mutating func begin(_ count: Int = size) -> HedgeTable.ReadID {
        let id = table.begin(count: count)
        received[id] = 0
        counts[id] = count
        table.sent(id, now: now)
        return id
    }

    mutating func receive(_ id: HedgeTable.ReadID, _ count: Int) {
        let before = received[id] ?? 0
        table.answered(id, received: before, now: now)
        received[id] = min(before + count, counts[id] ?? 0)
    }

    mutating func end(_ id: HedgeTable.ReadID) -> HedgeTable.Next {
        table.ended(id, received: received[id] ?? 0, now: now)
    }

    mutating func look() -> [HedgeTable.Stop] {
        let received = received
        return table.look(now: now) { received[$0] ?? 0 }
    }

    /// Looks every 10 ms until something is stopped.
    mutating func stops(within milliseconds: Int) -> [HedgeTable.Stop] {
        for _ in 0..<milliseconds / 10 {
            pass(10)
            let found = look()
            if !found.isEmpty { return found }
        }
        return []
    }

    /// As `stops`, while the read comes at 20 MB/s.
    mutating func stopsOfSlow(_ id: HedgeTable.ReadID, within milliseconds: Int) -> [HedgeTable.Stop] {
        for _ in 0..<milliseconds / 10 {
            pass(10)
            receive(id, 200_000)
            let found = look()
            if !found.isEmpty { return found }
        }
        return []
    }

    /// A network with 30 ms to the first byte and 200 MB/s for each connection.
    static func learned(reads: Int = 20) -> Bench {
        var bench = Bench()
        for _ in 0..<reads {
            let id = bench.begin()
            bench.pass(30)
            bench.receive(id, size)
            bench.pass(42)
            _ = bench.end(id)
        }
        return bench
    }
}

struct HedgeTableTests {
    @Test func patienceIsTwiceWhatNearlyAllFirstBytesTake() {
        let bench = Bench.learned()
        #expect((.milliseconds(60)...(.milliseconds(70))).contains(bench.table.estimate.patience))
        #expect(Bench().table.estimate.patience == NetworkEstimate.unlearned)
    }

    @Test func aFirstByteThatIsLateIsAskedForAgain() throws {
        var bench = Bench.learned()
        let id = bench.begin()
        bench.pass(40)
        #expect(bench.look() == [])
        let stop = try #require(bench.stops(within: 40).first)
        #expect(stop.id == id && stop.complaint == .late)
        #expect(bench.end(id) == .again)
        bench.table.sent(id, now: bench.now)
        bench.pass(30)
        bench.receive(id, Bench.size)
        #expect(bench.end(id) == .over(wasHedged: true))
        #expect(bench.table.isIdle)
    }

    @Test func beforeAnythingWasLearnedASecondIsWaited() throws {
        var bench = Bench()
        _ = bench.begin()
        #expect(bench.stops(within: 990) == [])
        #expect(bench.stops(within: 20).map(\.complaint) == [.late])
    }

    @Test func aBodyThatStopsIsAskedForFromWhereItStopped() throws {
        var bench = Bench.learned()
        let id = bench.begin()
        bench.pass(30)
        bench.receive(id, 3 << 20)
        #expect(bench.look() == [])
        let stop = try #require(bench.stops(within: 80).first)
        #expect(stop.complaint == .silent)
        #expect(stop.extraBytes <= 5 << 20)
        #expect(bench.end(id) == .again)
    }

    @Test func aBodyTenTimesSlowerThanUsualIsAskedForAgain() throws {
        var bench = Bench.learned()
        let id = bench.begin()
        bench.pass(30)
        bench.receive(id, 1)
        let stop = try #require(bench.stopsOfSlow(id, within: 100).first)
        #expect(stop.complaint == .slow)
        // 20 MB/s for 30 ms.
        #expect((500_000...800_000).contains(stop.extraBytes))
    }

    @Test func aSlowBodyIsKnownAlsoWhereMostShareTheLine() throws {
        // One in five had the line for itself; the others got 36 MB/s each.
        var bench = Bench.learned(reads: 4)
        for _ in 0..<16 {
            let id = bench.begin()
            bench.pass(30)
            bench.receive(id, Bench.size)
            bench.pass(233)
            _ = bench.end(id)
        }
        let id = bench.begin()
        bench.pass(30)
        bench.receive(id, 1)
        #expect(bench.stopsOfSlow(id, within: 100).map(\.complaint) == [.slow])
    }

    @Test func aBodyThatThisMachineIsTooSlowForIsWaitedFor() throws {
        var bench = Bench.learned()
        let id = bench.begin()
        bench.pass(30)
        bench.receive(id, 1)
        for _ in 0..<10 {
            bench.pass(10)
            bench.receive(id, 200_000)
            bench.table.behind(id)
            #expect(bench.look() == [])
        }
        // It keeps up again, and the connection is what is slow.
        #expect(bench.stopsOfSlow(id, within: 120).map(\.complaint) == [.slow])
    }

    @Test func aSlowBodyThatIsNearlyThereIsWaitedFor() {
        var bench = Bench.learned()
        let id = bench.begin()
        bench.pass(30)
        bench.receive(id, Bench.size - 1_500_000)
        for _ in 0..<7 {
            bench.pass(10)
            bench.receive(id, 200_000)
            #expect(bench.look() == [])
        }
    }

    @Test func eachTimeTwiceTheLatenessIsNeededAndAfterThreeTheReadIsLeftAlone() {
        var bench = Bench.learned()
        let id = bench.begin(100_000)
        var waited: [Int] = []
        for _ in 0..<HedgeTable.maximumHedges {
            let start = bench.now
            #expect(bench.stops(within: 1000).count == 1)
            waited.append(Int(start.duration(to: bench.now).inNanoseconds / 1_000_000))
            #expect(bench.end(id) == .again)
            bench.table.sent(id, now: bench.now)
        }
        #expect(zip(waited, waited.dropFirst()).allSatisfy { $1 >= $0 * 2 - 10 }, "\(waited)")
        #expect(bench.stops(within: 60_000) == [])
    }

    @Test func aReadThatPausesBetweenAttemptsIsLeftAlone() {
        var bench = Bench.learned()
        let id = bench.begin()
        bench.table.paused(id, isThrottled: false, now: bench.now)
        #expect(bench.stops(within: 5000) == [])
        bench.table.sent(id, now: bench.now)
        #expect(bench.stops(within: 100).count == 1)
    }

    @Test func aStoreThatAsksToSlowDownGetsTwiceThePatience() {
        var bench = Bench.learned()
        _ = bench.begin()
        let other = bench.begin()
        bench.table.paused(other, isThrottled: true, now: bench.now)
        let patience = Int(bench.table.estimate.patience.inNanoseconds / 1_000_000)
        #expect(bench.stops(within: 2 * patience - 10) == [])
        #expect(bench.stops(within: 20).count == 1)
    }

    @Test func aSlowBodyIsReplacedAlsoWhileTheStoreAsksToSlowDown() {
        var bench = Bench.learned()
        let id = bench.begin()
        let other = bench.begin()
        bench.table.paused(other, isThrottled: true, now: bench.now)
        bench.pass(30)
        bench.receive(id, 1)
        #expect(bench.stopsOfSlow(id, within: 100).map(\.complaint) == [.slow])
    }

    /// Each stall used to take what a whole window may have on its way, and the third was waited for to its end.
    @Test func manyStallsInARowAreAllAskedForAgain() {
        var bench = Bench.learned(reads: 200)
        for stall in 0..<12 {
            let id = bench.begin()
            #expect(bench.stops(within: 200).map(\.complaint) == [.late], "stall \(stall)")
            #expect(bench.end(id) == .again)
            bench.table.sent(id, now: bench.now)
            bench.pass(30)
            bench.receive(id, Bench.size)
            bench.pass(42)
            _ = bench.end(id)
        }
    }

    @Test func anEmptyBudgetKeepsNobodyWaitingForASilentConnection() {
        var bench = Bench.learned()
        // Slow bodies that are given up, until nothing may be sent for nothing any more.
        var isSpent = false
        for _ in 0..<200 where !isSpent {
            let id = bench.begin(64 << 20)
            bench.pass(30)
            bench.receive(id, 1)
            isSpent = bench.stopsOfSlow(id, within: 100).isEmpty
            bench.table.cancelled(id)
            bench.received[id] = 0
            _ = bench.end(id)
        }
        #expect(isSpent)
        let silent = bench.begin()
        #expect(bench.stops(within: 1100).map(\.id) == [silent])
    }

    @Test func whenAllLookIllItIsTheNetwork() {
        var bench = Bench.learned()
        for _ in 0..<6 { _ = bench.begin(100_000) }
        #expect(bench.stops(within: 200) == [])
        #expect(bench.stops(within: 100).count == 6)
    }

    @Test func oneIllAmongManyIsAConnection() {
        var bench = Bench.learned()
        let sick = bench.begin()
        let well = (0..<5).map { _ in bench.begin() }
        bench.pass(30)
        for id in well { bench.receive(id, 1 << 20) }
        var stops: [HedgeTable.Stop] = []
        for _ in 0..<8 where stops.isEmpty {
            bench.pass(10)
            for id in well { bench.receive(id, 100_000) }
            stops = bench.look()
        }
        #expect(stops.map(\.id) == [sick])
    }

    @Test func theLastByteMayBeFasterThanTheWishToStop() {
        var bench = Bench.learned()
        let id = bench.begin()
        #expect(bench.stops(within: 100).count == 1)
        bench.receive(id, Bench.size)
        #expect(bench.end(id) == .over(wasHedged: false))
    }

    @Test func aCallerWhoGaveUpGetsNoSecondRequest() {
        var bench = Bench.learned()
        let id = bench.begin()
        #expect(bench.stops(within: 100).count == 1)
        bench.table.cancelled(id)
        #expect(bench.end(id) == .over(wasHedged: false))
    }

    @Test func requestsThatWereGivenUpTeachNothing() {
        var bench = Bench.learned()
        let before = bench.table.estimate.patience
        for _ in 0..<50 {
            let id = bench.begin(100_000)
            #expect(bench.stops(within: 100).count == 1)
            #expect(bench.end(id) == .again)
            bench.table.sent(id, now: bench.now)
            bench.pass(30)
            bench.receive(id, 100_000)
            _ = bench.end(id)
        }
        #expect(bench.table.estimate.patience <= before)
    }

    @Test func aNetworkThatIsSlowForGoodIsLearned() {
        var bench = Bench.learned()
        for _ in 0..<100 {
            let id = bench.begin()
            var isOver = false
            while !isOver {
                // 400 ms to the first byte from now on.
                let isStopped = !bench.stops(within: 400).isEmpty
                if isStopped {
                    #expect(bench.end(id) == .again)
                    bench.table.sent(id, now: bench.now)
                    continue
                }
                bench.receive(id, Bench.size)
                bench.pass(40)
                _ = bench.end(id)
                isOver = true
            }
        }
        let id = bench.begin()
        #expect(bench.stops(within: 400) == [])
        bench.receive(id, Bench.size)
        #expect(bench.end(id) == .over(wasHedged: false))
    }

    /// Whatever happens: one request at a time, at most three more, and no more twice than the budget gives.
    @Test(arguments: SeedSlice.first(3, ofSoak: 100))
    func randomSchedulesKeepTheRules(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var bench = Bench.learned()
        var running: [HedgeTable.ReadID] = []
        var stopping: Set<HedgeTable.ReadID> = []
        var hedges: [HedgeTable.ReadID: Int] = [:]
        var delivered = 20 * Bench.size
        var extra = 0
        for _ in 0..<3000 {
            bench.pass(Int.random(in: 0...40, using: &random))
            if running.count < 8 { running.append(bench.begin(Int.random(in: 1...Bench.size, using: &random))) }
            for id in running where Int.random(in: 0..<3, using: &random) == 0 && !stopping.contains(id) {
                bench.receive(id, Int.random(in: 0...300_000, using: &random))
            }
            for stop in bench.look() {
                #expect(running.contains(stop.id) && stopping.insert(stop.id).inserted, "seed \(seed)")
                hedges[stop.id, default: 0] += 1
                extra += stop.extraBytes
            }
            guard let id = running.randomElement(using: &random) else { continue }
            if stopping.contains(id) {
                let next = bench.end(id)
                stopping.remove(id)
                if next == .again {
                    bench.table.sent(id, now: bench.now)
                } else {
                    running.removeAll { $0 == id }
                    delivered += bench.received[id] ?? 0
                }
            } else if Int.random(in: 0..<4, using: &random) == 0 {
                #expect(bench.end(id) != .again, "seed \(seed)")
                running.removeAll { $0 == id }
                delivered += bench.received[id] ?? 0
            } else if Int.random(in: 0..<4, using: &random) == 0 {
                bench.table.paused(id, isThrottled: false, now: bench.now)
                bench.table.sent(id, now: bench.now)
            }
        }
        #expect(hedges.values.allSatisfy { $0 <= HedgeTable.maximumHedges }, "seed \(seed)")
        let allowed = Double(ExtraBytesBudget.burst) + ExtraBytesBudget.share * Double(delivered)
        #expect(Double(extra) <= allowed, "seed \(seed)")
        #expect(extra > 0, "seed \(seed) hedged nothing")
    }
}

struct ExtraBytesBudgetTests {
    @Test func aShareOfWhatWasDeliveredMayBeAskedForTwice() {
        #expect(ExtraBytesBudget.share < 0.05)
        var budget = ExtraBytesBudget()
        let atOnce = budget.take(ExtraBytesBudget.burst)
        let more = budget.take(1)
        #expect(atOnce && !more)
        budget.delivered(20 << 20)
        let earned = budget.take(Int(Double(20 << 20) * ExtraBytesBudget.share))
        let beyond = budget.take(1)
        #expect(earned && !beyond)
        budget.delivered(1 << 40)
        let saved = budget.take(ExtraBytesBudget.burst + 1)
        #expect(!saved)
    }
}
