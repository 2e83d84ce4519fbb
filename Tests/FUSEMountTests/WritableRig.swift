import Foundation
import Glibc
import LinuxPlatform
import Telemetry
import TestSupport
import Testing
import WriteBack

@testable import FUSEMount

/// A writable mount that this process serves and other processes use.
final class WritableRig: Sendable {
    let directory: TemporaryDirectory
    let tree: any ObservedTree
    /// Of `TreeKind.memory`; of other kinds one that nobody asks.
    let memory: MemoryTree
    let mount: FUSEMount
    private let processes: WriteBackProcesses?
    private let ending: NamedEvent

    var path: String { directory.appending("mnt") }
    /// Beside the mount, on this machine's own filesystem.
    var local: String { directory.appending("local") }

    /// - Parameter intervention: what becomes of a call to the memory tree before it is done.
    init(
        _ kind: TreeKind = .memory,
        threads: Int = 4,
        _ intervention: @escaping @Sendable (_ call: String) -> MemoryTree.Step = { _ in .proceed }
    ) throws {
        guard access("/dev/fuse", R_OK | W_OK) == 0 else {
            throw MountedRig.Failed(description: "mount tests need /dev/fuse, which is missing or closed to this user")
        }
        directory = try TemporaryDirectory()
        for name in ["mnt", "local"] {
            guard mkdir(directory.appending(name), 0o755) == 0 else { throw Errno.current }
        }
        memory = MemoryTree(user: getuid(), group: getgid()) { call, _, isDone in
            isDone ? .proceed : intervention(call)
        }
        switch kind {
        case .memory: (processes, tree) = (nil, memory)
        case .writeBack:
            let processes = try WriteBackProcesses(staging: directory.appending("staging"))
            (self.processes, tree) = (processes, try processes.next())
        }
        let ending = NamedEvent()
        self.ending = ending
        mount = try FUSEMount(
            tree,
            at: MountPoint(directory.appending("mnt")),
            FUSEMount.Options(kernelReadAhead: nil, threads: threads),
            log: Log(sink: LogLines())
        ) { ending.happen() }
    }

    deinit { _ = mount.stop(patience: .seconds(10)) }

    /// Unmounts; whether the kernel has let go of it.
    func unmount() -> Bool {
        waitForReleases { tree.openHandles }
        return mount.stop(patience: .seconds(30)) && ending.wait(until: SystemTime().now().advanced(by: .seconds(30)))
    }

    /// Unmounts, and looks at what is left: no handle, no answer, and, where there is a bucket, just what the mount showed.
    func finish(_ location: SourceLocation = #_sourceLocation) async throws {
        let shown = processes == nil ? "" : try await python(MountedNames.script)
        #expect(unmount(), sourceLocation: location)
        #expect(tree.openHandles == 0, sourceLocation: location)
        #expect(tree.keptAnswers == 0, sourceLocation: location)
        let complaints = await processes?.complaints(shown: shown) ?? []
        #expect(complaints == [], sourceLocation: location)
    }

    /// Runs a script in a process of its own, in the mount's root; what it prints, errors too.
    func python(_ script: String, _ arguments: [String] = []) async throws -> String {
        try await Python.run(script, in: path, arguments: [local] + arguments)
    }
}

/// Scripts that use a mount, in processes of their own: whoever uses a mount that he serves may wait for himself.
enum Python {
    private static let frame = """
        import sys, os, errno, stat, mmap, hashlib, fcntl, struct, subprocess, shutil, signal, threading, time, random
        root, local = os.getcwd(), sys.argv[1]
        def failing(call):
            try: call()
            except OSError as error: return errno.errorcode[error.errno]
            return "OK"
        def check(name, got, wanted):
            if got != wanted: print(f"{name}: {got!r} and not {wanted!r}")
        """

    static func run(_ script: String, in directory: String, arguments: [String]) async throws -> String {
        let environment = ["PATH=\(ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")", "HOME=/"]
        let output = try await ChildProcess.run(
            ["sh", "-c", "cd \"$0\" && exec python3 -c \"$@\" 2>&1", directory, "\(frame)\n\(script)"] + arguments,
            environment: environment,
            timeout: .seconds(600),
            limit: 1 << 20
        )
        return String(decoding: output, as: UTF8.self).trimmingCharacters(in: .newlines)
    }
}
