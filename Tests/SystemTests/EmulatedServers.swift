import Emulators
import Foundation

/// A Hub and a Cloud Storage for one test: in this process, so that a test can arm faults and read the log directly.
///
/// The programs under test reach them over loopback as they would reach the real ones.
final class EmulatedServers: Sendable {
    static let bucket = "ai-models"

    let root: URL
    let control: EmulatorControl
    let hub: HubEmulator
    let gcs: CloudStorageEmulator

    init(requiresToken: Bool = false) throws {
        root = FileManager.default.temporaryDirectory.appending(path: "penstock-system-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: root.appending(path: "home"), withIntermediateDirectories: true)
        control = EmulatorControl()
        hub = try HubEmulator(root: root.appending(path: "hub").path, control: control)
        var configuration = CloudStorageEmulator.Configuration(root: root.appending(path: "gcs").path)
        configuration.buckets = [Self.bucket]
        configuration.requiresToken = requiresToken
        gcs = try CloudStorageEmulator(configuration, control: control)
        // Tokens are bound to origins: the storage host has a name of its own, as the real one has.
        hub.configure { $0.storageHost = "localhost" }
    }

    deinit {
        hub.stop()
        gcs.stop()
        try? FileManager.default.removeItem(at: root)
    }

    var bucket: BucketInspector { BucketInspector(baseURL: gcs.baseURL, bucket: Self.bucket) }

    /// Where the files of a repository are.
    func directory(of repository: String) -> URL { root.appending(path: "hub/models/\(repository)") }

    /// The variables that lead a program here; nothing else of the test's own environment.
    var environment: [String: String] {
        [
            "HF_ENDPOINT": hub.baseURL, "STORAGE_EMULATOR_HOST": gcs.baseURL, "HOME": root.appending(path: "home").path,
            "PATH": "/usr/bin:/bin",
        ]
    }

    /// Starts `penstock` with these arguments.
    func start(_ arguments: [String], environment changes: [String: String] = [:]) throws -> RunningProgram {
        let all = environment.merging(changes) { $1 }.filter { !$0.value.isEmpty }
        return try RunningProgram("penstock", arguments, environment: all, scratch: root)
    }

    /// Runs `penstock` to its end.
    func run(_ arguments: [String], environment changes: [String: String] = [:]) async throws -> EndedProgram {
        try await start(arguments, environment: changes).ended()
    }

    /// At most how many bytes of content were asked of the Hub: what was broken off counts as sent whole.
    ///
    /// Since the last `control.reset()`.
    var fetchedBytes: Int {
        control.log.reduce(0) { sum, request in
            let isContent = request.server == "cdn" || request.target.contains("/resolve-cache/")
            guard isContent, request.method == "GET", (200...299).contains(request.status) else { return sum }
            return sum + request.contentBytes
        }
    }

    /// Arms a rule that lets the `nth` matching request hang, and says when that happened.
    ///
    /// - Parameters:
    ///   - carriedOut: whether the request takes effect before it hangs; if not, it fails at last.
    ///   - hangs: how long, if its client lives so long.
    func tripWire(
        _ pattern: TripWire.Pattern,
        nth: Int = 1,
        carriedOut: Bool,
        hangs: Duration = .seconds(3600)
    ) throws -> TripWire {
        try TripWire(control, pattern, nth: nth, carriedOut: carriedOut, hangs: hangs)
    }
}

extension LoggedRequest {
    /// At most what the client got of the content: what was broken off counts as sent whole.
    var contentBytes: Int { isWhole ? bytesSent : max(bytesSent, rangeLength ?? 0) }

    /// The length of the range that was asked for.
    fileprivate var rangeLength: Int? {
        guard let range = headers["range"], let equals = range.firstIndex(of: "=") else { return nil }
        let bounds = range[range.index(after: equals)...].split(separator: "-").compactMap { Int($0) }
        return bounds.count == 2 ? bounds[1] - bounds[0] + 1 : nil
    }
}

/// A request that hangs, so that a test knows exactly how far a program got.
struct TripWire {
    struct Pattern {
        var server: String
        var method: String?
        /// A POSIX extended regular expression over path and query.
        var target: String

        static func gcs(_ method: String, _ target: String) -> Pattern {
            Pattern(server: "gcs", method: method, target: target)
        }

        /// Content on its way from the Hub.
        static let media = Pattern(server: "cdn", method: "GET", target: ".")
        /// Any new content in the bucket: parts, tables, records.
        static let upload = gcs("POST", "^/upload/")
        /// A replacement of what stands; in a first conveyance only stealing the lease is one.
        static let replacingUpload = gcs("POST", "^/upload/.*ifGenerationMatch=[1-9]")
        static let compose = gcs("POST", "/compose")
        static let beginMultipart = gcs("POST", "[?]uploads")
        static let putPart = gcs("PUT", "[?]partNumber=")
        static let completeMultipart = gcs("POST", "[?]uploadId=")
        static let move = gcs("POST", "/moveTo/")
        static let copy = gcs("POST", "/rewriteTo/")
        static let delete = gcs("DELETE", "/o/")
    }

    private let control: EmulatorControl
    private let number: Int

    init(_ control: EmulatorControl, _ pattern: Pattern, nth: Int, carriedOut: Bool, hangs: Duration) throws {
        var actions = FaultActions()
        if !carriedOut { actions.answer = .init(503) }
        actions.send.latency = hangs
        var rule = FaultRule(actions, method: pattern.method)
        rule.server = pattern.server
        guard let compiled = PathPattern(pattern.target) else { throw BadPattern(text: pattern.target) }
        rule.pattern = compiled
        rule.nth = nth
        self.control = control
        number = control.add(rule)
    }

    struct BadPattern: Error { let text: String }

    var isTripped: Bool { control.strikes(of: number) > 0 }

    /// Takes it away: what hangs goes on hanging.
    func disarm() { control.removeRule(number) }
}
