package import LinuxPlatform

/// How many bytes of read-ahead should be on their way at once: enough for the distance, no more than that.
///
/// Near a server a few requests fill the line, and more only take memory. Far from it each request waits for its first
/// byte, and each connection may have a limit of its own: there the rate grows with the requests on their way, until the
/// line is full. Which of the two it is, is tried out: while the first byte takes noticeably long and everything that was
/// allowed was on its way, the window grows by half; a step that brought no higher rate is taken back, and not tried again for
/// a while. No clock: the caller says what time it is.
package struct FlightWindow: Sendable {
    /// Requests nearer than this gain nothing from a larger window; a server of this machine, too, may take some
    /// milliseconds when the machine is busy.
    package static let nearby = Duration.milliseconds(8)
    /// Where it begins, in bytes; less where the memory is less.
    package static let initial = 48 << 20
    /// A step is kept when the rate grew by this factor: half as many requests more should bring half as much more, and
    /// less than this may be chance, or take memory for little.
    static let noticeableGain = 1.2
    /// Rounds without a try after a step that brought nothing.
    static let restRounds = 32
    /// A round ends with at least so many requests and bytes equal to the window.
    static let roundFetches = 6
    private static let remembered = 64
    private static let pause = Duration.milliseconds(250)

    /// In bytes; never more.
    package let maximum: Int
    /// In bytes.
    package private(set) var bytes: Int

    private var roundStart: MonotonicInstant?
    /// Since when nothing is on its way.
    private var idleSince: MonotonicInstant?
    private var roundBytes = 0
    private var roundFetches = 0
    /// The most that was on its way in this round.
    private var roundPeak = 0
    private var rest = 0
    /// The next round tells nothing: it begins with what the last window, or none, has sent.
    private var isSettling = true
    /// What the smaller window achieved, while a larger one is on trial.
    private var trial: (rate: Double, bytes: Int)?
    /// The shortest times to the first byte, of the last requests and those before them.
    private var shortest: (recent: Duration?, before: Duration?) = (nil, nil)
    private var noted = 0

    /// - Parameter maximum: what the memory allows, in bytes.
    package init(maximum: Int) {
        self.maximum = maximum
        bytes = min(Self.initial, maximum)
    }

    /// The shortest time to the first byte of the last 64 to 128 requests: the distance, without queues.
    package var distance: Duration? {
        guard let recent = shortest.recent else { return shortest.before }
        return min(recent, shortest.before ?? recent)
    }

    /// A request was sent.
    ///
    /// - Parameter underWay: bytes that are on their way now, this request among them.
    package mutating func began(underWay: Int, now: MonotonicInstant) {
        if let idleSince, idleSince.duration(to: now) > Self.pause {
            // A pause of the readers says nothing about the line.
            startRound(now)
            isSettling = true
        }
        idleSince = nil
        if roundStart == nil { startRound(now) }
        roundPeak = max(roundPeak, underWay)
    }

    /// The first byte of a reply arrived.
    package mutating func firstByte(after wait: Duration) {
        shortest.recent = min(shortest.recent ?? wait, wait)
        noted += 1
        guard noted == Self.remembered else { return }
        noted = 0
        shortest = (nil, shortest.recent)
    }

    /// A request ended well.
    ///
    /// - Parameter underWay: bytes that are on their way still.
    package mutating func ended(bytes count: Int, underWay: Int, now: MonotonicInstant) {
        roundBytes += count
        roundFetches += 1
        if let start = roundStart, roundFetches >= Self.roundFetches, roundBytes >= bytes {
            let seconds = max(start.duration(to: now).inSeconds, 1e-6)
            endRound(rate: Double(roundBytes) / seconds, wasFull: roundPeak >= bytes / 4 * 3)
            startRound(now)
        }
        if underWay == 0 { idleSince = now }
    }

    private mutating func startRound(_ now: MonotonicInstant) {
        roundStart = now
        roundBytes = 0
        roundFetches = 0
        roundPeak = 0
    }

    private mutating func endRound(rate: Double, wasFull: Bool) {
        guard !isSettling else {
            isSettling = false
            return
        }
        if let trial {
            guard wasFull else { return }
            self.trial = nil
            guard rate >= trial.rate * Self.noticeableGain else {
                bytes = trial.bytes
                rest = Self.restRounds
                isSettling = true
                return
            }
        }
        if rest > 0 {
            rest -= 1
            return
        }
        guard wasFull, bytes < maximum, let distance, distance >= Self.nearby else { return }
        trial = (rate, bytes)
        bytes = min(bytes / 2 * 3, maximum)
        isSettling = true
    }
}
