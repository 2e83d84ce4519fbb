import Checksums
package import LinuxPlatform
package import Manifests
package import ObjectStorage
import Publication
import TransferEngine

// Proves a prefix anew, from the bucket alone: every byte of every file through SHA-256 (and the git hash where the Hub
// knows the file by it), every granule against the CRC table, every attribute against the manifest. What the Hub said
// when the snapshot was conveyed is in the manifest, which proves itself.
//
// Bytes can be damaged on their way to us, too. So nothing is called damaged that was not read twice: the piece that
// did not match its granules' CRCs, or the whole file where there is no table to tell the piece.

/// What proving a prefix anew found.
package struct VerificationReport: Sendable {
    package enum Fault: String, Sendable {
        /// The manifest names it and nothing stands under its name.
        case missing
        /// Another content was written under its name.
        case replaced
        /// Its bytes are not those that were proven when it was conveyed.
        case damaged
        /// The file is right; its CRC table is missing or wrong, so reads through a mount cannot be checked.
        case table
    }

    package struct Problem: Sendable {
        package var path: SafePath
        package var fault: Fault
        package var message: String
    }

    package var manifest: SnapshotManifest
    package var verifiedFiles = 0
    package var verifiedBytes = 0
    package var problems: [Problem] = []
    /// Objects under the prefix that the manifest does not name.
    package var unlisted: [SafePath] = []
}

/// Verifies what stands under one prefix.
package struct SnapshotVerifier: Sendable {
    private let store: any ObjectStore
    private let paths: PenstockPaths
    private let options: ConveyorOptions
    private let time: any TimeSource
    private let observer: ConveyanceObserver

    package init(
        _ store: any ObjectStore,
        prefix: ObjectPrefix,
        options: ConveyorOptions,
        time: any TimeSource,
        observer: @escaping ConveyanceObserver
    ) {
        self.store = store
        paths = PenstockPaths(prefix)
        self.options = options
        self.time = time
        self.observer = observer
    }

    /// - Throws: `notFound` when there is no manifest, `integrity` when it cannot be read. Faults of files are in the
    ///   report.
    package func verify() async throws(SnapshotError) -> VerificationReport {
        let (manifest, listing) = try await look()
        var report = VerificationReport(manifest: manifest)
        report.unlisted = listing.files.keys.filter { manifest.file(at: $0) == nil }.sorted()
        let workers = try WorkerPool.hashing()
        let resources = TransferResources(
            store: store,
            paths: paths,
            lease: Generation(0),
            budget: TransferBudget(memory: options.memory, total: manifest.totalSize),
            workers: workers,
            time: time,
            options: options,
            observer: observer
        )
        let outcome = await check(manifest.files, listing, resources)
        for (file, problem) in zip(manifest.files, try outcome.get()) {
            if let problem {
                report.problems.append(problem)
            } else {
                report.verifiedFiles += 1
                report.verifiedBytes += file.size
            }
        }
        return report
    }

    private func look() async throws(SnapshotError) -> (SnapshotManifest, DestinationListing) {
        let place = "\(store.label)/\(paths.prefix)"
        do throws(PublicationError) {
            guard let standing = try await SnapshotManifest.standing(store, paths) else {
                throw PublicationError(.store, "", cause: ObjectStoreError(.notFound, "\(place) holds no manifest"))
            }
            let listing = try await during("listing \(place)") { () async throws(ObjectStoreError) in
                try await DestinationListing(store, paths)
            }
            return (standing.manifest, listing)
        } catch {
            if error.cause?.code == .notFound {
                let advice = "convey it with penstock snapshot; what other tools put there cannot be verified"
                throw SnapshotError(.notFound, "\(place) holds no snapshot (no manifest): \(advice)")
            }
            throw SnapshotError(error)
        }
    }

    private func check(
        _ files: [SnapshotManifest.File],
        _ listing: DestinationListing,
        _ resources: TransferResources
    ) async -> Result<[VerificationReport.Problem?], SnapshotError> {
        do throws(SnapshotError) {
            return .success(
                try await mapConcurrently(files, limit: options.maximumFiles) { file async throws(SnapshotError) in
                    try await check(file, listing, resources)
                }
            )
        } catch {
            return .failure(error)
        }
    }
}

