import GoogleCredentials
import HTTPEngine
package import ObjectStorage

extension GoogleCloudStorage {
    private struct RewriteReply: Decodable {
        var done: Bool?
        var objectSize: LenientInteger?
        var totalBytesRewritten: LenientInteger?
        var rewriteToken: String?
        var resource: ObjectResource?
    }

    package func copy(
        _ source: ObjectName,
        _ generation: Generation,
        to name: ObjectName,
        precondition: WritePrecondition,
        metadata: [String: String]?
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let original = try await attributes(source, generation: generation)
        let target = "/rewriteTo/b/\(PercentEncoding.segment(bucket))/o/\(PercentEncoding.segment(name.value))"
        let fixed = precondition.parameters + [(name: "sourceGeneration", value: Optional(generation.description))]
        let expectation = Expectation(
            size: original.size,
            crc32c: original.crc32c,
            metadata: metadata ?? original.metadata
        )
        var progress = RewriteProgress()
        while true {
            var parameters = fixed
            if let token = progress.token { parameters.append((name: "rewriteToken", value: token)) }
            var request = StorageRequest(
                "POST",
                objectTarget(source, target, parameters),
                precondition.repeatability,
                subject: "copy of \(subject(source)) to \(subject(name))"
            )
            setRewriteBody(&request, original, metadata)
            let outcome = await runner.outcome(request)
            switch outcome.result {
            case .success(let response):
                let reply = try decoded(RewriteReply.self, response, request.subject)
                if reply.done == true, let resource = reply.resource {
                    return try await verified(try resource.attributes(request.subject), name, expectation)
                }
                try progress.advance(reply.rewriteToken, reply.totalBytesRewritten?.value, request.subject)
            case .failure(let error):
                guard error.code == .preconditionFailed, outcome.followsAmbiguity else { throw error }
                return try await adopted(name, expectation, error)
            }
        }
    }

    package func move(
        _ source: ObjectName,
        _ generation: Generation,
        to name: ObjectName,
        precondition: WritePrecondition
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        // Known beforehand: after a lost reply the source is gone and cannot be asked what it was.
        let original = try await attributes(source, generation: generation)
        let expectation = Expectation(
            size: original.size,
            crc32c: original.crc32c,
            metadata: original.metadata
        )
        var parameters = [(name: "ifSourceGenerationMatch", value: Optional(generation.description))]
        parameters += precondition.parameters
        let request = StorageRequest(
            "POST",
            objectTarget(source, "/moveTo/o/\(PercentEncoding.segment(name.value))", parameters),
            precondition.repeatability,
            subject: "move of \(subject(source)) to \(subject(name))"
        )
        let outcome = await runner.outcome(request)
        switch outcome.result {
        case .success(let response):
            return try await verified(try ObjectResource.attributes(in: response, request.subject), name, expectation)
        case .failure(let error):
            if outcome.followsAmbiguity, [.notFound, .preconditionFailed].contains(error.code) {
                return try await adopted(name, expectation, error)
            }
            guard error.code == .notFound else { throw error }
            return try await explainMissing(source, generation, error)
        }
    }

    /// A 404 for a source that was there a moment ago: either it is gone, or the server does not know the method.
    private func explainMissing(
        _ source: ObjectName,
        _ generation: Generation,
        _ refusal: ObjectStoreError
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        _ = try await attributes(source, generation: generation)
        throw ObjectStoreError(
            .unsupported,
            "\(label): the server cannot move objects",
            status: refusal.status,
            requestID: refusal.requestID
        )
    }

    /// `{}` keeps the source's metadata; anything else replaces all of it.
    private func setRewriteBody(
        _ request: inout StorageRequest,
        _ original: ObjectAttributes,
        _ metadata: [String: String]?
    ) {
        struct Nothing: Encodable {}
        struct Replacement: Encodable {
            var contentType: String?
            var contentEncoding: String?
            var storageClass: String?
            var metadata: [String: String]
        }
        guard let metadata else { return request.setJSON(Nothing()) }
        request.setJSON(
            Replacement(
                contentType: original.contentType,
                contentEncoding: original.contentEncoding,
                storageClass: original.storageClass,
                metadata: metadata
            )
        )
    }
}

/// The row of calls that one big copy is.
struct RewriteProgress: Sendable {
    /// So many calls in a row without a byte copied are no progress.
    static let patience = 100

    private(set) var token: String?
    private var copied: Int64 = -1
    private var idleCalls = 0

    init() {}

    mutating func advance(_ token: String?, _ copied: Int64?, _ subject: String) throws(ObjectStoreError) {
        guard let token, !token.isEmpty else {
            throw ObjectStoreError(.protocolViolation, "\(subject): neither done nor a token to go on with")
        }
        idleCalls = (copied ?? 0) > self.copied ? 0 : idleCalls + 1
        guard idleCalls < Self.patience else {
            throw ObjectStoreError(.unavailable, "\(subject): the server makes no progress")
        }
        self.copied = max(self.copied, copied ?? 0)
        self.token = token
    }
}
