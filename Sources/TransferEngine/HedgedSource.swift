import LinuxPlatform
package import ObjectStorage

/// A source whose reads do not wait for a bad connection: see `HedgeTable`.
///
/// A request that is given up is cancelled, and the next begins when it has ended, into the same buffer, at the byte where it
/// stopped: each byte is seen once, and no memory is needed beside the caller's.
package final class HedgedSource: RangedSource {
    private let origin: any RangedSource
    private let hedger: Hedger

    /// - Parameter origin: ends soon after it was cancelled, and shows every byte to the tap before it ends.
    package init(_ origin: any RangedSource, _ hedger: Hedger) {
        self.origin = origin
        self.hedger = hedger
    }

    package var size: Int { origin.size }
    package var label: String { origin.label }

    @discardableResult
    package func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        let reading = HedgedReading(read, of: origin, hedger, completion)
        reading.ask(from: 0)
        return ReadCancellation { reading.cancel() }
    }
}

/// One read with its requests, one after the other.
private final class HedgedReading: Sendable {
    private struct State {
        var isCancelled = false
        /// Stops the request that is on its way.
        var current = LateCancellation()
    }

    private let read: RangeRead
    private let origin: any RangedSource
    private let hedger: Hedger
    private let completion: @Sendable (Result<Void, ObjectStoreError>) -> Void
    private let state: Lock<State>
    private let meter: ReadMeter

    init(
        _ read: RangeRead,
        of origin: any RangedSource,
        _ hedger: Hedger,
        _ completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) {
        self.read = read
        self.origin = origin
        self.hedger = hedger
        self.completion = completion
        let state = Lock(State())
        self.state = state
        meter = hedger.begin(count: read.range.count) { state.withLock(\.current).cancel() }
    }

    func cancel() {
        hedger.cancelled(meter)
        let current = state.withLock { state in
            state.isCancelled = true
            return state.current
        }
        current.cancel()
    }

    /// Asks for what lies behind the first `start` bytes. Nobody else writes to the buffer.
    func ask(from start: Int) {
        let cancellation = LateCancellation()
        let isCancelled = state.withLock { state in
            state.current = cancellation
            return state.isCancelled
        }
        if isCancelled { cancellation.cancel() }
        let range = ByteRange(offset: read.range.offset + start, count: read.range.count - start)
        let part = RangeRead(
            range,
            into: read.buffer,
            at: read.bufferOffset + start,
            deadline: read.deadline,
            tap: { [read, hedger, meter] offset, bytes in
                hedger.received(meter, bytes.count)
                read.tap?(start + offset, bytes)
            },
            observer: { [read, hedger, meter] event in
                switch event {
                case .sent: hedger.sent(meter)
                case .behind: hedger.behind(meter)
                case .paused(let isThrottled): hedger.paused(meter, isThrottled: isThrottled)
                }
                read.observer?(event)
            }
        )
        cancellation.started(origin.read(part) { [self] result in ended(result) }.cancel)
    }

    private func ended(_ result: Result<Void, ObjectStoreError>) {
        switch hedger.ended(meter) {
        case .again: ask(from: meter.count)
        case .over: completion(result)
        }
    }
}
