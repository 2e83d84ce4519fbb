/// How far one read is, over all its attempts: the rules without I/O.
struct ReadProgress: Sendable {
    enum Phase: Sendable {
        /// Between attempts: nobody writes to the buffer.
        case waiting
        case inFlight
        case finished
    }

    enum CancelStep: Equatable, Sendable {
        /// The read ends now.
        case finish
        /// The transfer's own end will end the read.
        case stopTransfer
        case nothing
    }

    let count: Int
    private(set) var phase = Phase.waiting
    /// Bytes of the range that are in the buffer.
    private(set) var received = 0
    private(set) var attempt = 0
    private(set) var isCancelled = false

    init(count: Int) { self.count = count }

    var isComplete: Bool { received == count }

    /// Begins the next attempt, at the byte where the last one stopped; false when the read is over.
    mutating func begin() -> Bool {
        guard phase == .waiting, !isCancelled else { return false }
        phase = .inFlight
        attempt += 1
        return true
    }

    /// The attempt ended with so many more bytes in the buffer.
    mutating func ended(delivered: Int) {
        phase = .waiting
        received = min(count, received + max(0, delivered))
    }

    mutating func cancel() -> CancelStep {
        if isCancelled || phase == .finished { return .nothing }
        isCancelled = true
        return phase == .inFlight ? .stopTransfer : .finish
    }

    /// True for the first caller only: the one who completes the read.
    mutating func finish() -> Bool {
        defer { phase = .finished }
        return phase != .finished
    }
}
