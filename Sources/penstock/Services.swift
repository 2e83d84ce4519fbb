import Configuration
import Glibc
import GoogleCloudStorage
import GoogleCredentials
import HTTPEngine
import HuggingFaceHub
import LinuxPlatform
import LocalStorage
import ObjectStorage
import Snapshots
import Telemetry
import TransferEngine

/// What the one-shot commands are made of, from the environment and the flags they share.
struct Services {
    let environment: [String: String]
    let engine: HTTPEngine
    /// Fired when a bucket asks to slow down.
    let throttle = ThrottleSignal()
    private let retries: Counter

    /// - Parameters:
    ///   - connections: to one host at once.
    ///   - metrics: where the layers below count.
    ///   - log: gets what they have to tell.
    init(
        connections: Int = 64,
        metrics: MetricRegistry = MetricRegistry(),
        log: Log
    ) throws(CommandFailure) {
        environment = Settings.environment
        retries = metrics.counter(
            "storage_retries_total",
            unit: "attempts",
            help: "Attempts at requests to the bucket that were made again after one that failed."
        )
        var configuration = EngineConfiguration()
        configuration.userAgent = "penstock/\(Version.text)"
        configuration.maximumConnectionsPerHost = connections
        // Many small buffers: with a memory bound they count. Larger ones save calls for what is sent, and nothing for
        // what is received.
        configuration.receiveBufferBytes = 256 << 10
        configuration.uploadBufferBytes = 512 << 10
        do throws(Errno) {
            engine = try HTTPEngine(configuration, metrics: metrics, log: log)
        } catch {
            throw CommandFailure(.internal, "cannot start the network threads: \(error)")
        }
    }

    /// - Parameter makesDirectory: of `file://`, when it is missing; a bucket is never made.
    func store(
        _ destination: Destination,
        _ options: StoreOptions,
        makesDirectory: Bool = false
    ) async throws(CommandFailure) -> any ObjectStore {
        switch destination.kind {
        case .directory(let path):
            do throws(ObjectStoreError) {
                return try LocalObjectStore(path, createsDirectory: makesDirectory)
            } catch {
                throw CommandFailure(error, while: "opening \(destination)")
            }
        case .bucket(let name, _):
            return try await bucket(name, options)
        }
    }

    private func bucket(_ name: String, _ options: StoreOptions) async throws(CommandFailure) -> any ObjectStore {
        do throws(ObjectStoreError) {
            let endpoint = try endpoint(options)
            let credentials = try await credentials(options, isEmulator: endpoint.isEmulator)
            return try GoogleCloudStorage(
                bucket: name,
                endpoint: endpoint,
                credentials: credentials,
                transport: engine,
                options: StorageOptions(
                    userProject: options.billingProject,
                    userAgent: "penstock/\(Version.text)",
                    replacesSessionAuthority: endpoint.isEmulator,
                    onThrottle: { [throttle] in throttle.fire() },
                    onRetry: { [retries] in retries.add() }
                )
            )
        } catch {
            throw CommandFailure(error, while: "opening gs://\(name)")
        }
    }

    private func endpoint(_ options: StoreOptions) throws(ObjectStoreError) -> StorageEndpoint {
        if let emulator = try StorageEndpoint.emulator(environment: environment) { return emulator }
        return try StorageEndpoint(url: options.endpoint ?? StorageEndpoint.google)
    }

    private func credentials(
        _ options: StoreOptions,
        isEmulator: Bool
    ) async throws(ObjectStoreError) -> GoogleCredentials {
        let search = CredentialOptions(
            isAnonymous: options.anonymous || isEmulator && options.accessTokenFile == nil,
            tokenFile: options.accessTokenFile,
            environment: environment
        )
        do throws(CredentialError) {
            return try await GoogleCredentials.find(search, transport: engine)
        } catch {
            throw ObjectStoreError(.unauthenticated, error.message)
        }
    }

    func hub(
        token: String?,
        workers: Int,
        observer: HubObserver
    ) throws(CommandFailure) -> HubClient {
        do throws(HubError) {
            var configuration = try HubConfiguration.fromEnvironment(
                environment,
                explicitToken: token,
                version: Version.text,
                readFile: Self.smallFile
            )
            configuration.workers = workers
            return try HubClient(configuration: configuration, transport: engine, observer: observer)
        } catch {
            throw CommandFailure(SnapshotError(error))
        }
    }

    /// A file of at most 64 KiB, such as a token's; nil when it cannot be read.
    private static func smallFile(_ path: String) -> String? {
        guard let file = try? FileDescriptor(path: path, flags: O_RDONLY), let size = try? file.size(), size <= 65_536
        else { return nil }
        var bytes = [UInt8](repeating: 0, count: size)
        let count = try? bytes.withUnsafeMutableBytes { buffer throws(Errno) in try file.read(into: buffer, at: 0) }
        return count.map { String(decoding: bytes.prefix($0), as: UTF8.self) }
    }
}
