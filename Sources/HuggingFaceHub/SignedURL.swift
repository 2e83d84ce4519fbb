import HTTPEngine
package import LinuxPlatform

/// When a signed URL stops working, as its query says.
///
/// CloudFront and the Hub: `Expires=` in seconds since 1970; Amazon S3 signature 4: `X-Amz-Date` and `X-Amz-Expires`;
/// Cloud Storage signature 4: the same with `X-Goog-`; Azure: `se=` as RFC 3339. Nil when none is there: then the first
/// refusal tells.
package func signedURLExpiry(_ url: String) -> UnixTime? {
    let withoutFragment = url.prefix { $0 != "#" }
    guard let query = withoutFragment.split(separator: "?", maxSplits: 1).dropFirst().first else { return nil }
    var values: [String: String] = [:]
    for pair in query.split(separator: "&").prefix(64) {
        let halves = pair.split(separator: "=", maxSplits: 1)
        guard halves.count == 2, let value = PercentEncoding.decode(halves[1]) else { continue }
        values[halves[0].lowercased()] = value
    }
    // Bounds keep the arithmetic of a hostile number from overflowing: the year 9999, and a week.
    if let seconds = values["expires"].flatMap(Int64.init), (0...253_402_300_799).contains(seconds) {
        return UnixTime(seconds: min(seconds, 9_000_000_000))
    }
    for prefix in ["x-amz-", "x-goog-"] {
        if let date = values[prefix + "date"].flatMap(compactDate),
            let seconds = values[prefix + "expires"].flatMap(Int64.init), (0...604_800).contains(seconds)
        {
            return date.advanced(by: .seconds(seconds))
        }
    }
    return values["se"].flatMap(UnixTime.init(rfc3339:))
}

/// `20261123T155951Z`, the basic form of ISO 8601.
private func compactDate(_ text: String) -> UnixTime? {
    let bytes = Array(text.utf8)
    guard bytes.count == 16, bytes[8] == 0x54, bytes[15] == 0x5A else { return nil }
    let at = { (range: Range<Int>) in String(decoding: bytes[range], as: UTF8.self) }
    return UnixTime(rfc3339: "\(at(0..<4))-\(at(4..<6))-\(at(6..<8))T\(at(9..<11)):\(at(11..<13)):\(at(13..<15))Z")
}

/// Where the bytes of a file are now.
struct FileLocation: Sendable {
    /// May hold a signature: never logged.
    var url: String
    /// Counts the locations of one file, so that a refusal of an old one does not throw away its successor.
    var version: Int
    /// Ask for a new one from then on. By the monotonic clock: what the wall clock says here proves nothing there.
    var refreshAt: MonotonicInstant

    /// - Parameters:
    ///   - issued: the server's time of day when it made the URL.
    init(url: String, version: Int, issued: UnixTime, now: MonotonicInstant) {
        self.url = url
        self.version = version
        let lifetime = signedURLExpiry(url).map { issued.duration(to: $0) }
        if let lifetime, lifetime > .zero {
            // Two minutes early, or a quarter of a short life: expiry is tested when a request starts.
            let margin = min(.seconds(120), lifetime / 4)
            refreshAt = now.advanced(by: lifetime - margin)
        } else {
            refreshAt = .distantFuture
        }
    }
}

/// The current location of one file, fetched by one caller while the others wait.
final class LocationProvider: Sendable {
    private struct State {
        var current: FileLocation?
        var fetching: Task<Result<FileLocation, HubError>, Never>?
        var versions = 0
    }
    private let state = Lock(State())
    private let time: any TimeSource
    private let fetch: @Sendable (Int) async -> Result<FileLocation, HubError>

    /// - Parameter fetch: asks the Hub for the location of that version.
    init(time: any TimeSource, fetch: @escaping @Sendable (Int) async -> Result<FileLocation, HubError>) {
        self.time = time
        self.fetch = fetch
    }

    /// A location that should work now.
    ///
    /// - Parameter refused: the version that a storage host has refused; a newer one is returned.
    func location(after refused: Int? = nil) async throws(HubError) -> FileLocation {
        let now = time.now()
        let fetch = self.fetch
        let (known, task) = state.withLock { state -> (FileLocation?, Task<Result<FileLocation, HubError>, Never>?) in
            if let current = state.current, refused.map({ current.version > $0 }) ?? true, now < current.refreshAt {
                return (current, nil)
            }
            if let running = state.fetching { return (nil, running) }
            state.versions += 1
            let version = state.versions
            let started = Task { [self] in
                let result = await fetch(version)
                self.finished(result)
                return result
            }
            state.fetching = started
            return (nil, started)
        }
        if let known { return known }
        guard let task else { throw HubError(.unavailable, "no location") }
        return try await task.value.get()
    }

    private func finished(_ result: Result<FileLocation, HubError>) {
        state.withLock { state in
            state.fetching = nil
            if case .success(let location) = result { state.current = location }
        }
    }
}
