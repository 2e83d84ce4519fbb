import LinuxPlatform
import TestSupport
import Testing

@testable import HTTPEngine

@Suite struct ConnectionPoolTests {
    private let origins = ["http://a", "http://b", "https://a"].compactMap { WebOrigin(url: $0) }

    private func at(_ seconds: Int64) -> MonotonicInstant { MonotonicInstant(nanoseconds: seconds * 1_000_000_000) }

    @Test func anIdleConnectionIsUsedAgainTheLastOneFirst() {
        var pool = ConnectionPool(perOrigin: 2, total: 10)
        #expect(pool.ask(origins[0], for: 1) == .open(1))
        #expect(pool.ask(origins[0], for: 2) == .open(2))
        #expect(pool.release(1, at: at(1)).isEmpty)
        #expect(pool.release(2, at: at(2)).isEmpty)
        #expect(pool.ask(origins[0], for: 3) == .use(2))
        #expect(pool.ask(origins[2], for: 4) == .open(3), "another scheme is another origin")
        #expect(pool.idle(since: at(2)) == [1])
        #expect(pool.idle(since: at(1)).isEmpty)
    }

    @Test func whoComesPastTheBoundWaitsInOrder() {
        var pool = ConnectionPool(perOrigin: 1, total: 10)
        #expect(pool.ask(origins[0], for: 1) == .open(1))
        #expect(pool.ask(origins[0], for: 2) == .wait)
        #expect(pool.ask(origins[0], for: 3) == .wait)
        #expect(pool.ask(origins[0], for: 4) == .wait)
        pool.withdraw(3)
        #expect(pool.release(1, at: at(0)).map(\.0) == [2])
        let admitted = pool.forget(1)
        #expect(admitted.map(\.0) == [4])
        #expect(admitted.map(\.1) == [.open(2)])
    }

    @Test func theOldestIdleConnectionOfOthersMakesRoom() {
        var pool = ConnectionPool(perOrigin: 2, total: 2)
        #expect(pool.ask(origins[0], for: 1) == .open(1))
        #expect(pool.ask(origins[0], for: 2) == .open(2))
        #expect(pool.ask(origins[1], for: 3) == .wait, "nothing is idle")
        let admitted = pool.release(2, at: at(1))
        #expect(admitted.map(\.0) == [3])
        #expect(admitted.map(\.1) == [.replace(2, by: 3)])
    }

    /// Random events against a plain account of who is where.
    @Test(arguments: 1...200 as ClosedRange<UInt64>)
    func keepsItsBoundsAndForgetsNobody(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let (perOrigin, total) = (Int.random(in: 1...4, using: &random), Int.random(in: 1...6, using: &random))
        var pool = ConnectionPool(perOrigin: perOrigin, total: total)
        var carrying: [UInt64: (request: UInt64?, origin: WebOrigin)] = [:]
        var waiting: [(request: UInt64, origin: WebOrigin)] = []
        func settle(_ request: UInt64, _ origin: WebOrigin, _ answer: ConnectionPool.Answer) {
            switch answer {
            case .wait: waiting.append((request, origin))
            case .use(let connection):
                #expect(carrying[connection]?.origin == origin)
                #expect(carrying[connection]?.request == nil)
                carrying[connection]?.request = request
            case .open(let connection): carrying[connection] = (request, origin)
            case .replace(let old, let connection):
                #expect(carrying.removeValue(forKey: old)?.request == nil)
                carrying[connection] = (request, origin)
            }
        }
        func admit(_ admitted: [(ConnectionPool.Request, ConnectionPool.Answer)]) {
            for (request, answer) in admitted {
                guard let index = waiting.firstIndex(where: { $0.request == request }) else {
                    Issue.record("\(request) did not wait, seed \(seed)")
                    continue
                }
                let waiter = waiting.remove(at: index)
                #expect(!waiting[..<index].contains { $0.origin == waiter.origin }, "out of turn, seed \(seed)")
                settle(request, waiter.origin, answer)
            }
        }
        for step in 1...300 as ClosedRange<UInt64> {
            let busy = carrying.filter { $0.value.request != nil }.map(\.key).sorted()
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4:
                let origin = origins[Int.random(in: 0..<origins.count, using: &random)]
                settle(step, origin, pool.ask(origin, for: step))
            case 4..<8:
                guard let connection = busy.randomElement(using: &random) else { continue }
                carrying[connection]?.request = nil
                admit(pool.release(connection, at: at(Int64(step))))
            case 8:
                guard let connection = carrying.keys.sorted().randomElement(using: &random) else { continue }
                carrying[connection] = nil
                admit(pool.forget(connection))
            default:
                guard let index = waiting.indices.randomElement(using: &random) else { continue }
                pool.withdraw(waiting.remove(at: index).request)
            }
            #expect(carrying.count <= total)
            for origin in origins {
                let here = carrying.values.filter { $0.origin == origin }
                #expect(here.count <= perOrigin)
                guard waiting.contains(where: { $0.origin == origin }) else { continue }
                let isStuck = here.contains { $0.request == nil } || (here.count < perOrigin && carrying.count < total)
                #expect(!isStuck, "somebody waits for nothing, seed \(seed), step \(step)")
            }
        }
    }
}
