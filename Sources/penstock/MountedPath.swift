import AdminEndpoint
import Configuration
import FUSEMount
import Glibc
import LinuxPlatform

/// A path in a mount of ours, and where its daemon listens.
struct MountedPath: Sendable {
    enum Place: Hashable, Sendable {
        /// A file or directory, below the mount's root; empty is the root.
        case path(String)
        /// A pattern of whole paths below the mount's root.
        case glob(String)
    }

    let socket: String
    let place: Place

    /// How long the kernel may take for a path: a daemon that hangs would hold us for ever.
    private static let patience = Duration.seconds(5)

    /// Finds the mount of a path. One that does not exist, and holds `*`, `?` or `[`, is a pattern.
    static func find(_ given: String) throws(CommandFailure) -> MountedPath {
        let answer = Monitor(Result<MountedPath, CommandFailure>?.none)
        do throws(Errno) {
            // On a thread that may hang, as this command may not.
            try NamedThread(name: "find-mount") {
                let found = Result { () throws(CommandFailure) in try look(given) }
                answer.withLock { $0 = found }
            }.detach()
        } catch {
            throw CommandFailure(.internal, "cannot start a thread: \(error)")
        }
        _ = answer.wait(until: SystemTime().now().advanced(by: patience)) { $0 != nil }
        guard let result = answer.withLock({ $0 }) else {
            throw CommandFailure(.retryable, "\(given) does not answer; its mount may hang")
        }
        return try result.get()
    }

    private static func look(_ given: String) throws(CommandFailure) -> MountedPath {
        let (known, pattern) = split(given)
        guard let text = realpath(known.isEmpty ? "." : known, nil) else {
            throw CommandFailure(.notFound, "\(given): \(Errno.current)")
        }
        defer { free(text) }
        let path = String(cString: text)
        guard let entry = (try? MountTable.current())?.mount(of: path), entry.type == MountPoint.filesystemType else {
            throw CommandFailure(.notFound, "\(given) is not in a mount of penstock's")
        }
        let socket: String?
        do throws(Errno) { socket = try ExtendedAttribute.text("user.penstock.socket", of: entry.mountPoint) } catch {
            throw CommandFailure(.retryable, "the mount at \(entry.mountPoint) does not answer: \(error)")
        }
        guard let socket else {
            throw CommandFailure(.usage, "the mount at \(entry.mountPoint) has no socket; its log says why")
        }
        // Behind a bind mount the root of what is seen is a directory of the mount.
        let below = (entry.root + "/" + path.dropFirst(entry.mountPoint == "/" ? 0 : entry.mountPoint.count))
            .split(separator: "/").joined(separator: "/")
        guard let pattern else { return MountedPath(socket: socket, place: .path(below)) }
        return MountedPath(socket: socket, place: .glob(escaped(below) + (below.isEmpty ? "" : "/") + pattern))
    }

    /// The directory that is there, and the pattern below it.
    static func split(_ given: String) -> (known: String, pattern: String?) {
        var status = stat()
        guard lstat(given, &status) != 0, let special = given.firstIndex(where: { "*?[".contains($0) }) else {
            return (given, nil)
        }
        guard let slash = given[..<special].lastIndex(of: "/") else { return (".", given) }
        let known = String(given[..<slash])
        return (known.isEmpty ? "/" : known, String(given[given.index(after: slash)...]))
    }

    /// The pattern that matches exactly this text.
    static func escaped(_ text: String) -> String {
        text.map { "*?[".contains($0) ? "[\($0)]" : String($0) }.joined()
    }
}

extension CommandFailure {
    init(_ error: AdminClientError) {
        switch error {
        case .unreachable, .timedOut: self.init(.retryable, error.description)
        case .badReply: self.init(.internal, error.description)
        }
    }
}

/// A daemon, asked for documents.
enum Daemon {
    /// The document that a request is answered with.
    ///
    /// - Throws: with the daemon's own words when it refuses.
    static func document<Document: Decodable>(
        _ type: Document.Type,
        _ socket: String,
        _ request: AdminRequest
    ) throws(CommandFailure) -> Document {
        let (status, body) = try reply(socket, request)
        guard (200...299).contains(status) else {
            let reason = String(decoding: body.prefix(1000), as: UTF8.self).split(separator: "\n").first ?? ""
            throw CommandFailure(status == 404 ? .notFound : .usage, "the daemon refuses: \(reason)")
        }
        guard let document = DocumentJSON.decoded(type, body) else {
            throw CommandFailure(
                .internal,
                "the daemon at \(socket) is of another version: its answer is not understood"
            )
        }
        return document
    }

    static func reply(_ socket: String, _ request: AdminRequest) throws(CommandFailure) -> (status: Int, body: [UInt8])
    {
        do throws(AdminClientError) { return try AdminClient.ask(socket, request) } catch {
            throw CommandFailure(error)
        }
    }
}
