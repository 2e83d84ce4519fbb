import AdminEndpoint
import Filesystem
import TestSupport
import Testing

@testable import MountService

extension BytePath: ExpressibleByStringLiteral {
    package init(stringLiteral value: String) { self.init(value) }
}

@Suite struct PrefetchQueueTests {
    private let order = PrefetchOrder(.fetch, paths: [""])
    private let failure = PrefetchDocument.Failure(path: "b", reason: "gone", status: 4)

    private func files(_ names: String...) -> [(path: BytePath, size: Int)] { names.map { (BytePath($0), 10) } }

    @Test func aJobIsDoneWithItsLastFile() {
        var queue = PrefetchQueue()
        let (id, actions) = queue.submit(order)
        #expect(actions == [.resolve(id)])
        #expect(queue.resolved(id, files("a", "b")) == [.begin("a"), .begin("b")])
        queue.progressed("a", bytes: 4)
        #expect(queue.document(id)?.doneBytes == 4)
        #expect(queue.ended("a", nil) == [])
        #expect(queue.document(id)?.doneFiles == 1 && queue.document(id)?.state == .running)
        #expect(queue.ended("b", nil) == [])
        #expect(queue.document(id)?.state == .done && queue.document(id)?.doneBytes == 20)
        #expect(queue.isIdle)
    }

    @Test func onlySoManyFilesAreFetchedAtOnce() {
        var queue = PrefetchQueue()
        let id = queue.submit(order).id
        let begun = queue.resolved(id, (0..<10).map { (BytePath("\($0)"), 1) })
        #expect(begun == (0..<PrefetchQueue.maximumRunning).map { .begin(BytePath("\($0)")) })
        #expect(queue.ended("2", nil) == [.begin("4")])
    }

    @Test func aFileThatTwoWantIsFetchedOnce() {
        var queue = PrefetchQueue()
        let first = queue.submit(order).id
        let second = queue.submit(order).id
        #expect(queue.resolved(first, files("a")) == [.begin("a")])
        #expect(queue.resolved(second, files("a")) == [])
        #expect(queue.ended("a", nil) == [])
        #expect(queue.document(first)?.state == .done && queue.document(second)?.state == .done)
    }

    @Test func aJobWithoutFilesIsDoneAtOnce() {
        var queue = PrefetchQueue()
        let id = queue.submit(order).id
        #expect(queue.resolved(id, []) == [])
        #expect(queue.document(id)?.state == .done)
    }

    @Test func aFailureIsToldWithItsFile() {
        var queue = PrefetchQueue()
        let id = queue.submit(order).id
        _ = queue.resolved(id, files("a", "b"))
        _ = queue.ended("b", failure)
        #expect(queue.document(id)?.state == .running)
        _ = queue.ended("a", nil)
        let document = queue.document(id)
        #expect(document?.state == .failed && document?.failures == [failure] && document?.doneFiles == 1)
    }

    @Test func aRefusalEndsTheJob() {
        var queue = PrefetchQueue()
        let id = queue.submit(order).id
        #expect(queue.refused(id, failure) == [])
        #expect(queue.document(id)?.state == .failed)
    }

    @Test func whatMustSucceedIsTriedLaterAndLater() {
        var queue = PrefetchQueue()
        let id = queue.submit(order, retries: true).id
        #expect(queue.refused(id, failure) == [.retryLater(id, seconds: 1)])
        #expect(queue.document(id)?.state == .running)
        #expect(queue.retry(id) == [.resolve(id)])
        #expect(queue.retry(id) == [], "it is being resolved already")
        #expect(queue.resolved(id, files("b")) == [.begin("b")])
        #expect(queue.ended("b", failure) == [.retryLater(id, seconds: 2)])
        for _ in 0..<10 {
            _ = queue.retry(id)
            _ = queue.refused(id, failure)
        }
        _ = queue.retry(id)
        #expect(queue.refused(id, failure) == [.retryLater(id, seconds: PrefetchQueue.longestPause)])
        _ = queue.retry(id)
        _ = queue.resolved(id, files("b"))
        _ = queue.ended("b", nil)
        #expect(queue.document(id)?.state == .done && queue.document(id)?.failures == [])
    }

