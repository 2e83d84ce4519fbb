/// How much memory a conveyance takes for buffers, and in what pieces.
///
/// Two bounds meet. `--memory` is what the machine can spare. The *window* is what a kill may waste: bytes that were
/// fetched and are not yet acknowledged by the destination must not exceed 64 MiB or 2 % of what is conveyed, whichever
/// is more; a long transfer may so use the memory that a fast, distant network wants, and a short one does not begin
/// again from nothing.
package struct TransferBudget: Hashable, Sendable {
    /// The size of one buffer, and so of the largest unit, in bytes.
    package let bufferSize: Int
    /// Buffers that may be in use at once.
    package let bufferCount: Int

    package static let smallestWindow = 64 << 20
    /// The default of `--memory` where no limit of the machine is lower.
    package static let defaultMemory = 512 << 20

    /// - Parameters:
    ///   - memory: bytes for buffers; less than 4 MiB counts as 4 MiB.
    ///   - total: bytes to convey.
    package init(memory: Int, total: Int) {
        let memory = max(memory, 4 << 20)
        let window = max(Self.smallestWindow, total / 50)
        let bytes = min(memory, window)
        // Eight buffers keep fetching, hashing and storing busy at once; more memory first makes more of them, then
        // larger ones.
        var size = 8 << 20
        while size > 1 << 20, bytes / size < 8 { size /= 2 }
        while size < UnitPlan.largestUnit, bytes / size >= 128 { size *= 2 }
        bufferSize = size
        bufferCount = max(4, bytes / size)
    }
}
