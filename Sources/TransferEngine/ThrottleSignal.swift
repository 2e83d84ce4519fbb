import LinuxPlatform

/// Carries "slow down" from whoever talks to a server to whoever decides how much is on its way.
///
/// A store hears it first, and retries by itself; the limit on all requests should fall at once all the same.
package final class ThrottleSignal: Sendable {
    private let listener = Lock<(@Sendable () -> Void)?>(nil)

    package init() {}

    /// The server asked to slow down. From any thread.
    package func fire() { listener.withLock(\.self)?() }

    /// Who hears it from now on; one at a time.
    package func listen(_ body: @escaping @Sendable () -> Void) { listener.withLock { $0 = body } }
}
