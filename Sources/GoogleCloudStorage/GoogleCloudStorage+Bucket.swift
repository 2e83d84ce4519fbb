import GoogleCredentials
import HTTPEngine
package import LinuxPlatform
package import ObjectStorage

extension GoogleCloudStorage {
    private struct LayoutDocument: Decodable {
        struct Hierarchical: Decodable {
            var enabled: Bool?
        }
        struct SoftDelete: Decodable {
            var retentionDurationSeconds: LenientInteger?
        }
        struct Retention: Decodable {
            var retentionPeriod: LenientInteger?
        }
        var location: String?
        var locationType: String?
        var hierarchicalNamespace: Hierarchical?
        var softDeletePolicy: SoftDelete?
        var retentionPolicy: Retention?
        var storageClass: String?
    }

    /// Of the `Date` header of a small reply: any reply has one, also a refusal.
    package func serverTime() async throws(ObjectStoreError) -> UnixTime {
        var request = StorageRequest("GET", bucketTarget("/storageLayout"), subject: label)
        request.replyLimit = 1 << 20
        let outcome = await runner.outcome(request)
        let response: HTTPResponse
        if let refusal = outcome.refusal { response = refusal } else { response = try outcome.result.get() }
        guard let date = response.headers["date"].flatMap(HTTPDate.parse) else {
            throw ObjectStoreError(.protocolViolation, "\(label): the server's reply has no date")
        }
        return date
    }

    /// The layout, which everybody who may list may know, and the bucket's policies where we may know them.
    package func layout() async throws(ObjectStoreError) -> StorageLayout {
        let bucket = try await bucketDocument()
        var layout: LayoutDocument?
        do {
            let reply = try await runner.run(
                StorageRequest("GET", bucketTarget("/storageLayout"), subject: "\(label) (storage layout)")
            )
            layout = try decoded(LayoutDocument.self, reply, label)
        } catch let error
            where bucket != nil && [.notFound, .unsupported, .forbidden, .invalidRequest].contains(error.code)
        {
            // Older servers and emulators know buckets and no layouts.
        }
        let known = layout ?? bucket
        var result = StorageLayout(
            isHierarchical: known?.hierarchicalNamespace?.enabled ?? false,
            locationType: known?.locationType ?? "region",
            location: known?.location ?? "unknown"
        )
        if let bucket {
            result.softDeleteRetentionSeconds = Int(bucket.softDeletePolicy?.retentionDurationSeconds?.value ?? 0)
            result.retentionSeconds = bucket.retentionPolicy?.retentionPeriod.map { Int($0.value) }
            result.defaultStorageClass = bucket.storageClass
        }
        return result
    }

    /// Nil when the caller may list and not look at the bucket, which is usual.
    private func bucketDocument() async throws(ObjectStoreError) -> LayoutDocument? {
        let fields = "hierarchicalNamespace,location,locationType,softDeletePolicy,retentionPolicy,storageClass"
        do {
            let request = StorageRequest("GET", bucketTarget("", [(name: "fields", value: fields)]), subject: label)
            return try decoded(LayoutDocument.self, try await runner.run(request), label)
        } catch let error
            where error.code == .forbidden || error.code == .unauthenticated && runner.credentials.isAnonymous
        {
            return nil
        } catch let error where error.code == .notFound {
            throw ObjectStoreError(
                .containerNotFound,
                "\(label): the bucket does not exist, or these credentials may not know of it",
                status: error.status,
                requestID: error.requestID
            )
        }
    }
}
