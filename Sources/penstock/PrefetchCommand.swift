import AdminEndpoint
import ArgumentParser
import Configuration
import Glibc
import LinuxPlatform
import Telemetry

struct PrefetchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prefetch",
        abstract: "Fetch files of a mount before anybody reads them.",
        discussion: """
            Into the mount's disk cache, whole and proven; or into its memory where it has no --cache-dir. Readers come
            first. A directory is everything below it; a quoted pattern is matched by the mount, and its * matches / too.

            The mount does the work: without --wait this returns when it has begun, and an interrupted --wait leaves it
            going on. --stop ends it. When the process that serves the mount dies its prefetches end: --wait begins them
            again in the next one.
            """
    )

    @Argument(help: ArgumentHelp("Files, directories or patterns in mounts.", valueName: "path"))
    var paths: [String]

    @Flag(help: "Return when all of it is verified and resident.")
    var wait = false

    @Flag(help: "Keep it in the disk cache whatever else is read, also after a restart, until --unpin.")
    var pin = false

    @Flag(help: "Let go what was pinned. Nothing is fetched.")
    var unpin = false

    @Flag(help: "End prefetches of these files.")
    var stop = false

    @Flag(
        help: "Print a JSON document of each mount's prefetch: with --wait one a second, and the last one at the end."
    )
    var json = false

    @Flag(name: [.short, .long], help: "Print nothing but errors.")
    var quiet = false

    func validate() throws {
        if paths.isEmpty { throw ValidationError("name a file, a directory or a pattern in a mount") }
        if [pin, unpin, stop].filter(\.self).count > 1 {
            throw ValidationError("--pin, --unpin and --stop exclude each other")
        }
    }

    private var action: PrefetchOrder.Action { pin ? .pin : unpin ? .unpin : stop ? .stop : .fetch }

    func run() async throws {
        let command = self
        try await reporting { () async throws(CommandFailure) in
            let orders = try command.orders()
            let result = await Interruption.cancelling { () async -> Result<Void, CommandFailure> in
                do throws(CommandFailure) {
                    for (socket, order) in orders { try await command.carryOut(order, socket) }
                    return .success(())
                } catch {
                    return .failure(error)
                }
            }
            try result.get()
        }
    }

    /// One for each mount, in the order in which they are named.
    private func orders() throws(CommandFailure) -> [(socket: String, order: PrefetchOrder)] {
        var orders: [(socket: String, order: PrefetchOrder)] = []
        for given in paths {
            let found = try MountedPath.find(given)
            let index: Int
            if let known = orders.firstIndex(where: { $0.socket == found.socket }) {
                index = known
            } else {
                orders.append((found.socket, PrefetchOrder(action)))
                index = orders.count - 1
            }
            switch found.place {
            case .path(let path): orders[index].order.paths.append(path)
            case .glob(let glob): orders[index].order.globs.append(glob)
            }
        }
        return orders
    }

    /// How long a mount may go without anybody who answers: one process may have died, and the next one not be there yet.
    private static let patience = Duration.seconds(30)

    private func carryOut(_ order: PrefetchOrder, _ socket: String) async throws(CommandFailure) {
        let request = AdminRequest(method: "POST", path: "/prefetch", body: order.form.encoded)
        var document = try await patiently { () throws(CommandFailure) in
            try Daemon.document(PrefetchDocument.self, socket, request)
        }
        var display = PrefetchDisplay(json ? .json : quiet ? .quiet : .lines)
        let fetches = order.action == .fetch || order.action == .pin
        // What is wrong with the order is known when its files are.
        while document.state == .running, wait || !fetches || document.files == 0 {
            try await pause(.milliseconds(document.files == 0 ? 20 : 200))
            let progress = AdminRequest(method: "GET", path: "/prefetch/\(document.id)")
            document = try await patiently { () throws(CommandFailure) in
                do throws(CommandFailure) { return try Daemon.document(PrefetchDocument.self, socket, progress) } catch
                {
                    // Another process serves the mount now: what this one had done is there, and the rest is ordered anew.
                    guard error.status == .notFound else { throw error }
                    return try Daemon.document(PrefetchDocument.self, socket, request)
                }
            }
            display.show(document)
        }
        display.end(document, action: order.action)
        if wait, fetches, document.state == .stopped {
            throw CommandFailure(.interrupted, "not all of it is there: somebody has stopped it, or the mount ends")
        }
        guard document.state == .failed, let first = document.failures.first else { return }
        let more = document.failures.count > 1 ? " (and \(document.failures.count - 1) more files failed)" : ""
        throw CommandFailure(
            ExitStatus(rawValue: Int32(first.status)) ?? .internal,
            "\(first.path.isEmpty ? "/" : first.path): \(first.reason)\(more)"
        )
    }
}

