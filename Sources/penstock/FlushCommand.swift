import AdminEndpoint
import ArgumentParser
import Configuration
import LinuxPlatform
import Telemetry

struct FlushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flush",
        abstract: "Wait until everything that was written through a mount stands in the bucket.",
        discussion: """
            Files that somebody still has open for writing count, too: they are there when they are closed. Exit code 7 when the
            time is over first; what is left goes on, and standard error says what it is.
            """
    )

    @Argument(help: "A writable mount, or anything below it.")
    var path: String

    @Option(help: ArgumentHelp("How long to wait.", valueName: "time"), transform: Quantity.time)
    var timeout = TimeSpan(seconds: 600)

    func run() async throws {
        let command = self
        try await reporting { () async throws(CommandFailure) in
            let socket = try MountedPath.find(command.path).socket
            let result = await Interruption.cancelling { () async -> Result<Void, CommandFailure> in
                do throws(CommandFailure) { return .success(try await command.wait(socket)) } catch {
                    return .failure(error)
                }
            }
            try result.get()
        }
    }

    private func wait(_ socket: String) async throws(CommandFailure) {
        let deadline = SystemTime().now().advanced(by: timeout.duration)
        while true {
            let state = try state(socket)
            if state.settled { return }
            guard SystemTime().now() < deadline else { throw CommandFailure(.partial, Self.sentence(state)) }
            guard (try? await Task.sleep(for: .milliseconds(200))) != nil else {
                throw CommandFailure(.interrupted, "interrupted; the mount goes on")
            }
        }
    }

    private func state(_ socket: String) throws(CommandFailure) -> StatusDocument.WriteBack {
        let request = AdminRequest(method: "GET", path: "/status.json")
        let status = try Daemon.document(StatusDocument.self, socket, request)
        guard let state = status.writeBack else {
            throw CommandFailure(.usage, "\(status.mountPoint) is read-only: there is nothing to flush")
        }
        return state
    }

    private static func sentence(_ state: StatusDocument.WriteBack) -> String {
        var text =
            "not all is in the bucket: \(state.waitingFiles) files wait, \(HumanReadable.bytes(state.stagedBytes)) staged"
        if let first = state.waiting.first, let path = first.path { text += "; the oldest is \(path)" }
        if let error = state.lastError { text += "; the bucket said last: \(error)" }
        return text
    }
}
