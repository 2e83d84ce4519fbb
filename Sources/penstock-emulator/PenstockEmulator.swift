import ArgumentParser
import Emulators
import Glibc
import LinuxPlatform

@main
struct PenstockEmulator: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "penstock-emulator",
        abstract: "Serves a Cloud Storage on loopback, for trying Penstock out and for tests.",
        discussion: """
            Buckets live in the directory given by --root and survive a restart. When it is ready, the program prints \
            one line with its base URLs; point clients at them:

                STORAGE_EMULATOR_HOST=http://127.0.0.1:9000 penstock ls gs://ai-models

            Faults, latency, bandwidth and damaged bytes are scripted through POST /_emulator/faults; see
            docs/EMULATOR.md. SIGTERM and SIGINT end it.
            """
    )

    @Option(help: ArgumentHelp("Where buckets are kept; made when it is not there.", valueName: "dir"))
    var root: String

    @Option(help: ArgumentHelp("The address to listen on.", valueName: "ipv4"))
    var host = "127.0.0.1"

    @Option(help: ArgumentHelp("The port of Cloud Storage; 0 takes a free one.", valueName: "port"))
    var gcsPort = 9000

    @Option(help: ArgumentHelp("A bucket to make if it is not there. May be given often.", valueName: "name"))
    var bucket: [String] = []

    @Option(help: ArgumentHelp("Writes the ready line to a file too, once everything listens.", valueName: "file"))
    var readyFile: String?

    @Flag(help: "Computes the MD5 of every upload, as production does; uploads are then several times slower.")
    var md5 = false

    @Flag(help: "Refuses requests to Cloud Storage without a token from this emulator's token endpoints.")
    var requireToken = false

    func validate() throws {
        guard (0...65_535).contains(gcsPort) else { throw ValidationError("Ports are numbers from 0 to 65535.") }
    }

    func run() throws {
        // Blocked before any thread starts: sigwait below is the only one to take them.
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGTERM, SIGINT] { sigaddset(&signals, signal) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)

        let gcs = try startCloudStorage()
        let line = "ready gcs=\(gcs.baseURL)"
        print(line)
        fflush(nil)
        if let readyFile { try write(line + "\n", to: readyFile) }

        var received: Int32 = 0
        sigwait(&signals, &received)
        gcs.stop()
    }

    private func startCloudStorage() throws -> CloudStorageEmulator {
        var configuration = CloudStorageEmulator.Configuration(root: "\(root)/gcs")
        configuration.host = host
        configuration.port = gcsPort
        configuration.buckets = bucket
        configuration.computesMD5 = md5
        configuration.requiresToken = requireToken
        do {
            return try CloudStorageEmulator(configuration)
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
