package import LinuxPlatform

/// A Hugging Face Hub on loopback: repositories from a directory, and a storage host on a second port.
///
/// The official clients accept it. Faults, the request log and the counters of media bytes (by `models/ORG/NAME/PATH`)
/// are those of the `EmulatorControl`; its servers are named `hub` and `cdn` there. No Xet: clients use plain HTTP.
package final class HubEmulator: Sendable {
    package let control: EmulatorControl
    private let service: HubService
    private let hub: EmulatorServer
    private let storage: EmulatorServer

    /// Serves until `stop()`.
    ///
    /// - Parameters:
    ///   - root: holds `models/ORG/NAME`, `datasets/ORG/NAME`, `spaces/ORG/NAME`; see `HubCatalog`.
    ///   - hashDirectory: where hashes are remembered; nil for `.hashes` in the root.
    ///   - port: of the Hub; 0 for any free one. So `storagePort`.
    /// - Throws: the `errno` of bind(2) and its like.
    package init(
        root: String,
        hashDirectory: String? = nil,
        host: String = "127.0.0.1",
        port: Int = 0,
        storagePort: Int = 0,
        options: HubOptions = HubOptions(),
        control: EmulatorControl = EmulatorControl()
    ) throws(Errno) {
        self.control = control
        let catalog = HubCatalog(root: root, hashDirectory: hashDirectory ?? "\(root)/.hashes")
        let service = HubService(catalog: catalog, options: options)
        self.service = service
        storage = try EmulatorServer(name: "cdn", host: host, port: storagePort, control: control) {
            service.respondAsStorageHost(&$0)
        }
        let listening = storage.port
        service.storagePort.withLock { $0 = listening }
        hub = try EmulatorServer(name: "hub", host: host, port: port, control: control) { service.respond(&$0) }
    }

    /// What `HF_ENDPOINT` is to be.
    package var baseURL: String { hub.baseURL }
    package var port: Int { hub.port }
    package var storageBaseURL: String { storage.baseURL }
    package var storagePort: Int { storage.port }

    /// The repositories there are.
    package var repositories: [HubRepositoryName] { service.catalog.names }

    package func stop() {
        hub.stop()
        storage.stop()
    }

    /// Changes how it behaves from the next request on.
    package func configure(_ body: (inout HubOptions) -> Void) { service.state.withLock { body(&$0.options) } }

    /// Changes a repository: its commits, branches, gate and so on. False when there is none of that name.
    @discardableResult
    package func change(_ name: HubRepositoryName, _ body: (inout HubRepositorySettings) -> Void) -> Bool {
        (try? service.catalog.change(name, body)) != nil
    }

    /// Every signed URL that was given out is refused as expired from now on.
    package func expireSignedURLs() { service.expireSignedURLs() }

    /// Bytes of a file's content sent so far, over all requests.
    package func mediaBytes(_ name: HubRepositoryName, _ path: String) -> Int {
        control.mediaBytes["\(name.key)/\(path)"] ?? 0
    }

    /// Hashes every file now, so that no request waits for it; returns the commit of each `main`.
    @discardableResult
    package func warm() -> [HubRepositoryName: String] {
        var commits: [HubRepositoryName: String] = [:]
        for name in repositories {
            guard let entry = service.catalog.entry(name) else { continue }
            commits[name] = (try? service.catalog.snapshot(entry, revision: "main"))?.commit
        }
        return commits
    }
}
