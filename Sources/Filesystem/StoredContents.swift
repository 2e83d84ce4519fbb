package import BlockCache
import Checksums
import LinuxPlatform
import Manifests
package import ObjectStorage
package import Telemetry

/// Opens files that are objects of a store, with the CRC tables that stand beside them.
///
/// A file of a snapshot without a table that can be believed is checked as a whole, and a line says so.
package final class StoredContents: ContentOpener {
    private let store: any ObjectStore
    private let paths: PenstockPaths
    private let log: Log

    package init(store: any ObjectStore, prefix: ObjectPrefix, log: Log) {
        self.store = store
        paths = PenstockPaths(prefix)
        self.log = log
    }

    package func open(
        _ facts: FileFacts,
        _ completion: @escaping @Sendable (Result<CachedContent, FilesystemError>) -> Void
    ) {
        let source = source(facts)
        guard facts.hasTable, facts.size > BlockGeometry.granuleSize, let crc = facts.crc32c,
            let digest = facts.sha256.flatMap(SHA256Digest.init)
        else {
            let checks = ContentChecks.whole(facts.crc32c)
            return completion(.success(CachedContent(source: source, checks: checks)))
        }
        Task {
            let checks = await self.checks(digest, crc, facts)
            completion(.success(CachedContent(source: source, checks: checks)))
        }
    }

    private func checks(_ digest: SHA256Digest, _ crc: CRC32C, _ facts: FileFacts) async -> ContentChecks {
        let reason: String
        do {
            let limit = CRCTable.encodedSize(of: facts.size)
            let stored = try await store.contents(paths.crcTable(digest), generation: nil, limit: limit)
            let table = try CRCTable(decoding: stored.bytes, size: facts.size, crc32c: crc)
            return .table(table)
        } catch let error as ObjectStoreError {
            reason = error.description
        } catch let error as ManifestError {
            reason = error.description
        } catch {
            reason = "\(error)"
        }
        log.error(
            "no CRC table that can be believed, the object is checked only as a whole",
            ["object": LogValue(facts.object), "reason": LogValue(reason)]
        )
        return .whole(crc)
    }

    private func source(_ facts: FileFacts) -> any RangedSource {
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
        return KeptAsideSource(source, store: store, aside: aside, crc32c: crc, log: log)
    }
}
