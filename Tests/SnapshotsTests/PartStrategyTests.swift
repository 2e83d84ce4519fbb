import Checksums
import Manifests
import ObjectStorage
import Testing

@testable import Snapshots

struct PartStrategyTests {
    private static func choose(
        size: Int = 1 << 30,
        isGit: Bool = false,
        unit: Int = 8 << 20,
        softDelete: Int?,
        storageClass: String? = "STANDARD"
    ) throws -> PartStrategy {
        let hash: ContentHash = isGit ? .git(SHA1Digest.of([])) : .sha256(SHA256Digest.of([UInt8]()))
        let file = SourceFile(path: try SafePath("model.safetensors"), size: size, hash: hash)
        let layout = StorageLayout(
            isHierarchical: false,
            locationType: "region",
            location: "EU",
            softDeleteRetentionSeconds: softDelete,
            defaultStorageClass: storageClass
        )
        return PartStrategy.choose(for: file, unitSize: unit, in: layout)
    }

    @Test func componentsWhereDeletingIsFree() throws {
        #expect(try Self.choose(softDelete: 0) == .components)
    }

    @Test func multipartWhereDeletedObjectsAreKept() throws {
        #expect(try Self.choose(softDelete: 604_800) == .multipart)
    }

    @Test func multipartWhereStorageHasALeastTime() throws {
        #expect(try Self.choose(softDelete: 0, storageClass: "NEARLINE") == .multipart)
    }

    @Test func multipartWhereTheBucketIsNotForUsToKnow() throws {
        #expect(try Self.choose(softDelete: nil) == .multipart)
        let file = SourceFile(path: try SafePath("a"), size: 1 << 30, hash: .sha256(SHA256Digest.of([UInt8]())))
        #expect(PartStrategy.choose(for: file, unitSize: 8 << 20, in: nil) == .multipart)
    }

    @Test func componentsWherePartsWouldBeTooSmallOrTooMany() throws {
        #expect(try Self.choose(unit: 4 << 20, softDelete: 604_800) == .components)
        #expect(try Self.choose(size: 10_000 * (8 << 20), softDelete: 604_800) == .multipart)
        #expect(try Self.choose(size: 10_000 * (8 << 20) + 1, softDelete: 604_800) == .components)
    }

    @Test func componentsWhereTheSHA256IsNotKnownBefore() throws {
        #expect(try Self.choose(isGit: true, softDelete: 604_800) == .components)
    }
}
