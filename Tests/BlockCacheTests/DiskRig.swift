import Checksums
import Glibc
import LinuxPlatform
import Manifests
import ObjectStorage
import Telemetry
import TestSupport

@testable import BlockCache

/// A process with a cache on a disk, as far as a test needs one: what it is made anew over the same directory is a restart.
struct DiskRig {
    let disk: DiskCache
    let cache: BlockCache
    let metrics: CacheMetrics

    init(
        _ directory: String,
        limit: Int = 1 << 30,
        memory: Int = 16 << 20,
        patience: Duration = .seconds(20),
        readPatience: Duration = .seconds(20),
        scrubAge: Duration = .seconds(3600),
        time: any TimeSource = SystemTime()
    ) throws(Errno) {
        metrics = CacheMetrics(MetricRegistry())
        let options = DiskCache.Options(
            directory: directory,
            limit: limit,
            floor: 0,
            claimPatience: patience,
            readPatience: readPatience,
            scrubAge: scrubAge
        )
        disk = try DiskCache(options, metrics: metrics, time: time)
        cache = BlockCache(budget: memory, metrics: metrics)
    }

    func content(_ object: DiskObject, _ source: any RangedSource) -> CachedContent {
        CachedContent(source: source, checks: object.checks, disk: disk, identity: object.identity)
    }

    /// Reads everything, a block after the other, and waits for the disk.
    func readAll(_ content: CachedContent) async throws(ReadFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < content.size {
            let count = min(BlockGeometry.blockSize, content.size - bytes.count)
            bytes += try await cache.read(content, ByteRange(offset: bytes.count, count: count))
        }
        await settle()
        return bytes
    }

    /// Waits until nothing is on its way to the disk or being read back.
    func settle() async {
        while !cache.isIdle { await Task.yield() }
        await disk.settle()
    }
}

/// An object of a bucket, with its checksums.
struct DiskObject {
    let bytes: [UInt8]
    let checks: ContentChecks
    let identity: DiskIdentity

    init(_ name: String = "model", size: Int = 3_000_000, seed: UInt64 = 7, generation: Int64 = 1) throws {
        var random = SeededRandom(seed: seed)
        bytes = random.bytes(size)
        checks = .table(try CRCTable.of(bytes))
        identity = DiskIdentity(
            store: "gs://bucket",
            object: try ObjectName(name),
            generation: Generation(generation),
            size: size,
            crc32c: CRC32C.of(bytes)
        )
    }

    func data(in directory: String) -> String { "\(directory)/blocks-1/\(identity.name).data" }
    func table(in directory: String) -> String { "\(directory)/blocks-1/\(identity.name).table" }
}

extension BlockCache {
    func read(_ content: CachedContent, _ range: ByteRange) async throws(ReadFailure) -> [UInt8] {
        let result: Result<[UInt8], ReadFailure> = await withCheckedContinuation { continuation in
            read(newReadID(), content, range) { continuation.resume(returning: $0.map { $0.flatMap(Array.init) }) }
        }
        return try result.get()
    }
}

extension BackingFile {
    /// Everything in it, also behind where it should end.
    var contents: [UInt8] {
        get throws(Errno) {
            let file = FileDescriptor(owning: dup(descriptor))
            let buffer = BufferLease(size: size + 4096)
            return Array(buffer.bytes[..<(try file.read(into: buffer.bytes, at: 0))])
        }
    }
}
