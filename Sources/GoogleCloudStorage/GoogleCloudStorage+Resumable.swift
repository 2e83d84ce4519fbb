import Checksums
import GoogleCredentials
import HTTPEngine
package import LinuxPlatform
package import ObjectStorage

extension GoogleCloudStorage {
    package func beginUpload(
        _ name: ObjectName,
        size: Int?,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> UploadSession {
        var parameters: [(name: String, value: String?)] = [
            (name: "uploadType", value: "resumable"), (name: "name", value: name.value),
        ]
        parameters += options.precondition.parameters
        // An orphaned session costs nothing and goes by itself: starting twice is harmless.
        var request = StorageRequest("POST", uploadTarget(parameters), subject: subject(name))
        request.setJSON(ObjectDescription(name, options))
        request.headers.set("X-Upload-Content-Type", options.contentType)
        if let size { request.headers.set("X-Upload-Content-Length", String(size)) }
        let response = try await runner.run(request)
        guard response.status == 200 || response.status == 201, let location = response.headers["location"] else {
            throw ObjectStoreError(
                .protocolViolation,
                "\(subject(name)): the server opened an upload without saying where",
                status: response.status,
                requestID: requestID(response)
            )
        }
        let session = UploadSession(secretURI: try sessionURL(location, name), name: name)
        sessions.add(
            session,
            Expectation(size: size, crc32c: options.crc32c, metadata: options.metadata)
        )
        return session
    }

    package func continueUpload(
        _ session: UploadSession,
        _ body: ByteSegments,
        at offset: Int,
        isLast: Bool
    ) async throws(ObjectStoreError) -> UploadProgress {
        guard isLast || body.count > 0 && body.count % UploadRange.granularity == 0 else {
            throw ObjectStoreError(
                .invalidRequest,
                "\(subject(session.name)): a chunk of \(body.count) bytes is not a multiple of 256 KiB"
            )
        }
        var request = try sessionRequest(session, .never)
        request.headers.set(
            "Content-Range",
            UploadRange.header(offset: offset, count: body.count, isLast: isLast)
        )
        let expectation = sessions.entry(session)?.expectation
        if isLast, let crc = expectation?.crc32c { request.headers.set("x-goog-hash", "crc32c=\(crc.base64)") }
        request.body = body
        let end = offset + body.count
        let outcome = await runner.outcome(request)
        switch outcome.result {
        case .success(let response):
            let progress = try await progress(session, response, end: isLast ? end : nil)
            if case .persisted(let count) = progress, count > end {
                throw ObjectStoreError(
                    .protocolViolation,
                    "\(subject(session.name)): the server says it holds \(count) bytes, and \(end) were sent"
                )
            }
            return progress
        case .failure(let error):
            if error.isTransient || error.code == .cancelled { sessions.setUnsettled(session, true) }
            throw sessionError(error, session)
        }
    }

    package func uploadProgress(_ session: UploadSession) async throws(ObjectStoreError) -> UploadProgress {
        var request = try sessionRequest(session, .always)
        request.headers.set("Content-Range", "bytes */*")
        guard sessions.entry(session)?.isUnsettled == true else { return try await ask(session, request) }
        // A chunk that failed here may still be landing there: its end is known when two answers agree.
        var last: Int?
        for _ in 0..<10 {
            let progress = try await ask(session, request)
            guard case .persisted(let count) = progress else { return progress }
            if count == last {
                sessions.setUnsettled(session, false)
                return progress
            }
            last = count
            do {
                try await runner.time.sleep(for: .milliseconds(200))
            } catch {
                throw ObjectStoreError(.cancelled, "\(subject(session.name)): cancelled")
            }
        }
        throw ObjectStoreError(.unavailable, "\(subject(session.name)): the upload is still being received")
    }

    package func cancelUpload(_ session: UploadSession) async throws(ObjectStoreError) {
        var request = try sessionRequest(session, .always)
        request.method = "DELETE"
        sessions.remove(session)
        do {
            _ = try await runner.run(request)
        } catch let error where error.code == .sessionLost || error.code == .notFound {
            // 499 is the answer of a session that was cancelled.
        }
    }

    private func ask(
        _ session: UploadSession,
        _ request: StorageRequest
    ) async throws(ObjectStoreError) -> UploadProgress {
        do throws(ObjectStoreError) {
            return try await progress(session, try await runner.run(request), end: nil)
        } catch {
            throw sessionError(error, session)
        }
    }

    /// What a reply of the session means.
    ///
    /// - Parameter end: the size of the object, when the request was to finish it.
    private func progress(
        _ session: UploadSession,
        _ response: HTTPResponse,
        end: Int?
    ) async throws(ObjectStoreError) -> UploadProgress {
        if response.status == 308 {
            guard let count = UploadRange.persisted(response.headers["range"]) else {
                throw ObjectStoreError(
                    .protocolViolation,
                    "\(subject(session.name)): the server's range of stored bytes makes no sense",
                    status: 308,
                    requestID: requestID(response)
                )
            }
            return .persisted(count)
        }
        let written = try ObjectResource.attributes(in: response, subject(session.name))
        var expectation = sessions.entry(session)?.expectation ?? Expectation(metadata: [:])
        expectation.size = end ?? expectation.size
        sessions.remove(session)
        return .finished(try await verified(written, session.name, expectation))
    }

    /// 404 and 410 of a session are about the session.
    private func sessionError(_ error: ObjectStoreError, _ session: UploadSession) -> ObjectStoreError {
        guard [.notFound, .containerNotFound, .sessionLost].contains(error.code) else { return error }
        sessions.remove(session)
        return ObjectStoreError(
            .sessionLost,
            "\(subject(session.name)): the upload session expired or was lost; only a new upload helps",
            status: error.status,
            requestID: error.requestID
        )
    }

    private func sessionRequest(
        _ session: UploadSession,
        _ repeatability: Repeatability
    ) throws(ObjectStoreError) -> StorageRequest {
        var request = StorageRequest("PUT", "", repeatability, subject: subject(session.name))
        // Checked again: a session may come from a file.
        request.sessionURL = try sessionURL(session.secretURI, session.name)
        return request
    }

    /// A session's URL is used as it is given, and only on the endpoint itself.
    private func sessionURL(_ url: String, _ name: ObjectName) throws(ObjectStoreError) -> String {
        let origin = WebOrigin(url: url)
        if origin == runner.endpoint.origin { return url }
        let mayReplace = runner.options.replacesSessionAuthority || runner.endpoint.isEmulator
        if mayReplace, origin != nil, let remainder = WebOrigin.remainder(of: url) {
            return runner.endpoint.origin.description + remainder
        }
        throw ObjectStoreError(
            .protocolViolation,
            "\(subject(name)): the upload session is not at \(runner.endpoint.origin)"
        )
    }
}
