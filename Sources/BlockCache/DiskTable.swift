import Checksums
import ObjectStorage

/// The form of the table that stands beside a data file of the disk cache: whose bytes they are, and which blocks are there.
///
/// All numbers are little-endian. Page 0 is the header, sealed by a CRC32C and written once; page 1 holds the use record and
/// the pin, apart from each other because several processes write the one and few the other;
/// from `marksOffset` on, four bytes a block: a number that belongs to this content and this block says that the block
/// is there, anything else that it is not. Each mark is written with one call and by itself, so processes that share the
/// directory need no lock for it, and a flipped bit or a zeroed page only takes blocks away. A table is never believed
/// further than what it says leads to bytes that match their checksums.
enum DiskTable {
    static let page = 4096
    static let useOffset = page
    static let marksOffset = 2 * page
    private static let magic = Array("PENSTBLK".utf8)
    private static let version: UInt32 = 1
    private static let textLimit = 2000

    static func size(of identity: DiskIdentity) -> Int { marksOffset + 4 * identity.blockCount }
    static func markOffset(_ block: Int) -> Int { marksOffset + 4 * block }

    // MARK: Header

    /// The names stand there for people; the digest decides.
    static func header(_ identity: DiskIdentity) -> [UInt8] {
        let store = Array(identity.store.utf8.prefix(textLimit))
        let object = Array(identity.object.value.utf8.prefix(textLimit))
        var bytes = magic + LittleEndian.bytes(version) + LittleEndian.bytes(UInt32(BlockGeometry.blockSize))
        bytes += LittleEndian.bytes(UInt64(identity.size)) + LittleEndian.bytes(identity.generation.value)
        bytes += LittleEndian.bytes(identity.crc32c.value) + LittleEndian.bytes(UInt32(store.count))
        bytes += LittleEndian.bytes(UInt32(object.count)) + LittleEndian.bytes(UInt32(identity.blockCount))
        bytes += identity.digest.bytes + store + object
        bytes += Array(repeating: 0, count: page - 4 - bytes.count)
        return bytes + LittleEndian.bytes(CRC32C.of(bytes).value)
    }

    /// Whether these bytes begin with exactly this content's header.
    static func hasHeader(_ bytes: [UInt8], of identity: DiskIdentity) -> Bool {
        guard bytes.count >= page, Array(bytes[..<magic.count]) == magic else { return false }
        let seal: UInt32 = LittleEndian.number(bytes[(page - 4)..<page])
        return CRC32C.of(Array(bytes[..<(page - 4)])).value == seal && bytes[..<page] == header(identity)[...]
    }

    // MARK: Marks

    /// What stands in the table for a block that is there; never 0.
    static func mark(_ identity: DiskIdentity, _ block: Int) -> UInt32 {
        CRC32C.of(identity.digest.bytes + LittleEndian.bytes(UInt64(block))).value | 1
    }

    /// Which of the blocks are marked, in the bytes of their marks; missing bytes are missing blocks.
    static func marked(_ marks: [UInt8], _ blocks: Range<Int>, of identity: DiskIdentity) -> [Int] {
        blocks.filter { block in
            let start = 4 * (block - blocks.lowerBound)
            guard start + 4 <= marks.count else { return false }
            return LittleEndian.number(marks[start..<(start + 4)]) == mark(identity, block)
        }
    }

    // MARK: Use

    /// What decides about eviction.
    struct Use: Hashable, Sendable {
        /// In seconds since 1970.
        var last: Int64
        /// It was read again after it had been filled.
        var isProtected: Bool
    }

    static let useSize = 16

    static func encode(_ use: Use) -> [UInt8] {
        let bytes = LittleEndian.bytes(use.last) + LittleEndian.bytes(UInt32(use.isProtected ? 1 : 0))
        return bytes + LittleEndian.bytes(CRC32C.of(bytes).value)
    }

    /// Nil for what was torn or never written.
    static func use(_ bytes: [UInt8]) -> Use? {
        guard bytes.count == useSize, LittleEndian.number(bytes[12...]) == CRC32C.of(Array(bytes[..<12])).value else {
            return nil
        }
        let flags: UInt32 = LittleEndian.number(bytes[8..<12])
        return Use(last: LittleEndian.number(bytes[..<8]), isProtected: flags & 1 == 1)
    }

    // MARK: Pin

    static let pinOffset = useOffset + 64
    static let pinSize = 12

    /// Says that the content of this name is to stay, and since when, in seconds since 1970. Sealed with the name: what is
    /// copied to another table pins nothing there.
    static func encode(pinnedSince since: Int64, name: String) -> [UInt8] {
        LittleEndian.bytes(since) + LittleEndian.bytes(pinSeal(since, name))
    }

    /// Since when it is pinned; nil for what is not, was torn, or belongs to another.
    static func pin(_ bytes: [UInt8], name: String) -> Int64? {
        guard bytes.count == pinSize else { return nil }
        let since: Int64 = LittleEndian.number(bytes[..<8])
        return since > 0 && LittleEndian.number(bytes[8...]) == pinSeal(since, name) ? since : nil
    }

    private static func pinSeal(_ since: Int64, _ name: String) -> UInt32 {
        CRC32C.of(Array("pinned".utf8) + Array(name.utf8) + LittleEndian.bytes(since)).value
    }
}
