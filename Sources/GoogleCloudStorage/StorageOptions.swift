/// How a client of a bucket behaves.
package struct StorageOptions: Sendable {
    /// How long an operation goes on retrying, in all; a read, since its last byte.
    package var retryDeadline: Duration
    /// The longest pause between two attempts. The first is at most a second, then twice as much each time.
    package var longestPause: Duration
    /// What the first pause of a read of a range is at most: somebody may be waiting for its bytes.
    package var firstReadPause: Duration
    /// The project to bill: requester-pays buckets want one. Nil: the credential's own quota project, if any.
    package var userProject: String?
    package var userAgent: String
    /// Upload sessions that name another host go to the endpoint instead. For emulators behind a published port.
    package var replacesSessionAuthority: Bool
    /// Called whenever the server asks to slow down (429, 503, or a 403 with such a reason), from any thread.
    package var onThrottle: (@Sendable () -> Void)?
    /// Called whenever an attempt failed and another one is due, from any thread.
    package var onRetry: (@Sendable () -> Void)?

    package init(
        retryDeadline: Duration = .seconds(120),
        longestPause: Duration = .seconds(30),
        firstReadPause: Duration = .milliseconds(25),
        userProject: String? = nil,
        userAgent: String = "penstock/0.1",
        replacesSessionAuthority: Bool = false,
        onThrottle: (@Sendable () -> Void)? = nil,
        onRetry: (@Sendable () -> Void)? = nil
    ) {
        self.retryDeadline = retryDeadline
        self.longestPause = longestPause
        self.firstReadPause = firstReadPause
        self.userProject = userProject
        self.userAgent = userAgent
        self.replacesSessionAuthority = replacesSessionAuthority
        self.onThrottle = onThrottle
        self.onRetry = onRetry
    }
}
