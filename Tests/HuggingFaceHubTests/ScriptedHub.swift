import Checksums
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import Testing

@testable import HuggingFaceHub

/// What a scripted server does with one request.
enum Scripted: Sendable {
    case reply(Int, HTTPHeaders = [], [UInt8] = [])
    /// The head, then this much of the body, then the connection is lost.
    case cut(Int, HTTPHeaders, [UInt8])
    case failure(HTTPFailure.Code)
    /// No end until it is cancelled.
    case silence

    static func json(_ text: String, _ headers: HTTPHeaders = []) -> Scripted {
        var all = headers
        all.append("Content-Type", "application/json")
        return .reply(200, all, Array(text.utf8))
    }
}

/// A transport in memory that answers from a script and remembers what it was asked.
final class ScriptedTransport: HTTPTransport {
    typealias Script = @Sendable (_ request: HTTPRequest, _ number: Int) -> Scripted
    private let script: Script
    private let seen = Lock<[HTTPRequest]>([])

    init(_ script: @escaping Script) { self.script = script }

    /// Answers in order; the last answer stays.
    convenience init(_ replies: [Scripted]) {
        self.init { _, number in replies[min(number, replies.count - 1)] }
    }

    var requests: [HTTPRequest] { seen.withLock { $0 } }

    private func next(_ request: HTTPRequest) -> Scripted {
        let number = seen.withLock { seen in
            seen.append(request)
            return seen.count - 1
        }
        return script(request, number)
    }

    func send(_ request: HTTPRequest, limit: Int) async throws(HTTPFailure) -> HTTPResponse {
        switch next(request) {
        case .reply(let status, let headers, let body):
            guard body.count <= limit else {
                throw HTTPFailure(.bodyTooLong, "the reply is longer than \(limit) bytes")
            }
            return HTTPResponse(
                head: HTTPResponseHead(status: status, headers: headers),
                body: request.method == "HEAD" ? [] : body
            )
        case .cut: throw HTTPFailure(.connectionLost, "the connection was lost")
        case .failure(let code): throw HTTPFailure(code, "scripted \(code.rawValue)")
        case .silence: throw HTTPFailure(.firstByteTimeout, "no reply")
        }
    }

    func download(
        _ download: HTTPDownload,
        completion: @escaping @Sendable (Result<HTTPDownloadResult, HTTPFailure>) -> Void
    ) -> HTTPCancellation {
        switch next(download.request) {
        case .reply(let status, let headers, let body):
            completion(Self.run(download, HTTPResponseHead(status: status, headers: headers), body, isCut: false))
        case .cut(let status, let headers, let body):
            completion(Self.run(download, HTTPResponseHead(status: status, headers: headers), body, isCut: true))
        case .failure(let code): completion(.failure(HTTPFailure(code, "scripted \(code.rawValue)")))
        case .silence:
            let once = Lock(false)
            return HTTPCancellation {
                let isFirst = once.withLock { done in
                    defer { done = true }
                    return !done
                }
                if isFirst { completion(.failure(HTTPFailure(.cancelled, "cancelled"))) }
            }
        }
        return HTTPCancellation {}
    }

    private static func run(
        _ download: HTTPDownload,
        _ head: HTTPResponseHead,
        _ body: [UInt8],
        isCut: Bool
    ) -> Result<HTTPDownloadResult, HTTPFailure> {
        switch download.decide(head) {
        case .collect(let limit):
            return .success(HTTPDownloadResult(head: head, delivered: 0, collected: Array(body.prefix(limit))))
        case .deliver(let count):
            let delivered = min(count, body.count)
            let target = UnsafeMutableRawBufferPointer(rebasing: download.buffer.bytes[download.bufferOffset...])
            body.prefix(delivered).withUnsafeBytes { bytes in
                target.copyMemory(from: bytes)
                // In two pieces, as a network would.
                let half = delivered / 2
                download.tap?(0, UnsafeRawBufferPointer(rebasing: bytes[..<half]))
                download.tap?(half, UnsafeRawBufferPointer(rebasing: bytes[half...]))
            }
            if isCut { return .failure(HTTPFailure(.connectionLost, "lost", delivered: delivered, head: head)) }
            if body.count < count {
                return .failure(HTTPFailure(.bodyTooShort, "short", delivered: delivered, head: head))
            }
            if body.count > count {
                return .failure(HTTPFailure(.bodyTooLong, "long", delivered: delivered, head: head))
            }
            return .success(HTTPDownloadResult(head: head, delivered: delivered, collected: []))
        }
    }
}

/// A clock that only sleepers move.
final class SleepClock: TimeSource {
    private struct State {
        var elapsed: Duration = .zero
        var sleeps: [Duration] = []
    }
    private let state = Lock(State())
    let start = UnixTime(seconds: 1_764_000_000)

    var sleeps: [Duration] { state.withLock { $0.sleeps } }

    func advance(by duration: Duration) { state.withLock { $0.elapsed += duration } }
    func now() -> MonotonicInstant {
        MonotonicInstant(nanoseconds: 1_000_000_000).advanced(by: state.withLock { $0.elapsed })
    }
    func timeOfDay() -> UnixTime { start.advanced(by: state.withLock { $0.elapsed }) }
    func sleep(for duration: Duration) async throws(CancellationError) {
        if Task.isCancelled { throw CancellationError() }
        state.withLock { state in
            state.elapsed += duration
            state.sleeps.append(duration)
        }
    }
}

let sha = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
let endpoint = "http://hub.test:8080"

func makeClient(
    _ transport: any HTTPTransport,
    clock: SleepClock = SleepClock(),
    token: String? = "hf_secretsecret",
    observer: HubObserver = HubObserver(),
    change: (inout HubConfiguration) -> Void = { _ in }
) throws -> HubClient {
    var configuration = try HubConfiguration(endpoint: endpoint, token: token.flatMap(HubToken.init))
    change(&configuration)
    return try HubClient(
        configuration: configuration,
        transport: transport,
        time: clock,
        observer: observer,
        random: { 0.5 }
    )
}

func makeCommit() throws -> HubCommit {
    let repository = try RepositoryID("acme/tiny")
    return HubCommit(
        repository: repository,
        requested: repository,
        revision: .main,
        sha: try #require(CommitID(sha)),
        isPrivate: false,
        gating: .open,
        isDisabled: false
    )
}

/// Bytes that differ at every place within 64 KiB.
func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 131 &+ $0 >> 8) } }

/// A file in git with that content.
func gitFile(_ content: [UInt8], _ path: String = "config.json") throws -> HubFile {
    HubFile(path: try SafePath(path), size: content.count, gitOID: SHA1Digest.ofGitBlob(content))
}

/// A file in LFS with that content.
func lfsFile(_ content: [UInt8], _ path: String = "model.safetensors") throws -> HubFile {
    let sha256 = SHA256Digest.of(content)
    let pointer = LFSPointer.text(sha256: sha256, size: content.count)
    return HubFile(
        path: try SafePath(path),
        size: content.count,
        gitOID: SHA1Digest.ofGitBlob(Array(pointer.utf8)),
        lfsSHA256: sha256
    )
}

func hubError(_ body: () async throws -> Void) async -> HubError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? HubError
    }
}
