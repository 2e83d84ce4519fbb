package import Checksums

// The rules of a write that every store of our own enforces alike; Cloud Storage enforces them itself.

extension WritePrecondition {
    /// Checks the precondition against what is there now.
    ///
    /// - Throws: `preconditionFailed` naming the object and what was found.
    package func check(_ name: ObjectName, current: Generation?) throws(ObjectStoreError) {
        switch (self, current) {
        case (.any, _), (.absent, nil): return
        case (.absent, let found?):
            throw ObjectStoreError(
                .preconditionFailed,
                "'\(name)' exists already, as generation \(found)",
                status: 412
            )
        case (.generation(let wanted), let found):
            if wanted == found { return }
            let state = found.map { "is generation \($0)" } ?? "does not exist"
            throw ObjectStoreError(.preconditionFailed, "'\(name)' \(state), not generation \(wanted)", status: 412)
        }
    }
}

extension WriteOptions {
    /// Custom metadata in all, keys and values. Source: Cloud Storage, "Quotas and limits", objects.
    package static let maximumMetadataSize = 8192

    /// Checks the metadata that a write brings.
    ///
    /// - Throws: `invalidRequest`.
    package static func check(metadata: [String: String]) throws(ObjectStoreError) {
        let size = metadata.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        if size > maximumMetadataSize {
            throw ObjectStoreError(
                .invalidRequest,
                "custom metadata of \(size) bytes, more than \(maximumMetadataSize)",
                status: 400
            )
        }
        if let key = metadata.keys.first(where: { $0.isEmpty || $0 != $0.lowercased() }) {
            throw ObjectStoreError(.invalidRequest, "'\(key)' is no key of custom metadata", status: 400)
        }
    }

    /// Checks the promised CRC32C against what arrived.
    ///
    /// - Throws: `integrity`.
    package func check(_ name: ObjectName, received: CRC32C) throws(ObjectStoreError) {
        guard let crc32c, crc32c != received else { return }
        throw ObjectStoreError(
            .integrity,
            "'\(name)': CRC32C \(received) arrived where \(crc32c) was promised; nothing was written",
            status: 400
        )
    }
}
