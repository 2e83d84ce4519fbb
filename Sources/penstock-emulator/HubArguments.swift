import ArgumentParser
import Emulators
import LinuxPlatform

/// The flags of the emulated Hub.
struct HubArguments: ParsableArguments {
    @Option(help: ArgumentHelp("The port of the Hub; 0 takes a free one.", valueName: "port"))
    var hubPort = 9001

    @Option(
        help: ArgumentHelp(
            "Where the Hub's repositories are, as models/ORG/NAME and so on; by default hub in --root.",
            valueName: "dir"
        )
    )
    var hubRoot: String?

    @Option(help: ArgumentHelp("The port of the Hub's storage host; 0 takes a free one.", valueName: "port"))
    var hubStoragePort = 0

    @Option(help: ArgumentHelp("The host name in signed URLs; by default the one the client used.", valueName: "name"))
    var hubStorageHost: String?

    @Option(help: ArgumentHelp("Entries of one page of a tree.", valueName: "count"))
    var hubPageSize = 1000

    @Option(help: ArgumentHelp("How long signed URLs work.", valueName: "seconds"))
    var hubSignedUrlSeconds = 3600

    func validate() throws {
        guard (0...65_535).contains(hubPort), (0...65_535).contains(hubStoragePort) else {
            throw ValidationError("Ports are numbers from 0 to 65535.")
        }
        guard hubPageSize > 0, (1...604_800).contains(hubSignedUrlSeconds) else {
            throw ValidationError("--hub-page-size and --hub-signed-url-seconds are at least 1.")
        }
    }

    /// Starts the Hub, with every file hashed before the first request comes.
    ///
    /// - Parameter root: what `--root` says.
    func start(root: String, host: String, control: EmulatorControl) throws -> HubEmulator {
        var options = HubOptions()
        options.pageSize = hubPageSize
        options.signedURLSeconds = hubSignedUrlSeconds
        options.storageHost = hubStorageHost
        do throws(Errno) {
            let hub = try HubEmulator(
                root: hubRoot ?? "\(root)/hub",
                hashDirectory: "\(root)/hashes",
                host: host,
                port: hubPort,
                storagePort: hubStoragePort,
                options: options,
                control: control
            )
            hub.warm()
            return hub
        } catch {
            throw ValidationError("The Hub cannot start on \(host):\(hubPort): \(error). Choose another port.")
        }
    }
}
