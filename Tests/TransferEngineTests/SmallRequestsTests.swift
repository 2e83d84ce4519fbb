import LinuxPlatform
import ObjectStorage
import Telemetry
import TestSupport
import Testing

@testable import TransferEngine

/// Small requests that answer when the test says so; one that is cancelled ends at once.
private final class Replies: Sendable {
    private struct State {
        var asked = 0
        var waiting: [Int: CheckedContinuation<Result<Int, ObjectStoreError>, Never>] = [:]
        var cancelled: Set<Int> = []
        var watchers: [(asked: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Lock(State())

    var asked: Int { state.withLock(\.asked) }
    var cancelled: Set<Int> { state.withLock(\.cancelled) }

    /// One request; its answer is what `answer` gives to its number.
    func ask() async throws(ObjectStoreError) -> Int {
        let number = state.withLock { state in
            state.asked += 1
            return state.asked
        }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (isCancelled, watchers) = state.withLock { state in
                    let isCancelled = state.cancelled.contains(number)
                    if !isCancelled { state.waiting[number] = continuation }
                    defer { state.watchers.removeAll { $0.asked <= number } }
                    return (isCancelled, state.watchers.filter { $0.asked <= number })
                }
                if isCancelled { continuation.resume(returning: .failure(ObjectStoreError(.cancelled, "cancelled"))) }
                for watcher in watchers { watcher.continuation.resume() }
            }
        } onCancel: {
            state.withLock { _ = $0.cancelled.insert(number) }
            answer(number, .failure(ObjectStoreError(.cancelled, "cancelled")))
        }
        return try result.get()
    }

    func answer(_ number: Int, _ result: Result<Int, ObjectStoreError>) {
        state.withLock { $0.waiting.removeValue(forKey: number) }?.resume(returning: result)
    }

    /// Returns when so many requests wait for their answers, or have.
    func wait(until asked: Int) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.waiting[asked] != nil { return true }
                state.watchers.append((asked, continuation))
                return false
            }
            if isThere { continuation.resume() }
        }
    }
}

struct SmallRequestsTests {
    private let time = ManualTime()
    private let replies = Replies()
    private let metrics = HedgeMetrics(MetricRegistry())
    private var hedger: Hedger { Hedger(metrics: metrics, time: time) }

    private func begin(_ hedger: Hedger) -> Task<Result<Int, ObjectStoreError>, Never> {
        Task { [replies] in
            do throws(ObjectStoreError) {
                return .success(
                    try await hedger.ask(.record) { () async throws(ObjectStoreError) in try await replies.ask() }
                )
            } catch {
                return .failure(error)
            }
        }
    }

    /// A request that has been waited for as long as one is, and a second one beside it.
    private func late(_ hedger: Hedger) async -> Task<Result<Int, ObjectStoreError>, Never> {
        let task = begin(hedger)
        await replies.wait(until: 1)
        await time.waitForSleepers()
        time.advance(by: .milliseconds(999))
        #expect(replies.asked == 1)
        time.advance(by: .milliseconds(1))
        await replies.wait(until: 2)
        return task
    }

    @Test func aSecondRequestAnswersForOneThatHangs() async throws {
        let task = await late(hedger)
        replies.answer(2, .success(22))
        #expect(try await task.value.get() == 22)
        #expect(replies.cancelled == [1] && replies.asked == 2)
        #expect(metrics.started == 1 && metrics.winCount == 1)
    }

    @Test func theFirstMayStillBeFaster() async throws {
        let task = await late(hedger)
        replies.answer(1, .success(11))
        #expect(try await task.value.get() == 11)
        #expect(replies.cancelled == [2])
        #expect(metrics.started == 1 && metrics.winCount == 0)
    }

    @Test func aFailureThatMayPassWaitsForTheOther() async throws {
        let task = await late(hedger)
        replies.answer(2, .failure(ObjectStoreError(.unavailable, "busy")))
        replies.answer(1, .success(11))
        #expect(try await task.value.get() == 11)
    }

    @Test func whatBothWereRefusedIsRefused() async {
        let task = await late(hedger)
        replies.answer(2, .failure(ObjectStoreError(.unavailable, "busy")))
        replies.answer(1, .failure(ObjectStoreError(.unavailable, "busy")))
        await #expect(throws: ObjectStoreError.self) { try await task.value.get() }
    }

    @Test func anAnswerThatNothingCanChangeCountsAtOnce() async {
        let task = await late(hedger)
        replies.answer(2, .failure(ObjectStoreError(.notFound, "no such object")))
        let result = await task.value
        guard case .failure(let error) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(error.code == .notFound && replies.cancelled == [1])
    }

    @Test func whoeverGivesUpEndsBoth() async {
        let task = await late(hedger)
        task.cancel()
        guard case .failure(let error) = await task.value else {
            Issue.record("it did not fail")
            return
        }
        #expect(error.code == .cancelled && replies.cancelled == [1, 2])
    }

    @Test func whatIsUsualIsLearnedForEachKind() {
        var patience = SmallRequestPatience()
        var network = NetworkEstimate()
        #expect(patience.patience(.record, beside: network) == .seconds(1))
        for _ in 0..<8 { network.answered(after: .milliseconds(30)) }
        #expect((.milliseconds(240)...(.milliseconds(280))).contains(patience.patience(.record, beside: network)))
        for _ in 0..<8 { patience.answered(.record, after: .milliseconds(100)) }
        #expect((.milliseconds(200)...(.milliseconds(220))).contains(patience.patience(.record, beside: network)))
        #expect((.milliseconds(240)...(.milliseconds(280))).contains(patience.patience(.listing, beside: network)))
    }
}
