import Checksums
import GoogleCredentials
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport

@testable import GoogleCloudStorage

/// A client of the bucket `bkt` whose server is a script and whose clock leaps.
struct ScriptedClient {
    let transport: ScriptedTransport
    let time = LeapingTime()
    let storage: GoogleCloudStorage

    init(
        _ steps: [ScriptedTransport.Step],
        credentials: GoogleCredentials = .anonymous,
        endpoint: String = "http://127.0.0.1:9000",
        isEmulator: Bool = false,
        options: StorageOptions = StorageOptions()
    ) throws {
        try self.init(
            ScriptedTransport(steps: steps),
            credentials: credentials,
            endpoint: endpoint,
            isEmulator: isEmulator,
            options: options
        )
    }

    init(
        _ transport: ScriptedTransport,
        credentials: GoogleCredentials = .anonymous,
        endpoint: String = "http://127.0.0.1:9000",
        isEmulator: Bool = false,
        options: StorageOptions = StorageOptions()
    ) throws {
        self.transport = transport
        storage = try GoogleCloudStorage(
            bucket: "bkt",
            endpoint: StorageEndpoint(url: endpoint, isEmulator: isEmulator),
            credentials: credentials,
            transport: transport,
            time: time,
            options: options
        )
    }

    /// Method and target of each request, without the query.
    var calls: [String] {
        transport.requests.map { request in
            let path = request.url.dropFirst("http://127.0.0.1:9000".count).prefix { $0 != "?" }
            return "\(request.method) \(path)"
        }
    }
}

let object = "/storage/v1/b/bkt/o/o"

func objectName(_ name: String = "o") throws -> ObjectName { try ObjectName(name) }

/// The JSON of an object of these bytes.
func resource(
    _ bytes: [UInt8],
    name: String = "o",
    generation: Int = 7,
    metageneration: Int = 1,
    metadata: [String: String] = [:],
    crc: CRC32C? = nil
) -> String {
    let pairs = metadata.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\"\($0.value)\"" }.joined(separator: ",")
    return """
        {"name":"\(name)","generation":"\(generation)","metageneration":"\(metageneration)","size":"\(bytes.count)",\
        "crc32c":"\((crc ?? CRC32C.of(bytes)).base64)","metadata":{\(pairs)}}
        """
}

/// The reply to a read of `range` of an object of these bytes.
func part(_ bytes: [UInt8], _ range: Range<Int>, generation: Int = 7) -> ScriptedTransport.Step {
    .reply(206, partHeaders(bytes, range, generation: generation), Array(bytes[range]))
}

func partHeaders(_ bytes: [UInt8], _ range: Range<Int>, generation: Int = 7) -> HTTPHeaders {
    [
        ("x-goog-generation", "\(generation)"), ("Content-Length", "\(range.count)"),
        ("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(bytes.count)"),
    ]
}

/// The error that `body` throws.
func storeError(_ body: () async throws -> Void) async -> ObjectStoreError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? ObjectStoreError
    }
}
