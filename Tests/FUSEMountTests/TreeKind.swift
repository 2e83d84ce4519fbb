import Checksums
import Foundation
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// The trees that the suites of writable mounts run over.
enum TreeKind: CaseIterable, CustomTestStringConvertible {
    /// The model: `MemoryTree`.
    case memory
    /// What users mount: `WriteBack`, with its journal and staging files on this machine's disk and a bucket in memory.
    case writeBack

    var testDescription: String {
        switch self {
        case .memory: "the tree in memory"
        case .writeBack: "write-back"
        }
    }
}

/// What tests look at in a tree that is mounted.
protocol ObservedTree: WritableTree {
    /// Handles that are open.
    var openHandles: Int { get }
    /// Nodes that are remembered; the root is one.
    var nodeCount: Int { get }
    /// Answers that are kept for requests that might be sent again.
    var keptAnswers: Int { get }
}

/// Returns when nothing is open any more, or after a while. Before an unmount: close(2) does not wait for the release of a file,
/// and an unmount throws away those that are on their way.
func waitForReleases(_ openHandles: () -> Int) {
    let deadline = SystemTime().now().advanced(by: .seconds(10))
    while openHandles() > 0, SystemTime().now() < deadline { sched_yield() }
}

extension MemoryTree: ObservedTree {}

extension WriteBack: ObservedTree {
    var openHandles: Int {
        core.withLock { $0.engine.state.names.files.contents.values.reduce(0) { $0 + max(0, $1.handles) } }
    }

    var nodeCount: Int { core.withLock { $0.engine.state.names.tree.entries.count } }

    var keptAnswers: Int {
        core.withLock { core in
            core.engine.state.checkpoint.count { record in
                if case .answer = record.event { true } else { false }
            }
        }
    }
}

/// A bucket and a staging directory, and the processes that serve them, one after the other.
final class WriteBackProcesses: Sendable {
    private struct Life {
        var tree: WriteBack
        var store: MemoryObjectStore
    }

    static let prefix = "run/"

    let bucket = MemoryBucket()
    private let staging: StagingDirectory
    private let boot: [UInt8]
    private let life: Lock<Life?> = Lock(nil)

    /// - Parameter path: of the staging directory.
    init(staging path: String) throws {
        staging = try StagingDirectory(path: path)
        boot = try Journal.thisBoot()
    }

    var living: WriteBack? { life.withLock { $0?.tree } }

    /// Begins a process, after the death of the one before: that journals nothing more, and reaches the bucket no more.
    func next() throws -> WriteBack {
        let old = life.withLock { $0 }
        old?.tree.close()
        old?.store.setHook { _ in .kill }
        let store = MemoryObjectStore(bucket)
        var around = WriteBack.Surroundings(
            store: store,
            root: ObjectPrefix(Self.prefix),
            time: SystemTime(),
            boot: boot,
            isNewMount: old == nil
        )
        around.space = { [staging] in staging.space }
        let tree = try WriteBack(staging.directory, around)
        life.withLock { $0 = Life(tree: tree, store: store) }
        tree.begin()
        return tree
    }

    /// Puts everything into the bucket.
    ///
    /// - Parameter shown: what the mount showed, as `MountedNames.script` prints it.
    /// - Returns: where the bucket is another.
    func complaints(shown: String) async -> [String] {
        guard let living else { return ["nothing lives"] }
        let status = await living.drain(within: .seconds(120))
        var complaints: [String] = []
        if !status.isSettled { complaints.append("not settled: \(status)") }
        if !status.conflicts.isEmpty || status.damaged > 0 || status.staged > 0 { complaints.append("left: \(status)") }
        let mounted = Set(shown.split(separator: "\n").map(String.init))
        let stored = Set(bucket.objects.compactMap(line))
        complaints += mounted.subtracting(stored).sorted().map { "not in the bucket: \($0)" }
        complaints += stored.subtracting(mounted).sorted().map { "not in the mount: \($0)" }
        return complaints
    }

    /// As `MountedNames.script` prints a file.
    private func line(_ object: ObjectAttributes) -> String? {
        let name = object.name.value
        guard name.hasPrefix(Self.prefix), !name.hasPrefix("\(Self.prefix).penstock/") else { return nil }
        var hasher = SHA256Hasher()
        hasher.update(bucket.bytes(name) ?? [])
        hasher.update(Array((object.metadata["penstock-link"] ?? "").utf8))
        let path = name.utf8.dropFirst(Self.prefix.utf8.count)
        return "\(hasher.finalize()) \(path.map { String(format: "%02x", $0) }.joined())"
    }
}

enum MountedNames {
    /// Prints each file and link below the current directory: the SHA-256 of what is in it, or of its target, and the path.
    static let script = """
        for base, directories, files in os.walk("."):
            for name in directories + files:
                path = os.path.join(base, name)
                if os.path.islink(path): content = os.readlink(path).encode()
                elif os.path.isdir(path): continue
                else: content = open(path, "rb").read()
                print(hashlib.sha256(content).hexdigest(), os.path.relpath(path, ".").encode().hex())
        """
}