// MARK: - One file

extension SnapshotVerifier {
    private func check(
        _ file: SnapshotManifest.File,
        _ listing: DestinationListing,
        _ resources: TransferResources
    ) async throws(SnapshotError) -> VerificationReport.Problem? {
        func problem(_ fault: VerificationReport.Fault, _ message: String) -> VerificationReport.Problem {
            .init(path: file.path, fault: fault, message: message)
        }
        guard let standing = listing.files[file.path] else { return problem(.missing, "nothing stands under its name") }
        guard standing.generation == file.generation else {
            let wanted = file.generation.map(\.description) ?? "none"
            return problem(.replaced, "it has generation \(standing.generation), the manifest names \(wanted)")
        }
        let table = try await storedTable(file)
        var look = try await look(at: standing, file, table.table, resources)
        if let complaint = look.complaint, !look.isCertain {
            let second = try await self.look(at: standing, file, table.table, resources)
            if second.complaint == nil { observer(.misread(file.path, reason: complaint)) }
            look = second
        }
        if let complaint = look.complaint { return problem(.damaged, complaint) }
        guard file.needsTable else { return nil }
        if let complaint = table.complaint { return problem(.table, complaint) }
        let expected = try? CRCTable(granules: look.granules, size: file.size)
        return table.table == expected ? nil : problem(.table, "its CRC table does not match the file")
    }

    /// What one look at a file's bytes showed.
    private struct Look {
        var granules: [CRC32C] = []
        var complaint: String?
        /// Another look would show the same: what is wrong was read twice, or stands in the object's attributes.
        var isCertain = false
    }

    private func look(
        at standing: ObjectAttributes,
        _ file: SnapshotManifest.File,
        _ table: CRCTable?,
        _ resources: TransferResources
    ) async throws(SnapshotError) -> Look {
        if let stated = standing.crc32c, stated != file.crc32c {
            return Look(
                complaint: "the bucket has CRC32C \(stated) for it, conveyed was \(file.crc32c)",
                isCertain: true
            )
        }
        let reading: Prover.Reading
        do throws(SnapshotError) {
            let wantsGitOID = file.gitOID != nil
            reading = try await Prover(resources).read(standing, wantsGitOID: wantsGitOID, comparing: table) { offset in
                observer(.misread(file.path, reason: "the granule at byte \(offset) did not have its CRC32C"))
            }
        } catch {
            guard error.code == .integrity else { throw error }
            return Look(complaint: error.message)
        }
        var look = Look(granules: reading.granules)
        if let granule = reading.damagedGranule {
            let offset = granule * CRCTable.granuleSize
            look.complaint = "the granule at byte \(offset) does not have its CRC32C, read twice"
            look.isCertain = true
        } else if reading.digests.sha256 != file.sha256 {
            look.complaint = "its bytes have SHA-256 \(reading.digests.sha256), conveyed was \(file.sha256)"
        } else if let oid = file.gitOID, reading.digests.gitOID != oid {
            look.complaint = "its bytes do not have the git hash \(oid) that the Hub has for it"
        } else if reading.digests.crc32c != file.crc32c {
            look.complaint = "its CRC32C is not the one in the manifest"
        }
        return look
    }

    /// The CRC table that stands beside a file, when it proves itself; otherwise what is wrong with it.
    private func storedTable(
        _ file: SnapshotManifest.File
    ) async throws(SnapshotError) -> (table: CRCTable?, complaint: String?) {
        guard file.needsTable else { return (nil, nil) }
        let limit = CRCTable.encodedSize(of: file.size)
        do {
            let name = try paths.crcTable(file.sha256)
            let (_, bytes) = try await store.contents(name, generation: nil, limit: limit)
            return (try CRCTable(decoding: bytes, size: file.size, crc32c: file.crc32c), nil)
        } catch let error as ManifestError {
            return (nil, "\(error)")
        } catch let error as ObjectStoreError {
            switch error.code {
            case .notFound: return (nil, "it has no CRC table")
            case .integrity: return (nil, "its CRC table is damaged: \(error)")
            default: throw SnapshotError(error, while: "reading the CRC table of \(file.path)")
            }
        } catch {
            throw SnapshotError(.internal, "reading the CRC table of \(file.path): \(error)")
        }
    }
}
