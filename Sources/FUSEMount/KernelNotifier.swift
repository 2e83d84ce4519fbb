import Filesystem
import LinuxPlatform

/// Tells the kernel of names that it should not remember any longer, from a thread of its own.
///
/// The kernel takes the lock of the directory for it, which a lookup in it may hold until we have answered: whoever answers
/// requests must never tell.
final class KernelNotifier: Sendable {
    private struct State {
        var waiting: [(directory: NodeID, name: EntryName)] = []
        var hasThread = false
        var isEnded = false
    }

    /// More are forgotten: names time out by themselves.
    private static let maximumWaiting = 100_000

    private let state = Monitor(State())
    private let tell: @Sendable (NodeID, EntryName) -> Void

    /// - Parameter tell: called on the notifier's thread; may block.
    init(_ tell: @escaping @Sendable (NodeID, EntryName) -> Void) { self.tell = tell }

    /// Has the kernel forget names; returns at once.
    func forget(_ names: [EntryName], in directory: NodeID) {
        let needsThread = state.withLock { state in
            guard !state.isEnded, state.waiting.count + names.count <= Self.maximumWaiting else { return false }
            state.waiting += names.map { (directory, $0) }
            defer { state.hasThread = true }
            return !state.hasThread
        }
        guard needsThread else { return }
        do {
            try NamedThread(name: "fuse-notify") { self.run() }.detach()
        } catch {
            state.withLock { $0.hasThread = false }
        }
    }

    /// Nothing is told any more once the one under way is.
    func end() { state.withLock { $0.isEnded = true } }

    private func run() {
        while true {
            guard state.wait(until: .distantFuture, { $0.isEnded || !$0.waiting.isEmpty }) else { continue }
            let (names, isEnded) = state.withLock { state in
                defer { state.waiting = [] }
                return (state.waiting, state.isEnded)
            }
            if isEnded { return }
            for (directory, name) in names { tell(directory, name) }
        }
    }
}
