import Filesystem
import LinuxPlatform

/// Tells the kernel of names and contents that it should not remember any longer, from a thread of its own.
///
/// The kernel takes the lock of the directory for it, which a lookup in it may hold until we have answered: whoever answers
/// requests must never tell.
final class KernelNotifier: Sendable {
    /// What is not true any more.
    enum Notice: Hashable {
        case name(EntryName, in: NodeID)
        /// Attributes and bytes of an inode.
        case content(NodeID)
    }

    private struct State {
        var waiting: [Notice] = []
        var hasThread = false
        var isEnded = false
    }

    /// More are forgotten: what may change behind the kernel's back times out by itself.
    private static let maximumWaiting = 100_000

    private let state = Monitor(State())
    private let tell: @Sendable (Notice) -> Void

    /// - Parameter tell: called on the notifier's thread; may block.
    init(_ tell: @escaping @Sendable (Notice) -> Void) { self.tell = tell }

    /// Has the kernel forget names; returns at once.
    func forget(_ names: [EntryName], in directory: NodeID) { forget(names.map { .name($0, in: directory) }) }

    /// Has the kernel forget what is said; returns at once.
    func forget(_ notices: [Notice]) {
        let needsThread = state.withLock { state in
            guard !state.isEnded, state.waiting.count + notices.count <= Self.maximumWaiting else { return false }
            state.waiting += notices
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
            let (notices, isEnded) = state.withLock { state in
                defer { state.waiting = [] }
                return (state.waiting, state.isEnded)
            }
            if isEnded { return }
            for notice in notices { tell(notice) }
        }
    }
}
