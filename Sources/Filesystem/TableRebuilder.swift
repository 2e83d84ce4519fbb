import BlockCache
import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage

/// Makes the CRC table of an object anew, from all of its bytes, where the stored one is missing or not believed.
///
/// A table made so is as good as a stored one: it is given out only when its granules combine to the CRC32C in the
/// manifest. However many objects need one at the same time, they share one small pool of buffers.
final class TableRebuilder: Sendable {
    private static let pieceSize = 2 << 20
    private static let piecesAtOnce = 4

    private let pool = BufferPool(bufferSize: pieceSize, capacity: piecesAtOnce)
    private let pieceTimeout: Duration
    private let time: any TimeSource

    /// - Parameter pieceTimeout: after this a read of 2 MiB has failed, whatever the source still tries.
    init(pieceTimeout: Duration, time: any TimeSource) {
        self.pieceTimeout = pieceTimeout
        self.time = time
    }

    /// Reads the whole object, and once more when what came is not it.
    ///
    /// - Parameter crc32c: of the whole object, from the manifest.
    /// - Throws: `corrupt` when both readings gave other bytes; what the source says when it fails.
    func table(of source: any RangedSource, crc32c: CRC32C) async throws(ReadFailure) -> CRCTable {
        defer { pool.trim() }
        for _ in 1...2 {
            let granules = try await granules(of: source)
            if let table = try? CRCTable(granules: granules, size: source.size), table.combined == crc32c {
                return table
            }
        }
        throw .corrupt
    }

    /// The CRC of every granule, in order.
    private func granules(of source: any RangedSource) async throws(ReadFailure) -> [CRC32C] {
        let pieces = stride(from: 0, to: source.size, by: Self.pieceSize).map { offset in
            ByteRange(offset: offset, count: min(Self.pieceSize, source.size - offset))
        }
        var granules = [[CRC32C]](repeating: [], count: pieces.count)
        let failure = await withTaskGroup(of: (Int, Result<[CRC32C], ReadFailure>).self) { group in
            var failure: ReadFailure?
            var next = 0
            func start() {
                guard failure == nil, next < pieces.count else { return }
                let (index, piece) = (next, pieces[next])
                next += 1
                group.addTask { (index, await self.read(piece, of: source)) }
            }
            for _ in 0..<Self.piecesAtOnce { start() }
            while let (index, result) = await group.next() {
                switch result {
                case .success(let crcs):
                    granules[index] = crcs
                    start()
                case .failure(let error):
                    // Those that follow from the cancel are not heard.
                    if failure == nil { failure = error }
                    group.cancelAll()
                }
            }
            return failure
        }
        if let failure { throw failure }
        return granules.flatMap { $0 }
    }

    private func read(_ piece: ByteRange, of source: any RangedSource) async -> Result<[CRC32C], ReadFailure> {
        do {
            let buffer = try await pool.leaseWhenFree()
            let deadline = time.now().advanced(by: pieceTimeout)
            try await source.read(RangeRead(piece, into: buffer, deadline: deadline))
            let bytes = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<piece.count])
            return .success(
                stride(from: 0, to: bytes.count, by: CRCTable.granuleSize).map { offset in
                    let end = min(offset + CRCTable.granuleSize, bytes.count)
                    return CRC32C.of(UnsafeRawBufferPointer(rebasing: bytes[offset..<end]))
                }
            )
        } catch let error as ObjectStoreError {
            return .failure(ReadFailure(error))
        } catch {
            return .failure(.cancelled)
        }
    }
}
