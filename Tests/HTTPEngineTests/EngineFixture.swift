import HTTPEngine
import LinuxPlatform
import TestSupport
import Testing

/// An engine that is shut down at the end of its test.
func withEngine<Value: Sendable>(
    _ configuration: EngineConfiguration = plain(),
    _ body: (HTTPEngine) async throws -> Value
) async throws -> Value {
    let engine = try HTTPEngine(configuration)
    defer { engine.shutdown() }
    return try await body(engine)
}

/// A configuration that reads no environment.
func plain(_ change: (inout EngineConfiguration) -> Void = { _ in }) -> EngineConfiguration {
    var configuration = EngineConfiguration(environment: { _ in nil })
    change(&configuration)
    return configuration
}

extension HTTPEngine {
    /// A download as an async call.
    func fetch(_ download: HTTPDownload) async -> Result<HTTPDownloadResult, HTTPFailure> {
        await withCheckedContinuation { continuation in
            self.download(download) { continuation.resume(returning: $0) }
        }
    }

    /// A download of the whole buffer.
    func fetch(_ request: HTTPRequest, into buffer: BufferLease) async -> Result<HTTPDownloadResult, HTTPFailure> {
        let count = buffer.count
        return await fetch(HTTPDownload(request, into: buffer, at: 0) { _ in .deliver(count: count) })
    }

    /// The failure of a request that must fail.
    func failure(of request: HTTPRequest, limit: Int = 1 << 20) async -> HTTPFailure? {
        do throws(HTTPFailure) {
            _ = try await send(request, limit: limit)
            return nil
        } catch {
            return error
        }
    }
}

/// Bytes that are different everywhere, so that a piece in the wrong place shows.
func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var random = SeededRandom(seed: seed)
    return random.bytes(count)
}

/// Timeouts that only the one under test can reach.
func patient(_ change: (inout HTTPTimeouts) -> Void) -> HTTPTimeouts {
    var timeouts = HTTPTimeouts(connect: .seconds(30), firstByte: .seconds(30), slowFor: .seconds(30))
    change(&timeouts)
    return timeouts
}

extension Result where Failure == HTTPFailure {
    /// The failure, if it is one.
    var failure: HTTPFailure? {
        if case .failure(let failure) = self { failure } else { nil }
    }
}

extension Result where Success == HTTPDownloadResult, Failure == HTTPFailure {
    /// The bytes in the buffer, if it got a reply.
    var delivered: Int? { try? get().delivered }
}