    @Test func stoppingEndsWhatNobodyElseWants() {
        var queue = PrefetchQueue()
        let first = queue.submit(order).id
        let second = queue.submit(order).id
        _ = queue.resolved(first, files("a", "b", "c", "d", "e"))
        _ = queue.resolved(second, files("b"))
        #expect(queue.stop { $0 == "e" } == [.cancel("a"), .cancel("c"), .cancel("d")])
        #expect(queue.document(first)?.state == .stopped)
        #expect(queue.document(second)?.state == .running)
        for path in ["a", "c", "d"] as [BytePath] { #expect(queue.ended(path, failure) == []) }
        #expect(queue.ended("b", nil) == [])
        #expect(queue.document(second)?.state == .done)
        #expect(queue.isIdle)
    }

    @Test func whatIsAskedForWhileItIsBeingEndedBeginsAnew() {
        var queue = PrefetchQueue()
        let first = queue.submit(order).id
        _ = queue.resolved(first, files("a"))
        #expect(queue.stopAll() == [.cancel("a")])
        let second = queue.submit(order).id
        #expect(queue.resolved(second, files("a")) == [])
        #expect(queue.ended("a", failure) == [.begin("a")])
        #expect(queue.ended("a", nil) == [])
        #expect(queue.document(second)?.state == .done)
    }

    @Test func twoSpellingsOfOneTextAreTwoFiles() {
        var queue = PrefetchQueue()
        let id = queue.submit(order).id
        #expect(queue.resolved(id, files("caf\u{e9}", "cafe\u{301}")).count == 2)
    }

    @Test func whatIsOverIsForgottenInTime() {
        var queue = PrefetchQueue()
        for _ in 0..<200 {
            let id = queue.submit(order).id
            _ = queue.resolved(id, [])
        }
        #expect(queue.documents.count == PrefetchQueue.maximumOver)
        #expect(queue.document(1) == nil && queue.document(200) != nil)
    }

    @Test(arguments: 0..<50 as Range<UInt64>)
    func inAnyOrderOfEventsEveryJobEnds(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var queue = PrefetchQueue()
        var resolving: [Int] = []
        var running: Set<BytePath> = []
        var jobs: [Int] = []
        func take(_ actions: [PrefetchQueue.Action]) {
            for action in actions {
                switch action {
                case .resolve(let id): resolving.append(id)
                case .begin(let path): #expect(running.insert(path).inserted, "seed \(seed): begun twice")
                case .cancel(let path): #expect(running.contains(path), "seed \(seed)")
                case .retryLater: Issue.record("nothing is retried here")
                }
            }
            #expect(running.count <= PrefetchQueue.maximumRunning)
        }
        func step(_ choice: Int) {
            switch choice {
            case 0:
                let (id, actions) = queue.submit(order)
                jobs.append(id)
                take(actions)
            case 1:
                guard let id = resolving.popLast() else { return }
                let names = (0..<8).filter { _ in Bool.random(using: &random) }.map { BytePath("\($0)") }
                take(queue.resolved(id, names.map { ($0, 1) }))
            case 2:
                let path = BytePath("\(Int.random(in: 0..<8, using: &random))")
                take(queue.stop { $0 == path })
            default:
                guard let path = running.sorted().randomElement(using: &random) else { return }
                running.remove(path)
                take(queue.ended(path, Bool.random(using: &random) ? failure : nil))
            }
        }
        for _ in 0..<400 { step(Int.random(in: 0..<6, using: &random)) }
        while !resolving.isEmpty { step(1) }
        while !running.isEmpty { step(3) }
        #expect(queue.isIdle, "seed \(seed)")
        #expect(jobs.allSatisfy { queue.document($0).map { $0.state != .running } ?? true }, "seed \(seed)")
    }
}
