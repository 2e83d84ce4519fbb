import Emulators
import Foundation
import GoogleCredentials
import HTTPEngine
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import GoogleCloudStorage

/// The real engine and the emulated Cloud Storage, with two buckets: `flat` and `tree`, which has folders.
final class EmulatedStorage: Sendable {
    let emulator: CloudStorageEmulator
    let engine: HTTPEngine
    private let root: String

    init(requiresToken: Bool = false) async throws {
        root = NSTemporaryDirectory() + "penstock-gcs-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        var configuration = CloudStorageEmulator.Configuration(root: root)
        configuration.buckets = ["flat"]
        emulator = try CloudStorageEmulator(configuration)
        engine = try HTTPEngine(EngineConfiguration(environment: { _ in nil }))
        var tree = HTTPRequest("POST", "\(emulator.baseURL)/storage/v1/b?project=p")
        tree.headers.set("Content-Type", "application/json")
        let document = """
            {"name":"tree","hierarchicalNamespace":{"enabled":true},\
            "iamConfiguration":{"uniformBucketLevelAccess":{"enabled":true}}}
            """
        tree.body = ByteSegments(Array(document.utf8))
        let reply = try await engine.send(tree, limit: 65_536)
        try #require(reply.status == 200, "\(String(decoding: reply.body, as: UTF8.self))")
        emulator.tokens.isRequired = requiresToken
    }

    deinit {
        emulator.stop()
        try? FileManager.default.removeItem(atPath: root)
    }

    func store(
        _ bucket: String,
        credentials: GoogleCredentials = .anonymous,
        options: StorageOptions = StorageOptions(longestPause: .milliseconds(10))
    ) throws -> GoogleCloudStorage {
        try GoogleCloudStorage(
            bucket: bucket,
            endpoint: StorageEndpoint(url: emulator.baseURL, isEmulator: true),
            credentials: credentials,
            transport: engine,
            options: options
        )
    }
}

/// Every promise of `ObjectStore`, on the emulator.
@Suite struct EmulatorContractTests {
    @Test(arguments: ObjectStoreContract.checks)
    func aBucketWithFoldersKeeps(_ check: ContractCheck) async throws {
        let storage = try await EmulatedStorage()
        try await check.run(on: storage.store("tree"))
    }

    @Test(arguments: ObjectStoreContract.checks)
    func aFlatBucketKeeps(_ check: ContractCheck) async throws {
        let storage = try await EmulatedStorage()
        try await check.run(on: storage.store("flat"), features: [.move, .multipart])
    }
}
