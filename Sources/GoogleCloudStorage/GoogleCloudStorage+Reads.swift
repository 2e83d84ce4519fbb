import Checksums
import HTTPEngine
package import ObjectStorage

extension GoogleCloudStorage {
    package func source(_ attributes: ObjectAttributes) -> any RangedSource {
        ObjectSource(
            attributes,
            target: mediaTarget(attributes.name, attributes.generation),
            subject: subject(attributes.name),
            runner: runner
        )
    }

    package func contents(
        _ name: ObjectName,
        generation: Generation?,
        limit: Int
    ) async throws(ObjectStoreError) -> (attributes: ObjectAttributes, bytes: [UInt8]) {
        var replacements = 0
        var mismatches = 0
        while true {
            let found = try await attributes(name, generation: generation)
            guard found.size <= limit else {
                throw ObjectStoreError(
                    .integrity,
                    "\(subject(name)): it has \(found.size) bytes, and at most \(limit) are expected"
                )
            }
            do {
                return (found, try await wholeBody(found))
            } catch {
                switch error.code {
                case .notFound where generation == nil && replacements < 5:
                    // Replaced between the two requests: the new content is as good.
                    replacements += 1
                case .integrity where mismatches == 0: mismatches += 1
                default: throw error
                }
            }
        }
    }

    /// One request where the reply proves itself; whatever is odd about it is looked at in two.
    package func currentBytes(_ name: ObjectName, limit: Int) async throws(ObjectStoreError) -> [UInt8] {
        var request = StorageRequest(
            "GET",
            objectTarget(name, "", [(name: "alt", value: "media")]),
            subject: subject(name)
        )
        request.headers.set("Accept-Encoding", "gzip")
        request.replyLimit = max(limit, 65_536)
        do {
            let response = try await runner.run(request)
            let stored = response.headers["x-goog-stored-content-encoding"] ?? "identity"
            if response.status == 200, response.headers["content-encoding"] == nil, stored == "identity",
                response.body.count <= limit, HashHeader.crc32c(response.headers) == CRC32C.of(response.body)
            {
                return response.body
            }
        } catch  where error.code == .protocolViolation {
            // Longer than there is room for, for example.
        }
        return try await contents(name, generation: nil, limit: limit).bytes
    }

    /// All bytes, whose CRC32C is the object's.
    private func wholeBody(_ attributes: ObjectAttributes) async throws(ObjectStoreError) -> [UInt8] {
        let subject = "\(subject(attributes.name))#\(attributes.generation)"
        if attributes.size == 0 { return [] }
        var request = StorageRequest(
            "GET",
            mediaTarget(attributes.name, attributes.generation),
            subject: subject
        )
        request.headers.set("Accept-Encoding", "gzip")
        // Room for an error's text, however small the object is.
        request.replyLimit = max(attributes.size, 65_536)
        let response = try await runner.run(request)
        let expected = MediaReply(
            range: ByteRange(offset: 0, count: attributes.size),
            isRanged: false,
            size: attributes.size,
            generation: attributes.generation,
            contentEncoding: attributes.contentEncoding,
            subject: subject
        )
        _ = try expected.check(response.head).get()
        guard response.body.count == attributes.size else {
            throw ObjectStoreError(
                .integrity,
                "\(subject): \(response.body.count) bytes came instead of \(attributes.size)",
                requestID: requestID(response)
            )
        }
        let announced = HashHeader.crc32c(response.headers)
        guard let crc = attributes.crc32c ?? announced else {
            throw ObjectStoreError(.integrity, "\(subject): the store gives no CRC32C to verify it by")
        }
        guard CRC32C.of(response.body) == crc, announced == nil || announced == crc else {
            throw ObjectStoreError(
                .integrity,
                "\(subject): the bytes that came do not have the object's CRC32C",
                requestID: requestID(response)
            )
        }
        return response.body
    }

    private func mediaTarget(_ name: ObjectName, _ generation: Generation) -> String {
        objectTarget(name, "", [(name: "alt", value: "media"), (name: "generation", value: generation.description)])
    }
}
