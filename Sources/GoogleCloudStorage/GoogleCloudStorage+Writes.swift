import Checksums
import HTTPEngine
package import LinuxPlatform
package import ObjectStorage

extension GoogleCloudStorage {
    /// What a new object must be to be the one we wrote.
    struct Expectation: Sendable {
        var size: Int?
        var crc32c: CRC32C?
        var metadata: [String: String]

        /// Whether this is beyond doubt our own write: same bytes, and our metadata.
        func isMet(by found: ObjectAttributes) -> Bool {
            guard metadata.allSatisfy({ found.metadata[$0.key] == $0.value }) else { return false }
            if let size, found.size != size { return false }
            if let crc32c { return found.crc32c == crc32c }
            // Without a checksum only an operation's own id tells our write from another's.
            return metadata["penstock-operation"] != nil
        }
    }

    package func put(
        _ name: ObjectName,
        _ body: ByteSegments,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        var options = options
        let crc = options.crc32c ?? CRC32C.of(body)
        options.crc32c = crc
        var parameters = [(name: "uploadType", value: Optional("multipart"))]
        parameters += options.precondition.parameters
        parameters.append((name: "fields", value: ObjectResource.fields))
        var request = StorageRequest(
            "POST",
            uploadTarget(parameters),
            options.precondition.repeatability,
            subject: subject(name)
        )
        let boundary = Invocation().id
        request.headers.set("Content-Type", "multipart/related; boundary=\(boundary)")
        let description = JSONValues.encode(ObjectDescription(name, options))
        request.body = multipartBody(boundary, description, contentType: options.contentType, body)
        let expectation = Expectation(size: body.count, crc32c: crc, metadata: options.metadata)
        return try await write(name, request, expectation)
    }

    package func compose(
        _ sources: [ComposeSource],
        into name: ObjectName,
        _ options: WriteOptions
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        struct Source: Encodable {
            struct Preconditions: Encodable {
                var ifGenerationMatch: String
            }
            var name: String
            var generation: String
            var objectPreconditions: Preconditions
        }
        struct Composition: Encodable {
            var destination: ObjectDescription
            var sourceObjects: [Source]
        }
        guard (1...32).contains(sources.count) else {
            throw ObjectStoreError(
                .invalidRequest,
                "\(subject(name)): composed of \(sources.count) objects, not 1 to 32"
            )
        }
        var destination = ObjectDescription(nil, options)
        // The store computes it of the sources and reports it; it is compared below.
        destination.crc32c = nil
        var request = StorageRequest(
            "POST",
            objectTarget(name, "/compose", options.precondition.parameters),
            options.precondition.repeatability,
            subject: subject(name)
        )
        request.setJSON(
            Composition(
                destination: destination,
                sourceObjects: sources.map { source in
                    let generation = source.generation.description
                    return Source(
                        name: source.name.value,
                        generation: generation,
                        objectPreconditions: .init(ifGenerationMatch: generation)
                    )
                }
            )
        )
        return try await write(name, request, Expectation(crc32c: options.crc32c, metadata: options.metadata))
    }

    /// Sends a write, settles a lost reply, and compares what the store has with what was sent.
    func write(
        _ name: ObjectName,
        _ request: StorageRequest,
        _ expectation: Expectation
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let outcome = await runner.outcome(request)
        switch outcome.result {
        case .success(let response):
            let written = try ObjectResource.attributes(in: response, subject(name))
            return try await verified(written, name, expectation)
        case .failure(let error):
            guard error.code == .preconditionFailed, outcome.followsAmbiguity else { throw error }
            return try await adopted(name, expectation, error)
        }
    }

    /// After a 412 on a repeated write: the object that is there, when it is ours.
    func adopted(
        _ name: ObjectName,
        _ expectation: Expectation,
        _ refusal: ObjectStoreError
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        let found: ObjectAttributes
        do {
            found = try await attributes(name, generation: nil)
        } catch let error where error.code == .notFound {
            throw refusal
        }
        guard expectation.isMet(by: found) else { throw refusal }
        return found
    }

    /// The new object, or none: one with other bytes than were sent is deleted.
    func verified(
        _ written: ObjectAttributes,
        _ name: ObjectName,
        _ expectation: Expectation
    ) async throws(ObjectStoreError) -> ObjectAttributes {
        guard written.name == name else {
            throw ObjectStoreError(.protocolViolation, "\(subject(name)): the server wrote another object")
        }
        let sizeDiffers = expectation.size.map { $0 != written.size } ?? false
        let crcDiffers = expectation.crc32c.map { $0 != written.crc32c } ?? false
        guard sizeDiffers || crcDiffers else { return written }
        var message = "\(subject(name)): the store holds other bytes than were sent ("
        message += sizeDiffers ? "\(written.size) bytes instead of \(expectation.size ?? 0)" : "the CRC32C differs"
        do {
            try await delete(name, written.generation)
            message += "); that generation was deleted again"
        } catch {
            message += "), and generation \(written.generation) could not be deleted: \(error.message)"
        }
        throw ObjectStoreError(.integrity, message)
    }

    /// The pieces of a multipart/related body, the caller's bytes not copied (RFC 2387).
    private func multipartBody(
        _ boundary: String,
        _ description: [UInt8],
        contentType: String,
        _ content: ByteSegments
    ) -> ByteSegments {
        // A CR or LF would end the header; no media type has one.
        let type = contentType.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } ? contentType : "application/octet-stream"
        let head = "--\(boundary)\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
        var body = ByteSegments(Array(head.utf8) + description)
        body.append(Array("\r\n--\(boundary)\r\nContent-Type: \(type)\r\n\r\n".utf8))
        for segment in content.segments {
            switch segment {
            case .bytes(let bytes): body.append(bytes)
            case .lease(let lease, let range): body.append(lease, range)
            }
        }
        body.append(Array("\r\n--\(boundary)--\r\n".utf8))
        return body
    }
}

extension CRC32C {
    /// Of all pieces in order.
    static func of(_ body: ByteSegments) -> CRC32C {
        var crc = CRC32C.empty
        body.forEachPiece { crc = crc.updated(with: $0) }
        return crc
    }
}
