package import BlockCache
import Checksums
package import LinuxPlatform
import Manifests
package import ObjectStorage
package import Telemetry
package import TransferEngine

/// Opens files that are objects of a store, with the CRC tables that stand beside them.
///
/// A file of a snapshot whose table is missing or not believed is read as a whole before it opens, to make the table
/// anew; one that is not what the manifest says does not open. No byte of a snapshot is shown unproven.
package final class StoredContents: ContentOpener {
    private let store: any ObjectStore
    private let paths: PenstockPaths
    private let rebuilder: TableRebuilder
    private let fetchTimeout: Duration
    private let time: any TimeSource
    private let disk: DiskCache?
    private let hedger: Hedger?
    private let log: Log

    /// - Parameters:
    ///   - fetchTimeout: after this a request for bytes that an open needs has failed.
    ///   - disk: where blocks are kept beyond the life of the process; nil: nowhere.
    ///   - hedger: watches the reads of the store; nil: a request that hangs is waited for.
    package init(
        store: any ObjectStore,
        prefix: ObjectPrefix,
        fetchTimeout: Duration = .seconds(120),
        disk: DiskCache? = nil,
        hedger: Hedger? = nil,
        time: any TimeSource = SystemTime(),
        log: Log
    ) {
        self.store = store
        self.disk = disk
        self.hedger = hedger
        paths = PenstockPaths(prefix)
        self.fetchTimeout = fetchTimeout
        self.time = time
        rebuilder = TableRebuilder(pieceTimeout: fetchTimeout, time: time)
        self.log = log
    }

    package func open(
        _ facts: FileFacts,
        _ completion: @escaping @Sendable (Result<CachedContent, FilesystemError>) -> Void
    ) {
        let source = source(facts)
        // A file of one block is fetched whole, and the CRC32C of the manifest is all it takes to prove it: one request.
        guard facts.hasTable, facts.size > BlockGeometry.blockSize, let crc = facts.crc32c,
            let digest = facts.sha256.flatMap(SHA256Digest.init)
        else {
            let checks = ContentChecks.whole(facts.crc32c)
            return completion(.success(content(source, checks, facts)))
        }
        Task {
            do throws(ReadFailure) {
                let table = try await table(source, digest, crc, facts)
                completion(.success(content(source, .table(table), facts)))
            } catch {
                completion(.failure(FilesystemError(error)))
            }
        }
    }

    private func content(
        _ source: any RangedSource,
        _ checks: ContentChecks,
        _ facts: FileFacts
    ) -> CachedContent {
        guard let disk, let identity = identity(of: facts) else { return CachedContent(source: source, checks: checks) }
        return CachedContent(source: source, checks: checks, disk: disk, identity: identity)
    }

    /// Under which name a disk cache has the file's bytes; nil when they could not be told from others.
    package func identity(of facts: FileFacts) -> DiskIdentity? {
        facts.crc32c.map { crc in
            DiskIdentity(
                store: store.label,
                object: facts.object,
                generation: facts.generation,
                size: facts.size,
                crc32c: crc
            )
        }
    }

    private func table(
        _ source: any RangedSource,
        _ digest: SHA256Digest,
        _ crc: CRC32C,
        _ facts: FileFacts
    ) async throws(ReadFailure) -> CRCTable {
        let reason: String
        do {
            return try CRCTable(decoding: try await storedTable(digest, facts), size: facts.size, crc32c: crc)
        } catch let error as ObjectStoreError {
            // A store that does not answer for the table will not for the object either, and nothing is known of the table.
            if error.isTransient || error.code == .cancelled { throw failure(error, facts) }
            reason = error.description
        } catch let error as ManifestError {
            reason = error.description
        } catch {
            reason = "\(error)"
        }
        let object = LogValue(facts.object)
        log.error(
            "no CRC table that can be believed: the whole object is read to prove it; verify --repair stores a new one",
            ["object": object, "reason": LogValue(reason)]
        )
        do throws(ReadFailure) {
            let table = try await rebuilder.table(of: source, crc32c: crc)
            log.info("the object is proven, its CRC table stays in memory", ["object": object])
            return table
        } catch {
            let why = error == .corrupt ? "its bytes are not those of the manifest" : "\(error)"
            log.error(
                "an object without a CRC table cannot be proven and is not opened",
                [
                    "object": object, "reason": LogValue(why),
                ]
            )
            throw error
        }
    }

    private func storedTable(_ digest: SHA256Digest, _ facts: FileFacts) async throws -> [UInt8] {
        let name = try paths.crcTable(digest)
        let limit = CRCTable.encodedSize(of: facts.size)
        let (store, hedger) = (store, hedger)
        return try await within(fetchTimeout, of: time, "\(store.label)/\(name)") {
            () async throws(ObjectStoreError) in
            try await hedger.ask(.record) { () async throws(ObjectStoreError) in
                try await store.currentBytes(name, limit: limit)
            }
        }
    }

    private func failure(_ error: ObjectStoreError, _ facts: FileFacts) -> ReadFailure {
        log.error("cannot open a file", ["object": LogValue(facts.object), "error": LogValue(error)])
        return ReadFailure(error)
    }

    private func source(_ facts: FileFacts) -> any RangedSource {
        let source = plainSource(facts)
        return hedger.map { HedgedSource(source, $0) } ?? source
    }

    private func plainSource(_ facts: FileFacts) -> any RangedSource {
        let attributes = ObjectAttributes(
            name: facts.object,
            generation: facts.generation,
            size: facts.size,
            crc32c: facts.crc32c
        )
        let source = store.source(attributes)
        guard facts.hasTable, let digest = facts.sha256.flatMap(SHA256Digest.init),
            let aside = try? paths.replaced(digest), let crc = facts.crc32c
        else { return source }
        return KeptAsideSource(source, store: store, aside: aside, crc32c: crc, hedger: hedger, log: log)
    }
}
