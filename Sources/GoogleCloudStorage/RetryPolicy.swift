import HTTPEngine
import LinuxPlatform

/// Whether a request may be sent again after nobody knows what became of it.
enum Repeatability: Sendable {
    /// Reads, and writes with a precondition.
    case always
    /// Writes without one: a repetition could undo what another writer did meanwhile.
    case onlyIfRefused
    /// The caller decides what comes next: chunks of an upload session.
    case never
}

/// What to do after an attempt.
enum RetryVerdict: Equatable, Sendable {
    case succeeded
    /// - Parameter isAmbiguous: the server may have done what was asked.
    case retry(isAmbiguous: Bool)
    case fail
}

/// Which outcomes are worth another attempt.
///
/// Source: Cloud Storage, "Retry strategy", and the official clients' conformance classes.
enum RetryPolicy {
    static func verdict(status: Int, isThrottle: Bool, _ repeatability: Repeatability) -> RetryVerdict {
        switch status {
        case 200..<300, 308: return .succeeded
        // Refused before anything was done.
        case 429: return repeatability == .never ? .fail : .retry(isAmbiguous: false)
        case 403 where isThrottle: return repeatability == .never ? .fail : .retry(isAmbiguous: false)
        // "Not implemented" will not be implemented in a minute.
        case 501: return .fail
        case 408, 500..<600: return repeatability == .always ? .retry(isAmbiguous: true) : .fail
        default: return .fail
        }
    }

    static func verdict(failure: HTTPFailure.Code, _ repeatability: Repeatability) -> RetryVerdict {
        switch failure {
        // The request never left.
        case .resolve, .connect: repeatability == .never ? .fail : .retry(isAmbiguous: false)
        case .connectionLost, .bodyTooShort, .firstByteTimeout, .stalled:
            repeatability == .always ? .retry(isAmbiguous: true) : .fail
        case .tls, .bodyTooLong, .deadlineExceeded, .cancelled, .invalidRequest, .protocolViolation, .engineClosed:
            .fail
        }
    }
}

/// When one operation is tried again, and until when.
struct Backoff: Sendable {
    /// A server's wish to wait longer than this is not honoured in full.
    static let longestRetryAfter: Duration = .seconds(60)
    /// More failures in a row count as so many while others succeed: four times the first pause.
    static let failuresBesideSuccesses = 3

    private let patience: Duration
    private let pauses: ExponentialBackoff
    private var deadline: MonotonicInstant
    private(set) var attempts = 0
    private var failures = 0

    /// - Parameter patience: how long nothing may succeed and no bytes come.
    init(patience: Duration, firstPause: Duration = .seconds(1), longestPause: Duration, now: MonotonicInstant) {
        self.patience = patience
        pauses = ExponentialBackoff(first: firstPause, longest: longestPause)
        deadline = now.advanced(by: patience)
    }

    mutating func attemptStarted() { attempts += 1 }

    /// Bytes came: patience starts anew.
    mutating func progressed(now: MonotonicInstant) {
        failures = 0
        deadline = now.advanced(by: patience)
    }

    /// How long to wait before the next attempt, or nil to give up.
    ///
    /// - Parameters:
    ///   - othersSucceed: the server answers others meanwhile: the pause stays short, because what it refuses it refuses by
    ///     chance or in bursts.
    ///   - random: from 0 to 1.
    mutating func pause(
        now: MonotonicInstant,
        retryAfter: Duration?,
        othersSucceed: Bool = false,
        random: Double
    ) -> Duration? {
        failures += 1
        let doublings = othersSucceed ? min(failures, Self.failuresBesideSuccesses) : failures
        let jittered = pauses.pause(afterFailures: doublings, random: random)
        let pause = max(jittered, min(retryAfter ?? .zero, Self.longestRetryAfter))
        return now.advanced(by: pause) >= deadline ? nil : pause
    }
}