extension PrefetchCommand {
    /// Asks until there is an answer, or nobody has answered for long.
    private func patiently(
        _ ask: () throws(CommandFailure) -> PrefetchDocument
    ) async throws(CommandFailure) -> PrefetchDocument {
        let end = SystemTime().now().advanced(by: Self.patience)
        while true {
            do throws(CommandFailure) { return try ask() } catch {
                guard error.status == .retryable, SystemTime().now() < end else { throw error }
            }
            try await pause(.milliseconds(200))
        }
    }

    private func pause(_ duration: Duration) async throws(CommandFailure) {
        do { try await Task.sleep(for: duration) } catch {
            let goesOn = action == .fetch || action == .pin
            let hint = goesOn ? "; the mount goes on with it, and 'penstock prefetch --stop' ends it" : ""
            throw CommandFailure(.interrupted, "interrupted\(hint)")
        }
    }
}

/// Shows how far a prefetch is: a line that is redrawn on a terminal, one every few seconds elsewhere, or JSON.
struct PrefetchDisplay {
    enum Style {
        case lines
        case json
        case quiet
    }

    private let style: Style
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private var lastShown: MonotonicInstant?
    private var hasLine = false

    init(_ style: Style) { self.style = style }

    mutating func show(_ document: PrefetchDocument) {
        guard style != .quiet, document.files > 0, document.state == .running else { return }
        let now = SystemTime().now()
        let interval: Duration = style == .json ? .seconds(1) : isTerminal ? .zero : .seconds(5)
        if let last = lastShown, last.duration(to: now) < interval { return }
        lastShown = now
        if style == .json { return print(document) }
        if isTerminal { eraseLine() }
        standardError(Self.line(document) + (isTerminal ? "" : "\n"))
        hasLine = isTerminal
    }

    mutating func end(_ document: PrefetchDocument, action: PrefetchOrder.Action) {
        if hasLine { eraseLine() }
        switch style {
        case .quiet: break
        case .json: print(document)
        case .lines: if let text = Self.result(document, action) { standardOutput(text + "\n") }
        }
    }

    private func print(_ document: PrefetchDocument) {
        standardOutput(String(decoding: DocumentJSON.encoded(document), as: UTF8.self) + "\n")
    }

    private static func line(_ document: PrefetchDocument) -> String {
        "\(document.doneFiles) of \(document.files) files, \(HumanReadable.bytes(document.doneBytes)) of "
            + HumanReadable.bytes(document.bytes)
    }

    private static func result(_ document: PrefetchDocument, _ action: PrefetchOrder.Action) -> String? {
        let what = "\(document.files) files, \(HumanReadable.bytes(document.bytes))"
        switch (action, document.state) {
        case (_, .failed): return nil
        case (.stop, _): return "stopped"
        case (.unpin, _): return "unpinned: \(what)"
        case (_, .running): return "prefetching \(what); 'penstock status' shows how far it is"
        case (_, .stopped): return "stopped by somebody: \(line(document))"
        case (let action, .done):
            return "\(action == .pin ? "verified, resident and pinned" : "verified and resident"): \(what)"
        }
    }
}
