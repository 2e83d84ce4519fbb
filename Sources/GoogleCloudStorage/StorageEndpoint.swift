package import HTTPEngine
package import ObjectStorage

/// Where the API is: Google's servers, a regional or private endpoint, or an emulator.
package struct StorageEndpoint: Sendable, Equatable, CustomStringConvertible {
    package static let google = "https://storage.googleapis.com"

    package let origin: WebOrigin
    /// An emulator: no credentials are looked for, and session URIs with another host are led back here.
    package let isEmulator: Bool

    /// - Parameter url: `scheme://host[:port]`, with or without `/storage/v1` behind it.
    /// - Throws: `invalidRequest` when it is not such a URL.
    package init(url: String = StorageEndpoint.google, isEmulator: Bool = false) throws(ObjectStoreError) {
        var text = url[...]
        while text.hasSuffix("/") { text = text.dropLast() }
        if text.hasSuffix("/storage/v1") { text = text.dropLast("/storage/v1".count) }
        while text.hasSuffix("/") { text = text.dropLast() }
        guard let origin = WebOrigin(url: String(text)), WebOrigin.remainder(of: String(text)) == "" else {
            throw ObjectStoreError(
                .invalidRequest,
                "the storage endpoint must be http(s)://host[:port], without a path or user"
            )
        }
        self.origin = origin
        self.isEmulator = isEmulator
    }

    /// The emulator that `STORAGE_EMULATOR_HOST` names, as the official clients read it: without a scheme it is http.
    ///
    /// - Returns: nil when the variable is missing or empty.
    package static func emulator(
        environment: [String: String]
    ) throws(ObjectStoreError) -> StorageEndpoint? {
        guard let value = environment["STORAGE_EMULATOR_HOST"], !value.isEmpty else { return nil }
        do {
            return try StorageEndpoint(url: value.contains("://") ? value : "http://\(value)", isEmulator: true)
        } catch {
            throw ObjectStoreError(.invalidRequest, "STORAGE_EMULATOR_HOST must be [http://]host[:port]")
        }
    }

    package var description: String { origin.description }
}
