import AdminEndpoint
import ArgumentParser
import Configuration
import Glibc
import LinuxPlatform

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the mounts of this machine: their memory, cache, traffic and files.",
        discussion: "Of the mounts that listen in the runtime directory, or of the one that a path is in."
    )

    @Argument(help: "A mount point, or anything below it.")
    var path: String?

    @Flag(help: "Print a JSON list of documents; docs/OPERATIONS.md has the keys.")
    var json = false

    @Flag(help: "Show it again every two seconds.")
    var watch = false

    @OptionGroup var runtime: RuntimeOptions

    func run() async throws {
        let command = self
        try await reporting { () async throws(CommandFailure) in
            guard command.watch else { return try command.show() }
            let result = await Interruption.cancelling { () async -> Result<Void, CommandFailure> in
                do throws(CommandFailure) {
                    while !Task.isCancelled {
                        if !command.json, isatty(STDOUT_FILENO) == 1 { clearScreen() }
                        try command.show()
                        try? await Task.sleep(for: .seconds(2))
                    }
                    return .success(())
                } catch {
                    return .failure(error)
                }
            }
            try result.get()
        }
    }

    private func show() throws(CommandFailure) {
        let request = AdminRequest(method: "GET", path: "/status.json")
        var mounts: [StatusDocument] = []
        for socket in try MountSockets.find(path, runtime) {
            do throws(CommandFailure) {
                mounts.append(try Daemon.document(StatusDocument.self, socket, request))
            } catch {
                if path != nil { throw error }
                // One of several that hangs, or has just gone, does not hide the others.
                standardError("penstock: \(error.message)\n")
            }
        }
        mounts.sort { $0.mountPoint.utf8.lexicographicallyPrecedes($1.mountPoint.utf8) }
        if json {
            standardOutput(String(decoding: DocumentJSON.encoded(mounts), as: UTF8.self) + "\n")
        } else {
            standardOutput(StatusText.text(mounts))
        }
    }
}

/// Which daemons are meant.
enum MountSockets {
    /// The one of a path, or all in the runtime directory.
    static func find(_ path: String?, _ runtime: RuntimeOptions) throws(CommandFailure) -> [String] {
        if let path { return [try MountedPath.find(path).socket] }
        do throws(Errno) {
            return try runtime.directory.sockets()
        } catch {
            throw CommandFailure(.usage, "cannot look into \(runtime.directory.path): \(error)")
        }
    }
}

struct ProbeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe",
        abstract: "Say by the exit code whether a mount is alive, or ready: for probes of Kubernetes.",
        discussion: """
            Ready is a mount that is there, and whose --prefetch files are all verified and resident. Without a path all
            mounts of the runtime directory are asked, and there must be one. Exit code 0 means yes, 6 not now.
            """
    )

    @Flag(help: "Whether it may be used as it was asked for.")
    var ready = false

    @Flag(help: "Whether its process answers.")
    var live = false

    @Argument(help: "A mount point, or anything below it.")
    var path: String?

    @OptionGroup var runtime: RuntimeOptions

    func validate() throws {
        if ready == live { throw ValidationError("say --ready or --live") }
    }

    func run() async throws {
        try await reporting { () async throws(CommandFailure) in
            let sockets: [String]
            do throws(CommandFailure) { sockets = try MountSockets.find(path, runtime) } catch {
                // What is not mounted yet may be, a moment later.
                throw CommandFailure(error.status == .notFound ? .retryable : error.status, error.message)
            }
            if sockets.isEmpty { throw CommandFailure(.retryable, "no mount listens in \(runtime.directory.path)") }
            for socket in sockets {
                let request = AdminRequest(method: "GET", path: ready ? "/readyz" : "/healthz")
                let (status, body) = try Daemon.reply(socket, request)
                let line = String(decoding: body.prefix(1000), as: UTF8.self)
                if status != 200 {
                    throw CommandFailure(.retryable, line.split(separator: "\n").first.map(String.init) ?? "")
                }
                standardOutput(line)
            }
        }
    }
}
