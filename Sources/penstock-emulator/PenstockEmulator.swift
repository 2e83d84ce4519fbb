import ArgumentParser
import Emulators
import Glibc
import LinuxPlatform

@main
struct PenstockEmulator: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "penstock-emulator",
        abstract: "Serves a Hugging Face Hub and a Cloud Storage on loopback, for trying Penstock out and for tests.",
        discussion: """
            The directory given by --root holds both: gcs/ the buckets, which survive a restart, and hub/ the \
            repositories, plain directories named models/ORG/NAME, datasets/ORG/NAME or spaces/ORG/NAME. When it is \
            ready, the program prints one line with the base URLs; point clients at them:

                HF_ENDPOINT=http://127.0.0.1:9001 STORAGE_EMULATOR_HOST=http://127.0.0.1:9000 \\
                  penstock snapshot org/model gs://ai-models/model

            Faults, latency, bandwidth and damaged bytes are scripted through POST /_emulator/faults on either port; \
            see docs/EMULATOR.md. SIGTERM and SIGINT end it.
            """
    )

    @Option(help: ArgumentHelp("Where buckets and repositories are; made when it is not there.", valueName: "dir"))
    var root: String

    @Option(help: ArgumentHelp("The address to listen on.", valueName: "ipv4"))
    var host = "127.0.0.1"

    @Option(help: ArgumentHelp("The port of Cloud Storage; 0 takes a free one.", valueName: "port"))
    var gcsPort = 9000

    @OptionGroup(title: "Hub")
    var hub: HubArguments

    @Option(help: ArgumentHelp("A bucket to make if it is not there. May be given often.", valueName: "name"))
    var bucket: [String] = []

    @Option(
        help: ArgumentHelp("What links to Cloud Storage begin with, for clients behind a proxy.", valueName: "url")
    )
    var gcsExternalURL: String?

    @Option(help: ArgumentHelp("Writes the ready line to a file too, once everything listens.", valueName: "file"))
    var readyFile: String?

    @Flag(
        name: .customLong("md5"),
        help: "Computes the MD5 of every upload, as production does; uploads are then several times slower."
    )
    var computesMD5 = false

    @Flag(help: "Refuses requests to Cloud Storage without a token from this emulator's token endpoints.")
    var requireToken = false

    func validate() throws {
        guard (0...65_535).contains(gcsPort) else {
            throw ValidationError("Ports are numbers from 0 to 65535.")
        }
    }

    func run() throws {
        // Blocked before any thread starts: sigwait below is the only one to take them.
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGTERM, SIGINT] { sigaddset(&signals, signal) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)

        let control = EmulatorControl()
        let gcs = try startCloudStorage(control)
        let hub = try self.hub.start(root: root, host: host, control: control)
        let line = "ready gcs=\(gcs.baseURL) hub=\(hub.baseURL)"
        print(line)
        fflush(nil)
        if let readyFile { try write(line + "\n", to: readyFile) }

        var received: Int32 = 0
        sigwait(&signals, &received)
        hub.stop()
        gcs.stop()
    }

    private func startCloudStorage(_ control: EmulatorControl) throws -> CloudStorageEmulator {
        var configuration = CloudStorageEmulator.Configuration(root: "\(root)/gcs")
        configuration.host = host
        configuration.port = gcsPort
        configuration.buckets = bucket
        configuration.computesMD5 = computesMD5
        configuration.externalOrigin = gcsExternalURL
        configuration.requiresToken = requireToken
        do {
            return try CloudStorageEmulator(configuration, control: control)
        } catch {
            throw ValidationError(
                "Cloud Storage cannot start on \(host):\(gcsPort) with \(root): \(error). Choose another port or directory."
            )
        }
    }

    /// Written beside its name and renamed, so that whoever waits for the file reads all of it.
    private func write(_ text: String, to path: String) throws {
        let temporary = path + ".new"
        let file = try FileDescriptor(path: temporary, flags: O_WRONLY | O_CREAT | O_TRUNC)
        try Array(text.utf8).withUnsafeBytes { try file.write($0, at: 0) }
        _ = try retryingOnInterrupt { rename(temporary, path) }
    }
}
