package import BlockCache
import LinuxPlatform

/// How many contents are being read at the same time: what the memory for read-ahead is divided by.
///
/// Open files do not count, only those of the last `span` reads: a loader keeps all shards open and reads one.
package final class ActiveStreams: Sendable {
    private struct State {
        var clock = 0
        var lastUse: [CachedContent.ID: Int] = [:]
        var headers = 0
    }

    /// In reads, of 1 MiB at most each.
    package static let span = 256
    /// Headers that are looked into at once: each takes memory of its own, `HeaderReading.limit` at most.
    private static let maximumHeaders = 2
    private let state = Lock(State())

    package init() {}

    /// Notes a read of the content.
    ///
    /// - Returns: how many contents, this one among them, were read lately; at least 1.
    package func note(_ content: CachedContent.ID) -> Int {
        state.withLock { state in
            state.clock += 1
            state.lastUse[content] = state.clock
            let oldest = state.clock - Self.span
            if state.clock % 32 == 0 { state.lastUse = state.lastUse.filter { $0.value > oldest } }
            return state.lastUse.count
        }
    }

    /// How many contents were read lately, as `note` said last; at least 1.
    var count: Int { state.withLock { max(1, $0.lastUse.count) } }

    /// Whether a header may be looked into now; `endHeader` ends it.
    func beginHeader() -> Bool {
        state.withLock { state in
            guard state.headers < Self.maximumHeaders else { return false }
            state.headers += 1
            return true
        }
    }

    func endHeader() { state.withLock { $0.headers -= 1 } }
}
