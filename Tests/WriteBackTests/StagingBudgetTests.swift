import TestSupport
import Testing

@testable import WriteBack

@Suite struct StagingBudgetTests {
    @Test func writersWaitInTheirOrderForRoom() throws {
        var budget = StagingBudget(limit: 100)
        #expect(budget.request(80) == .admitted)
        guard case .wait(let first) = budget.request(50), case .wait(let second) = budget.request(10) else {
            throw JournalLife.Wrong(what: "a small one passes a large one")
        }
        #expect(budget.release(20) == [])
        #expect(budget.release(20) == [first, second])
        #expect(budget.used == 100)
    }

    @Test func whoGivesUpLetsOthersPass() throws {
        var budget = StagingBudget(limit: 100)
        _ = budget.request(80)
        guard case .wait(let first) = budget.request(50), case .wait(let second) = budget.request(10) else {
            throw JournalLife.Wrong(what: "no wait")
        }
        #expect(budget.giveUp(first) == [second])
        #expect(budget.giveUp(second) == nil)
        #expect(budget.used == 90)
    }

    @Test func whatNeverFitsIsSaidAtOnceAlsoWhenTheDiskShrinks() throws {
        var budget = StagingBudget(limit: 100)
        #expect(budget.request(101) == .never)
        budget.adopt(100)
        guard case .wait(let ticket) = budget.request(60) else { throw JournalLife.Wrong(what: "no wait") }
        let change = budget.resize(to: 50)
        #expect(change.admitted.isEmpty && change.refused == [ticket])
    }

    @Test func inAnyOrderTheLimitHoldsAndNobodyWaitsWhileThereIsRoom() {
        for seed in UInt64(0)..<50 {
            var random = SeededRandom(seed: seed)
            var budget = StagingBudget(limit: 100)
            var held: [Int] = []
            var waiting: [(ticket: StagingBudget.Ticket, count: Int)] = []
            for _ in 0..<200 {
                var admitted: [StagingBudget.Ticket] = []
                switch random.next() % 3 {
                case 0:
                    let count = Int(random.next() % 60)
                    switch budget.request(count) {
                    case .admitted: held.append(count)
                    case .wait(let ticket): waiting.append((ticket, count))
                    case .never: Issue.record("seed \(seed)")
                    }
                case 1 where !held.isEmpty:
                    admitted = budget.release(held.remove(at: Int(random.next() % UInt64(held.count))))
                case 2 where !waiting.isEmpty:
                    let index = Int(random.next() % UInt64(waiting.count))
                    admitted = budget.giveUp(waiting.remove(at: index).ticket) ?? []
                default: break
                }
                for ticket in admitted {
                    #expect(waiting.first?.ticket == ticket, "seed \(seed)")
                    held.append(waiting.removeFirst().count)
                }
                #expect(budget.used == held.reduce(0, +) && budget.used <= 100, "seed \(seed)")
                #expect(budget.waiters == waiting.count)
                if let first = waiting.first { #expect(budget.used + first.count > 100, "seed \(seed)") }
            }
        }
    }
}
