import Checksums
package import LinuxPlatform
package import Manifests
package import ObjectStorage
import TransferEngine

/// What reading a checkpoint back found.
package struct CheckpointReport: Sendable {
    package enum Fault: String, Sendable {
        /// Nothing stands under its name, and nothing is kept aside.
        case missing
        /// Another content stands under its name.
        case replaced
        /// Its bytes are not those that were recorded.
        case damaged
    }

    package struct Problem: Sendable {
        package let path: SafePath
        package let fault: Fault
        package let message: String
    }

    package let record: CheckpointRecord
    package fileprivate(set) var verifiedFiles = 0
    package fileprivate(set) var verifiedBytes = 0
    package fileprivate(set) var problems: [Problem] = []
}

/// Reads every byte that a record names, and compares.
package struct CheckpointVerifier: Sendable {
    private let catalog: CheckpointCatalog
    private let reader: CheckpointReader
    private let options: ReadingOptions

    package init(_ catalog: CheckpointCatalog, _ options: ReadingOptions, time: any TimeSource) {
        self.catalog = catalog
        self.options = options
        reader = CheckpointReader(catalog.store, options, time: time)
    }

    /// - Throws: `notFound` when there is no such checkpoint, or it has no record; `integrity` when that cannot be read.
    ///   Faults of files are in the report. What does not match is read twice, for bytes may be wrong on their way only.
    package func verify(_ name: CheckpointName) async throws(CheckpointError) -> CheckpointReport {
        let checkpoint = try await catalog.recorded(name)
        let record = checkpoint.record
        var report = CheckpointReport(record: record)
        let problems = try await mapConcurrently(record.files, limit: options.maximumFiles) {
            file async throws(CheckpointError) in
            try await check(file, checkpoint.objects)
        }
        for (file, problem) in zip(record.files, problems) {
            if let problem {
                report.problems.append(problem)
            } else {
                report.verifiedFiles += 1
                report.verifiedBytes += file.size
            }
        }
        return report
    }

    private func check(
        _ file: CheckpointRecord.File,
        _ objects: CheckpointObjects
    ) async throws(CheckpointError) -> CheckpointReport.Problem? {
        func problem(_ fault: CheckpointReport.Fault, _ message: String) -> CheckpointReport.Problem {
            .init(path: file.path, fault: fault, message: message)
        }
        guard let found = objects.files[file.path] else { return problem(.missing, "nothing stands under its name") }
        guard found.generation == file.generation else {
            return problem(
                .replaced,
                "it has generation \(found.generation), the record names \(file.generation)"
            )
        }
        guard found.size == file.size else {
            return problem(.damaged, "the bucket has \(found.size) bytes of it, the record names \(file.size)")
        }
        for attempt in 0..<2 {
            do throws(CheckpointError) {
                let crc32c = try await reader.read(found)
                if crc32c == file.crc32c { return nil }
                if attempt == 1 {
                    return problem(.damaged, "its bytes have CRC32C \(crc32c), the record names \(file.crc32c)")
                }
            } catch {
                switch error.code {
                case .notFound: return problem(.missing, "it was removed while it was read")
                case .integrity where attempt == 0: continue
                case .integrity: return problem(.damaged, error.message)
                default: throw error
                }
            }
        }
        return nil
    }
}

extension CheckpointCatalog {
    /// A checkpoint with a record that can be read, whatever became of its files.
    func recorded(
        _ name: CheckpointName
    ) async throws(CheckpointError) -> (record: CheckpointRecord, generation: Generation, objects: CheckpointObjects) {
        guard let checkpoint = try await read(name) else {
            throw CheckpointError(.notFound, "there is no checkpoint \(place)/\(name)")
        }
        if let standing = checkpoint.standing { return (standing.record, standing.generation, checkpoint.objects) }
        if checkpoint.state == .torn {
            throw CheckpointError(.integrity, "\(place)/\(name): \(checkpoint.reasons.joined(separator: "; "))")
        }
        throw CheckpointError(
            .notFound,
            "\(place)/\(name) has no record: penstock checkpoint commit makes one when the checkpoint is complete"
        )
    }
}
