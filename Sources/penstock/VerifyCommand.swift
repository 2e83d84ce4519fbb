import ArgumentParser
import HuggingFaceHub
import LinuxPlatform
import Manifests
import ObjectStorage
import Snapshots
import Telemetry

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Prove a conveyed snapshot again: every byte in the bucket, against the Hub's hashes.",
        discussion: """
            Reads every object that the manifest names and compares SHA-256, git hash, CRC32C, generation and the CRC
            tables that mounts check their reads against. Exits 3 when anything differs. --repair fetches what is wrong
            from the Hub, at the recorded commit, and publishes it.
            """
    )

    @Argument(help: "gs://bucket/prefix or file:///directory")
    var destination: Destination

    @Flag(help: "Fetch what is wrong again, from the Hub at the commit that the manifest names.")
    var repair = false

    @Option(help: ArgumentHelp("Hub token, for --repair; better HF_TOKEN.", valueName: "token"))
    var token: String?

    @OptionGroup var transfer: TransferOptions
    @OptionGroup var logging: LogOptions
    @OptionGroup var store: StoreOptions

    func run() async throws {
        let command = self
        try await reporting { () async throws(CommandFailure) in
            let result = await Interruption.cancelling { () async -> Result<Void, CommandFailure> in
                do throws(CommandFailure) { return .success(try await command.verify()) } catch {
                    return .failure(error)
                }
            }
            try result.get()
        }
    }

    private func verify() async throws(CommandFailure) {
        let display = ConveyanceDisplay(ConveyanceDisplay.style(json: transfer.json, quiet: transfer.quiet))
        let services = try Services(log: logging.log(display))
        let objects = try await services.store(destination, store)
        do throws(SnapshotError) {
            let verifier = SnapshotVerifier(
                objects,
                prefix: destination.prefix,
                options: transfer.conveyor,
                time: SystemTime(),
                observer: display.observer
            )
            let report = try await verifier.verify()
            display.clear()
            show(report)
            if report.problems.isEmpty { return }
            guard repair else {
                let count = report.problems.count
                throw SnapshotError(
                    .integrity,
                    "\(count) of \(report.manifest.files.count) files are not as they were proven"
                )
            }
            try await fix(report, objects, services, display)
        } catch {
            display.clear()
            throw CommandFailure(error)
        }
    }

    private func fix(
        _ report: VerificationReport,
        _ objects: any ObjectStore,
        _ services: Services,
        _ display: ConveyanceDisplay
    ) async throws(SnapshotError) {
        let recorded = report.manifest.source
        let source: HubSnapshot
        do throws(CommandFailure) {
            let hub = try services.hub(token: token, workers: transfer.maxWorkers, observer: HubObserver())
            let reference = try Self.reference(recorded)
            source = try await Self.resolve(hub, reference, report.manifest)
        } catch {
            throw SnapshotError(.notFound, "cannot repair from the Hub: \(error.message)")
        }
        var options = transfer.conveyor
        options.distrusted = Set(report.problems.map(\.path))
        options.overwrite = true
        let conveyor = Conveyor(
            to: objects,
            prefix: destination.prefix,
            options: options,
            time: SystemTime(),
            observer: display.observer
        )
        let repaired = try await conveyor.convey(source)
        display.clear()
        if transfer.json {
            standardOutput("{\"event\":\"repaired\",\"files\":\(report.problems.count)}\n")
        } else {
            standardOutput("repaired \(report.problems.count) files from \(repaired.manifest.source.repository)\n")
        }
    }

    private static func reference(
        _ source: SnapshotManifest.Source
    ) throws(CommandFailure) -> (repository: RepositoryID, revision: Revision) {
        do throws(SnapshotError) {
            return try SnapshotCommand.reference(source.repository, source.type.rawValue, source.revision)
        } catch {
            throw CommandFailure(error)
        }
    }

    /// The commit that the manifest names: a branch may have moved since.
    private static func resolve(
        _ hub: HubClient,
        _ reference: (repository: RepositoryID, revision: Revision),
        _ manifest: SnapshotManifest
    ) async throws(CommandFailure) -> HubSnapshot {
        do throws(SnapshotError) {
            let commit: Revision
            do throws(HubError) {
                commit = try Revision(manifest.source.commit)
            } catch {
                throw SnapshotError(error)
            }
            return try await HubSnapshot.resolve(
                hub,
                reference.repository,
                commit,
                include: manifest.filters.include,
                exclude: manifest.filters.exclude,
                layout: manifest.layout,
                recordedAs: reference.revision
            )
        } catch {
            throw CommandFailure(error)
        }
    }

    private func show(_ report: VerificationReport) {
        for problem in report.problems {
            let message = Redaction.redacted(problem.message)
            if transfer.json {
                standardOutput(
                    "{\"event\":\"problem\",\"path\":\(EventJSON.quoted(problem.path.value)),\"fault\":"
                        + "\"\(problem.fault.rawValue)\",\"message\":\(EventJSON.quoted(message))}\n"
                )
            } else {
                standardOutput("\(problem.fault.rawValue)  \(problem.path): \(message)\n")
            }
        }
        if transfer.json {
            let fields = [
                ("verified_files", report.verifiedFiles), ("verified_bytes", report.verifiedBytes),
                ("problems", report.problems.count), ("unlisted", report.unlisted.count),
            ]
            standardOutput(EventJSON.object("verified", fields) + "\n")
            return
        }
        let source = report.manifest.source
        let size = HumanReadable.bytes(report.verifiedBytes)
        standardOutput("\(destination)  \(source.repository)@\(source.commit)  ")
        standardOutput("\(report.verifiedFiles) files, \(size) proven\n")
        if !report.unlisted.isEmpty {
            standardOutput("\(report.unlisted.count) objects here are not part of the snapshot\n")
        }
    }
}
