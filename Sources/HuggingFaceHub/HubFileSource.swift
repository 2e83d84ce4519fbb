import HTTPEngine
import LinuxPlatform
package import ObjectStorage
import Telemetry

/// The bytes of one file of a commit.
///
/// A file in git is one GET of the Hub, whole where the whole is wanted; a large one is ranged GETs of the signed URL
/// that the Hub redirects to, which is fetched once for all readers and again before it expires. Nothing is stored
/// before status, range, total and encoding of the reply are what was asked for. A body that breaks off goes on at the
/// byte where it stopped. The content's hash is the caller's to check: it needs the bytes in order.
package final class HubFileSource: RangedSource {
    package let file: HubFile
    package let commit: HubCommit
    private let client: HubClient
    private let location: LocationProvider

    init(client: HubClient, commit: HubCommit, file: HubFile) {
        self.client = client
        self.commit = commit
        self.file = file
        location = LocationProvider(time: client.time) { version in
            await locate(file, in: commit, client: client, version: version)
        }
    }

    package var size: Int { file.size }
    package var label: String {
        "\(commit.repository)@\(commit.sha.hex.prefix(12))/\(printable(file.path.value, limit: 200))"
    }

    @discardableResult
    package func read(
        _ read: RangeRead,
        completion: @escaping @Sendable (Result<Void, ObjectStoreError>) -> Void
    ) -> ReadCancellation {
        if read.range.end > size {
            completion(.failure(ObjectStoreError(.outOfRange, "\(label): bytes \(read.range) of \(size) do not exist")))
            return ReadCancellation {}
        }
        if read.range.count == 0 {
            completion(.success(()))
            return ReadCancellation {}
        }
        let task = Task { [self] in
            do throws(HubError) {
                try await fetch(read)
                completion(.success(()))
            } catch {
                completion(.failure(error.asObjectStoreError))
            }
        }
        return ReadCancellation { task.cancel() }
    }

    /// Attempts until the range is complete. Progress starts the counts of failures and refusals again.
    private func fetch(_ read: RangeRead) async throws(HubError) {
        let subject = subject
        try client.requireOnline(subject)
        let deadline = min(read.deadline, client.time.now().advanced(by: client.configuration.callDeadline))
        var done = 0
        var failures = 0
        var refusals = 0
        var refused: Int?
        while done < read.range.count {
            let outcome = await attempt(read, from: done, after: refused, deadline, subject)
            if outcome.delivered > 0 {
                failures = 0
                refusals = 0
            }
            done += outcome.delivered
            client.metrics.bytes.add(outcome.delivered)
            switch outcome.end {
            case .complete: continue
            case .failed(let failure):
                failures += failure.isPaused ? 0 : 1
                try await client.pause(after: failure, failures: failures, deadline: deadline)
            case .refused(let version, let error):
                refusals += 1
                client.metrics.locationRefreshes.add()
                guard refusals < client.configuration.retry.refreshes else { throw error }
                refused = version ?? refused
            }
        }
    }

    /// How an attempt ended, and how many bytes it brought before that.
    private struct Outcome {
        enum End {
            case complete
            case failed(AttemptFailure)
            /// The storage host does not accept the URL (any more).
            case refused(version: Int?, HubError)
        }
        var delivered = 0
        var end: End
    }

    private func attempt(
        _ read: RangeRead,
        from done: Int,
        after refused: Int?,
        _ deadline: MonotonicInstant,
        _ subject: HubSubject
    ) async -> Outcome {
        var version: Int?
        var url = resolveURL(of: file, in: commit, client: client)
        do throws(AttemptFailure) {
            if file.isLFS {
                let place = try await place(after: refused)
                version = place.version
                url = place.url
            }
            for _ in 0...client.configuration.limits.redirects {
                let hop = try await hop(read, from: done, url, deadline, subject)
                switch hop {
                case .redirect(let target): url = target
                case .end(var outcome):
                    if case .refused(_, let error) = outcome.end { outcome.end = .refused(version: version, error) }
                    return outcome
                }
            }
            return Outcome(end: .failed(AttemptFailure(error: client.tooManyRedirects(subject))))
        } catch {
            return Outcome(end: .failed(error))
        }
    }

    private func place(after refused: Int?) async throws(AttemptFailure) -> FileLocation {
        do throws(HubError) {
            return try await location.location(after: refused)
        } catch {
            throw AttemptFailure(error: error, isFinal: true)
        }
    }

    private enum Hop {
        case redirect(String)
        case end(Outcome)
    }

    /// One request of an attempt.
    private func hop(
        _ read: RangeRead,
        from done: Int,
        _ url: String,
        _ deadline: MonotonicInstant,
        _ subject: HubSubject
    ) async throws(AttemptFailure) -> Hop {
        let isHub = client.scope.admits(url)
        // A signed URL on the Hub's own host counts against no quota of the Hub's API.
        let isSigned = !isHub || signedURLExpiry(url) != nil
        if !isSigned { try await client.admitted(.resolvers, deadline) }
        let expectation = expectation(read, from: done)
        let check = HeadCheck(
            expectation: expectation,
            commit: isSigned ? nil : commit.sha,
            hash: isSigned ? nil : file.hash
        )
        var request = HTTPRequest("GET", url, headers: client.headers(for: url))
        if expectation.isRanged { request.headers.set("Range", expectation.rangeHeader) }
        request.timeouts.deadline = deadline
        var tap: (@Sendable (Int, UnsafeRawBufferPointer) -> Void)?
        if let own = read.tap { tap = { offset, bytes in own(done + offset, bytes) } }
        let download = HTTPDownload(request, into: read.buffer, at: read.bufferOffset + done, tap: tap) { head in
            check.judge(head) == .deliver ? .deliver(count: expectation.count) : .collect(limit: 2048)
        }
        client.metrics.requests.add()
        switch await completion(of: { client.transport.download(download, completion: $0).cancel }) {
        case .failure(let failure):
            return .end(broken(failure, subject))
        case .success(let result):
            if !isSigned {
                client.limiter.record(.resolvers, result.head)
                client.noteWarnings(result.head.headers)
            }
            return try judged(result, check, url, isSigned: isSigned, subject)
        }
    }

    private func broken(_ failure: HTTPFailure, _ subject: HubSubject) -> Outcome {
        Outcome(delivered: failure.delivered, end: .failed(AttemptFailure(error: classify(failure, subject: subject))))
    }

    private func judged(
        _ result: HTTPDownloadResult,
        _ check: HeadCheck,
        _ url: String,
        isSigned: Bool,
        _ subject: HubSubject
    ) throws(AttemptFailure) -> Hop {
        let head = result.head
        switch check.judge(head) {
        case .deliver:
            return .end(Outcome(delivered: result.delivered, end: .complete))
        case .redirect:
            return .redirect(try client.redirectTarget(head, from: url, subject))
        case .wrong(let code, let why):
            let isPointer = file.isLFS && LFSPointer.isPointer(result.collected)
            let text = isPointer ? "the server sent the LFS pointer instead of the content" : why
            return .end(failed(isPointer ? .integrity : code, text, head, subject))
        case .status where head.status == 416:
            let real =
                head.headers["content-range"].flatMap(ContentRange.unsatisfied).map { ", and the file has \($0)" } ?? ""
            return .end(
                failed(.integrity, "the listing says \(size) bytes; the server has no such range\(real)", head, subject)
            )
        case .status where isSigned && [400, 401, 403, 404, 410].contains(head.status):
            let text = "the storage host refuses the signed URL: \(refusalText(result.collected))"
            let error = HubError(
                .forbidden,
                "\(subject.name): \(text)",
                status: head.status,
                requestID: requestID(of: head.headers)
            )
            return .end(Outcome(end: .refused(version: nil, error)))
        case .status:
            var failure = client.failure(of: head, body: result.collected, subject: subject)
            // The limiter counts the Hub's quotas; a storage host that is busy is waited for here.
            if isSigned, failure.isPaused {
                failure = AttemptFailure(error: failure.error.asUnavailable, retryAfter: failure.retryAfter)
            }
            return .end(Outcome(end: .failed(failure)))
        }
    }

    private func failed(
        _ code: HubError.Code,
        _ why: String,
        _ head: HTTPResponseHead,
        _ subject: HubSubject
    ) -> Outcome {
        let error = HubError(
            code,
            "\(subject.name): \(why)",
            status: head.status,
            requestID: requestID(of: head.headers)
        )
        return Outcome(end: .failed(AttemptFailure(error: error)))
    }

    private func expectation(_ read: RangeRead, from done: Int) -> ByteExpectation {
        let isWhole = done == 0 && read.range.count == size
        let name = file.path.value.lowercased()
        return ByteExpectation(
            offset: read.range.offset + done,
            count: read.range.count - done,
            total: size,
            isRanged: !(isWhole && !file.isLFS),
            mayBeHTML: name.hasSuffix(".html") || name.hasSuffix(".htm")
        )
    }

    private var subject: HubSubject { client.subject(commit.repository, commit.sha.hex, file.path.value) }
}

extension HubError {
    fileprivate var asUnavailable: HubError {
        var error = self
        error.code = .unavailable
        return error
    }
}
