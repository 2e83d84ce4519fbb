package import GoogleCredentials
package import HTTPEngine
package import LinuxPlatform
package import ObjectStorage

/// A bucket of Google Cloud Storage, over its JSON API (and the XML API for multipart uploads).
///
/// Retries, preconditions and checksums as `ObjectStore` promises them; credentials go to the endpoint and nowhere
/// else. Safe to use from anywhere at once.
package final class GoogleCloudStorage: ObjectStore {
    package let bucket: String
    let runner: RequestRunner
    let sessions = UploadSessionLedger()
    let multiparts = MultipartLedger()

    /// - Parameters:
    ///   - endpoint: `STORAGE_EMULATOR_HOST` is the caller's to look up: `StorageEndpoint.emulator(environment:)`.
    ///   - credentials: `.anonymous` for public buckets and emulators.
    /// - Throws: `invalidName` when `bucket` cannot be the name of a bucket.
    package init(
        bucket: String,
        endpoint: StorageEndpoint,
        credentials: GoogleCredentials,
        transport: any HTTPTransport,
        time: any TimeSource = SystemTime(),
        options: StorageOptions = StorageOptions()
    ) throws(ObjectStoreError) {
        let isPlain = bucket.utf8.allSatisfy { byte in
            (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || [0x2D, 0x2E, 0x5F].contains(byte)
        }
        guard isPlain, (3...222).contains(bucket.utf8.count), bucket != "..." else {
            throw .invalidName(bucket, "a bucket has 3 to 222 characters of a-z, 0-9, '-', '_' and '.'")
        }
        self.bucket = bucket
        runner = RequestRunner(
            endpoint: endpoint,
            credentials: credentials,
            transport: transport,
            time: time,
            options: options
        )
    }

    package var label: String { "gs://\(bucket)" }

    /// What an error about the object begins with.
    func subject(_ name: ObjectName) -> String { "\(label)/\(name)" }

    /// `/storage/v1/b/BUCKET` and what is below.
    func bucketTarget(_ rest: String = "", _ parameters: [(name: String, value: String?)] = []) -> String {
        "/storage/v1/b/\(PercentEncoding.segment(bucket))\(rest)"
            + PercentEncoding.query(parameters + [(name: "prettyPrint", value: "false")])
    }

    func objectTarget(
        _ name: ObjectName,
        _ rest: String = "",
        _ parameters: [(name: String, value: String?)] = []
    ) -> String {
        bucketTarget("/o/\(PercentEncoding.segment(name.value))\(rest)", parameters)
    }

    func uploadTarget(_ parameters: [(name: String, value: String?)]) -> String {
        "/upload/storage/v1/b/\(PercentEncoding.segment(bucket))/o"
            + PercentEncoding.query(parameters + [(name: "prettyPrint", value: "false")])
    }

    func requestID(_ response: HTTPResponse) -> String? { response.headers[requestIDField] }

    /// A reply of JSON.
    func decoded<Document: Decodable>(
        _ type: Document.Type,
        _ response: HTTPResponse,
        _ subject: String
    ) throws(ObjectStoreError) -> Document {
        guard let document = JSONValues.decode(type, from: response.body) else {
            throw ObjectStoreError(
                .protocolViolation,
                "\(subject): the server's reply is not the JSON that was expected",
                status: response.status,
                requestID: requestID(response)
            )
        }
        return document
    }
}
