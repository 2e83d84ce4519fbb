import Glibc
package import LinuxPlatform
package import Telemetry

/// Carries HTTP/1.1 requests on threads of its own, over many connections that are kept and used again.
///
/// The bytes of a plain download go from the socket into the caller's memory (`DirectTransfers`), of others from
/// libcurl's buffer. Requests past the connection limit wait their turn, and only their deadline runs meanwhile. A request
/// that only reads, and whose reused connection turns out dead before any byte of a reply, is sent again (RFC 9110,
/// section 9.2.2); of any other it is the caller's to decide.
/// Redirects are not followed, bodies not decoded, certificates always verified.
package final class HTTPEngine: HTTPTransport {
    private struct State {
        var nextID: UInt64 = 0
        var threads: [NamedThread] = []
    }

    private let loops: [EngineLoop]
    private let requestLog: RequestLog
    private let state = Lock(State())

    /// Starts the threads.
    ///
    /// - Parameters:
    ///   - metrics: where requests, bytes, reused connections and failures are counted, under `http_…`.
    ///   - log: gets a line for each request at `debug`, without its query and its headers.
    /// - Throws: the error number of pthread_create(3).
    package init(
        _ configuration: EngineConfiguration = EngineConfiguration(),
        metrics: MetricRegistry = MetricRegistry(),
        log: Log = .disabled
    ) throws(Errno) {
        requestLog = RequestLog(log)
        let metrics = EngineMetrics(metrics)
        loops = (0..<max(1, configuration.threads)).map { _ in EngineLoop(configuration, metrics) }
        var threads: [NamedThread] = []
        for (index, loop) in loops.enumerated() {
            threads.append(try NamedThread(name: "http-\(index)") { loop.run() })
        }
        state.withLock { $0.threads = threads }
    }

    deinit {
        for loop in loops { loop.close() }
        state.withLock { $0.threads }.forEach { $0.detach() }
    }

    /// Ends what is under way with `engineClosed` and waits for the threads. Later requests fail at once, on the
    /// caller's thread. Not to be called from a completion.
    package func shutdown() {
        for loop in loops { loop.close() }
        let threads = state.withLock { state in
            defer { state.threads = [] }
            return state.threads
        }
        threads.forEach { $0.join() }
    }

    /// Sends a request and collects the reply; see `HTTPTransport`. Cancelling the task ends it with `cancelled`.
    package func send(_ request: HTTPRequest, limit: Int) async throws(HTTPFailure) -> HTTPResponse {
        if Task.isCancelled {
            let subject = "\(request.method) \(HTTPRequest.loggable(url: request.url))"
            throw HTTPFailure(.cancelled, "\(subject): cancelled before it began")
        }
        let loop = leastLoaded()
        let id = newID()
        let result: Result<HTTPDownloadResult, HTTPFailure> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                start(request, .array(limit: limit), id, on: loop) { continuation.resume(returning: $0) }
                // A cancellation before the line above found nothing to cancel.
                if Task.isCancelled { loop.cancel(id) }
            }
        } onCancel: {
            loop.cancel(id)
        }
        let reply = try result.get()
        return HTTPResponse(head: reply.head, body: reply.collected)
    }

    /// Starts a download; see `HTTPTransport`. Where the reply's announced length is more than there is room for, it
    /// fails before the first byte. Refused requests complete at once, on the caller's thread.
    @discardableResult
    package func download(
        _ download: HTTPDownload,
        completion: @escaping @Sendable (Result<HTTPDownloadResult, HTTPFailure>) -> Void
    ) -> HTTPCancellation {
        let loop = leastLoaded()
        let id = newID()
        start(download.request, .download(download), id, on: loop, completion)
        return HTTPCancellation { [weak loop] in loop?.cancel(id) }
    }

    private func start(
        _ request: HTTPRequest,
        _ target: Transfer.Target,
        _ id: UInt64,
        on loop: EngineLoop,
        _ completion: @escaping Transfer.Completion
    ) {
        let completion = requestLog.watching(request, completion)
        if let complaint = RequestCheck.complaint(about: request) {
            return completion(.failure(HTTPFailure(.invalidRequest, "request refused: \(complaint)")))
        }
        let transfer = Transfer(id: id, request, target, alarm: loop.alarm, completion: completion)
        if !loop.submit(transfer) {
            completion(.failure(transfer.failure(.engineClosed, "the engine was shut down")))
        }
    }

    /// One after the other they all go to the first loop, and so to the connections it already has.
    private func leastLoaded() -> EngineLoop {
        loops.dropFirst().reduce(into: (loop: loops[0], load: loops[0].load)) { best, loop in
            let load = loop.load
            if load < best.load { best = (loop, load) }
        }.loop
    }

    private func newID() -> UInt64 {
        state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
    }
}
