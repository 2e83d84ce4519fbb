import LinuxPlatform

/// Where the body of a reply goes: into the caller's memory, or into an array with a bound.
struct BodySink {
    enum Verdict: Equatable {
        case more
        /// The caller has all it wanted; the rest of the body is not worth reading.
        case enough
        case tooLong
    }

    private enum Mode {
        case undecided
        case deliver
        case collect
        case collectStrictly
    }

    /// Past the limit of a collected body this much is still read and dropped, which is cheaper than a new connection.
    static let drained = 256 << 10

    private var mode = Mode.undecided
    private var target: UnsafeMutableRawBufferPointer?
    private var limit = 0
    private var dropped = 0
    private let tap: (@Sendable (Int, UnsafeRawBufferPointer) -> Void)?
    private(set) var delivered = 0
    private(set) var collected: [UInt8] = []

    init(tap: (@Sendable (Int, UnsafeRawBufferPointer) -> Void)? = nil) { self.tap = tap }

    /// Bytes that must still come.
    var missing: Int { mode == .deliver ? limit - delivered : 0 }

    /// Where the next bytes belong, when they may be put there without `take`.
    var place: UnsafeMutableRawBufferPointer? {
        guard mode == .deliver, let target, delivered < limit else { return nil }
        return UnsafeMutableRawBufferPointer(rebasing: target[delivered...])
    }

    /// So many bytes were put into `place`.
    mutating func placed(_ count: Int) {
        guard let target, count <= limit - delivered else { return }
        tap?(delivered, UnsafeRawBufferPointer(rebasing: target[delivered..<delivered + count]))
        delivered += count
    }

    /// The body goes into `target`, all of it.
    mutating func deliver(into target: UnsafeMutableRawBufferPointer) {
        (mode, self.target, limit) = (.deliver, target, target.count)
    }

    /// The body goes into an array: of at most `limit` bytes, and longer ones fail if `strictly`.
    mutating func collect(limit: Int, strictly: Bool) {
        (mode, self.limit) = (strictly ? .collectStrictly : .collect, max(0, limit))
    }

    /// What an announced length means, before the first byte.
    func verdict(announced length: Int) -> Verdict {
        switch mode {
        case .deliver, .collectStrictly: length > limit ? .tooLong : .more
        case .collect: length > limit + Self.drained && limit == 0 ? .enough : .more
        case .undecided: .more
        }
    }

    mutating func take(_ piece: UnsafeRawBufferPointer) -> Verdict {
        switch mode {
        case .undecided:
            return .tooLong
        case .deliver:
            guard let target, piece.count <= limit - delivered else { return .tooLong }
            let place = UnsafeMutableRawBufferPointer(rebasing: target[delivered..<delivered + piece.count])
            place.copyDisjoint(from: piece)
            placed(piece.count)
        case .collectStrictly:
            guard piece.count <= limit - collected.count else { return .tooLong }
            collected.append(contentsOf: piece)
        case .collect:
            let kept = min(piece.count, limit - collected.count)
            collected.append(contentsOf: piece.prefix(kept))
            dropped += piece.count - kept
            if dropped > Self.drained { return .enough }
        }
        return .more
    }
}
