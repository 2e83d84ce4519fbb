import LinuxPlatform
import ObjectStorage
import Telemetry
import TestSupport
import Testing
import TransferEngine

/// A source whose requests do what the test says, one step at a time.
private final class PuppetSource: RangedSource {
    struct Request: Sendable {
        let read: RangeRead
        let complete: @Sendable (Result<Void, ObjectStoreError>) -> Void
        var delivered = 0
        var isCancelled = false
        var isOver = false
    }

    let content: [UInt8]
    var size: Int { content.count }
    let label = "puppet"
    /// Whether a cancelled request ends by itself.
    private let obeys: Bool
    private let state = Lock([Request]())

    init(_ content: [UInt8], obeys: Bool = true) {
        self.content = content
        self.obeys = obeys
    }

    var requests: [Request] { state.withLock { $0 } }

    func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        let index = state.withLock { requests in
            requests.append(Request(read: read, complete: completion))
            return requests.count - 1
        }
        return ReadCancellation { [self] in
            state.withLock { $0[index].isCancelled = true }
            if obeys { end(index, .failure(ObjectStoreError(.cancelled, "cancelled"))) }
        }
    }

    func send(_ index: Int) { requests[index].read.observer?(.sent) }

    /// Writes the next bytes of a request.
    func deliver(_ index: Int, _ count: Int) {
        let request = requests[index]
        let start = request.read.range.offset + request.delivered
        let place = request.read.bufferOffset + request.delivered
        let target = UnsafeMutableRawBufferPointer(rebasing: request.read.buffer.bytes[place..<place + count])
        target.copyBytes(from: content[start..<start + count])
        state.withLock { $0[index].delivered += count }
        request.read.tap?(request.delivered, UnsafeRawBufferPointer(target))
    }

    func end(_ index: Int, _ result: Result<Void, ObjectStoreError>) {
        let request = state.withLock { requests -> Request? in
            if requests[index].isOver { return nil }
            requests[index].isOver = true
            return requests[index]
        }
        request?.complete(result)
    }
}

/// A hedged puppet with a clock of the test's, and what a reader saw.
private final class Stage: Sendable {
    let content: [UInt8]
    let puppet: PuppetSource
    let time = ManualTime()
    let metrics: HedgeMetrics
    let hedger: Hedger
    let source: HedgedSource
    let seen = Lock([UInt8]())
    let outcomes = Lock([Result<Void, ObjectStoreError>]())

    init(obeys: Bool = true) {
        var random = SeededRandom(seed: 3)
        content = random.bytes(1 << 20)
        puppet = PuppetSource(content, obeys: obeys)
        metrics = HedgeMetrics(MetricRegistry())
        hedger = Hedger(metrics: metrics, time: time)
        source = HedgedSource(puppet, hedger)
    }

    func read(_ buffer: BufferLease, from offset: Int = 0) -> ReadCancellation {
        let range = ByteRange(offset: offset, count: content.count - offset)
        return source.read(
            RangeRead(
                range,
                into: buffer,
                tap: { [self] at, bytes in
                    let before = seen.withLock { $0.count }
                    #expect(at == before)
                    seen.withLock { $0 += Array(bytes) }
                }
            )
        ) { [self] result in outcomes.withLock { $0.append(result) } }
    }

    /// Lets the hedger look as often as it does in this time.
    func pass(_ milliseconds: Int) async {
        for _ in 0..<milliseconds / 10 {
            await time.waitForSleepers()
            time.advance(by: Hedger.interval)
        }
        await time.waitForSleepers()
    }

    var isDone: Bool { outcomes.withLock { $0.count == 1 && (try? $0[0].get()) != nil } }
}

struct HedgedSourceTests {
    @Test func aSecondRequestGoesOnWhereTheFirstStopped() async {
        let stage = Stage()
        let buffer = BufferLease(size: 2 << 20)
        _ = stage.read(buffer, from: 1000)
        stage.puppet.send(0)
        stage.puppet.deliver(0, 300_000)
        await stage.pass(1020)
        #expect(stage.puppet.requests.count == 2)
        #expect(stage.puppet.requests[1].read.range.offset == 301_000)
        stage.puppet.send(1)
        stage.puppet.deliver(1, stage.content.count - 301_000)
        stage.puppet.end(1, .success(()))
        #expect(stage.isDone)
        #expect(stage.seen.withLock { $0 } == Array(stage.content[1000...]))
        #expect(Array(buffer.bytes[..<(stage.content.count - 1000)]) == Array(stage.content[1000...]))
        #expect(stage.metrics.started == 1 && stage.metrics.winCount == 1)
    }

    @Test func theBufferNeverHasTwoWriters() async {
        let stage = Stage(obeys: false)
        let buffer = BufferLease(size: 1 << 20)
        _ = stage.read(buffer)
        stage.puppet.send(0)
        stage.puppet.deliver(0, 1000)
        await stage.pass(1020)
        #expect(stage.puppet.requests[0].isCancelled)
        // It was told to end and has not: it may still write.
        await stage.pass(5000)
        #expect(stage.puppet.requests.count == 1)
        stage.puppet.deliver(0, 500)
        stage.puppet.end(0, .failure(ObjectStoreError(.cancelled, "cancelled")))
        #expect(stage.puppet.requests.count == 2)
        #expect(stage.puppet.requests[1].read.range.offset == 1500)
        stage.puppet.deliver(1, stage.content.count - 1500)
        stage.puppet.end(1, .success(()))
        #expect(stage.isDone)
        #expect(stage.seen.withLock { $0 } == stage.content)
    }

    @Test func whatTheSourceSaysInTheEndIsSaid() async {
        let stage = Stage()
        _ = stage.read(BufferLease(size: 1 << 20))
        stage.puppet.send(0)
        stage.puppet.end(0, .failure(ObjectStoreError(.notFound, "gone")))
        #expect(stage.puppet.requests.count == 1)
        guard case .failure(let error) = stage.outcomes.withLock({ $0.first }) else {
            Issue.record("no failure")
            return
        }
        #expect(error.code == .notFound)
    }

    @Test func cancellingEndsTheRequestThatIsOnItsWayOnce() async {
        let stage = Stage()
        let reading = stage.read(BufferLease(size: 1 << 20))
        stage.puppet.send(0)
        await stage.pass(1020)
        #expect(stage.puppet.requests.count == 2)
        reading.cancel()
        reading.cancel()
        #expect(stage.puppet.requests.count == 2)
        #expect(stage.outcomes.withLock { $0.count } == 1)
        #expect(!stage.isDone)
    }

    @Test func itSleepsWhenNothingIsOnItsWay() async {
        let stage = Stage()
        _ = stage.read(BufferLease(size: 1 << 20))
        stage.puppet.deliver(0, stage.content.count)
        stage.puppet.end(0, .success(()))
        await stage.time.waitForSleepers()
        let before = stage.time.sleeps.count
        stage.time.advance(by: Hedger.interval)
        // Awake again for the next read, and only once.
        _ = stage.read(BufferLease(size: 1 << 20))
        await stage.time.waitForSleepers()
        #expect(stage.time.sleeps.count == before + 1)
        stage.puppet.end(1, .failure(ObjectStoreError(.internal, "over")))
    }
}
