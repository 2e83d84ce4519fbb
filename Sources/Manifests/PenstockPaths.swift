package import Checksums
package import ObjectStorage

/// Where everything of Penstock's own stands under a prefix: the one place that knows these names.
///
/// Each name throws `invalidName` when the prefix is so long that the name would pass 1,024 bytes.
package struct PenstockPaths: Hashable, Sendable {
    /// The directory under the prefix that is Penstock's own. No file of a snapshot may stand in it, mounts hide it.
    package static let directory = ".penstock"

    package let prefix: ObjectPrefix

    package init(_ prefix: ObjectPrefix) { self.prefix = prefix }

    /// Whether `path` lies in Penstock's own directory, or is it.
    package static func isReserved(_ path: SafePath) -> Bool {
        path.value.utf8.prefix { $0 != UInt8(ascii: "/") }.elementsEqual(directory.utf8)
    }

    /// Everything of Penstock's own under the prefix, for listings.
    package var everything: String { prefix.value + Self.directory + "/" }

    /// The commit record, written last.
    package var manifest: ObjectName {
        get throws(ObjectStoreError) { try own("manifest.json") }
    }

    /// What is being published right now.
    package var intent: ObjectName {
        get throws(ObjectStoreError) { try own("intent.json") }
    }

    /// Who is conveying.
    package var lease: ObjectName {
        get throws(ObjectStoreError) { try own("lease") }
    }

    /// Which mount writes below the prefix.
    package var writer: ObjectName {
        get throws(ObjectStoreError) { try own("writer") }
    }

    /// The granule CRCs of the content with this hash.
    package func crcTable(_ content: SHA256Digest) throws(ObjectStoreError) -> ObjectName {
        try own("crc/\(content)")
    }

    /// The previous version's file of this content, kept aside during an update and for a while after.
    package func replaced(_ content: SHA256Digest) throws(ObjectStoreError) -> ObjectName {
        try own("replaced/\(content)")
    }

    /// For listings: every part of the transfer, whoever uploaded it.
    package func parts(_ transfer: TransferID) -> String { "\(everything)parts/\(transfer)/" }

    /// The piece of a transfer that begins at `offset`, uploaded by the holder of the lease with this generation.
    ///
    /// Offsets have sixteen digits, so that byte order is the content's order.
    package func part(
        _ transfer: TransferID,
        lease: Generation,
        offset: Int
    ) throws(ObjectStoreError) -> ObjectName {
        try own("parts/\(transfer)/\(lease)/\(padded(offset))")
    }

    /// What composing parts gave on the way to the whole, numbered from 0 within its level of the tree.
    package func composite(
        _ transfer: TransferID,
        lease: Generation,
        level: Int,
        index: Int
    ) throws(ObjectStoreError) -> ObjectName {
        try own("parts/\(transfer)/\(lease)/level-\(level)-\(padded(index))")
    }

    /// For listings: every saved hash state of the transfer.
    package func states(_ transfer: TransferID) -> String { "\(everything)state/\(transfer)/" }

    /// The hash state after the first `offset` bytes of the transfer.
    package func state(_ transfer: TransferID, offset: Int) throws(ObjectStoreError) -> ObjectName {
        try own("state/\(transfer)/\(padded(offset))")
    }

    /// The state after the first `offset` bytes of a multipart upload that the holder of this lease began.
    package func uploadState(
        _ transfer: TransferID,
        lease: Generation,
        offset: Int
    ) throws(ObjectStoreError) -> ObjectName {
        try own("state/\(transfer)/\(lease)/\(padded(offset))")
    }

    /// For listings: every staged file, and every multipart upload that is to become one.
    package var allStaged: String { "\(everything)staged/" }

    /// A whole, verified file that waits to be published, by the holder of the lease with this generation.
    package func staged(_ transfer: TransferID, lease: Generation) throws(ObjectStoreError) -> ObjectName {
        try own("staged/\(transfer)/\(lease)")
    }

    /// For listings: everything that is recorded of checkpoints under the prefix.
    package var allCheckpoints: String { "\(everything)checkpoints/" }

    /// For listings: everything that is recorded of one checkpoint.
    package func checkpoint(_ name: CheckpointName) -> String { "\(allCheckpoints)\(name)/" }

    /// The commit record of a checkpoint, written last.
    package func checkpointRecord(_ name: CheckpointName) throws(ObjectStoreError) -> ObjectName {
        try ObjectName(checkpoint(name) + "record.json")
    }

    /// Says that a checkpoint is being removed, and what of it.
    package func checkpointRemoval(_ name: CheckpointName) throws(ObjectStoreError) -> ObjectName {
        try ObjectName(checkpoint(name) + "removal.json")
    }

    /// For listings: every share of one save of a checkpoint, each under its rank's number.
    package func checkpointShares(_ name: CheckpointName, _ save: SaveID) -> String {
        "\(checkpoint(name))shares/\(save)/"
    }

    /// What one rank says of its part of one save of a checkpoint.
    package func checkpointShare(
        _ name: CheckpointName,
        _ save: SaveID,
        rank: Int
    ) throws(ObjectStoreError) -> ObjectName {
        try ObjectName(checkpointShares(name, save) + String(rank))
    }

    /// For listings: what is kept aside of one checkpoint.
    package func checkpointKept(_ name: CheckpointName) -> String { "\(checkpoint(name))kept/" }

    /// A copy of one generation of a checkpoint's file, kept aside.
    ///
    /// - Parameter path: of the file, below the prefix; it stands in the name as its hash, for names have 1,024 bytes.
    package func checkpointKept(
        _ name: CheckpointName,
        _ path: SafePath,
        _ generation: Generation
    ) throws(ObjectStoreError) -> ObjectName {
        let hash = SHA256Digest.of(Array(path.value.utf8)).hex.prefix(32)
        return try ObjectName("\(checkpointKept(name))\(generation)-\(hash)")
    }

    /// For listings: every piece of files that mounts have written.
    package var allWritten: String { "\(everything)written/" }

    /// Before the names of all that one process of a mount puts there; `process` is unguessable.
    package func written(_ process: String) -> String { "\(allWritten)\(process)/" }

    /// Before the names under which a mount's files wait while they change names in a circle.
    package func parked(_ mount: String) -> String { "\(everything)parked/\(mount)/" }

    /// The offset that a part's or a state's name ends in, or nil when it is none.
    package static func offset(in name: ObjectName) -> Int? {
        let digits = name.value.utf8.reversed().prefix { $0 != UInt8(ascii: "/") }.reversed()
        guard digits.count == offsetDigits, digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int(String(decoding: digits, as: UTF8.self))
    }

    /// The generation of the lease in the last segment but one of an upload state's name, or nil when there is none.
    package static func lease(in name: ObjectName) -> Generation? {
        let segments = name.value.split(separator: "/", omittingEmptySubsequences: false)
        guard segments.count >= 2, let value = Int64(segments[segments.count - 2]), value > 0 else { return nil }
        return Generation(value)
    }

    private static let offsetDigits = 16

    private func own(_ rest: String) throws(ObjectStoreError) -> ObjectName { try ObjectName(everything + rest) }

    private func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, Self.offsetDigits - digits.count)) + digits
    }
}

/// Names of the custom metadata that published objects carry, so that one object alone can be verified.
package enum MetadataKey {
    /// The content's SHA-256 in hexadecimal.
    package static let sha256 = "penstock-sha256"
    /// The git blob hash, for files that the Hub knows by it.
    package static let gitOID = "penstock-git-oid"
    /// The operation that published it: how a lost reply is told from somebody else's write.
    package static let operation = "penstock-operation"
    /// The Hub commit it came from.
    package static let commit = "penstock-commit"
    /// Where a symbolic link leads: of an object without bytes that a writable mount made.
    package static let link = "penstock-link"
}

extension ObjectAttributes {
    /// Where it leads, if it is what a writable mount made of a symbolic link: 1 to 4,095 bytes without NUL.
    package var linkTarget: String? {
        guard size == 0, let target = metadata[MetadataKey.link] else { return nil }
        return (1...4095).contains(target.utf8.count) && !target.utf8.contains(0) ? target : nil
    }
}
