/// How much the disk cache may still take: what the last look at the directory found, and what this process added since.
///
/// Others fill the same directory, so the look is repeated after `stride` bytes; that much is kept free below the limit,
/// and two processes together stay below it.
struct DiskBudget: Sendable {
    enum Answer: Hashable, Sendable {
        case granted
        /// Look at the directory, throw out what must go, tell `scanned`, and ask again.
        case look
    }

    /// In bytes.
    let limit: Int
    /// Bytes of the filesystem that stay free.
    let floor: Int
    private(set) var used = 0
    private var sinceLook: Int?

    /// Bytes that may be added without another look.
    var stride: Int { max(BlockGeometry.blockSize, min(64 << 20, limit / 16)) }

    init(limit: Int, floor: Int) {
        self.limit = limit
        self.floor = floor
    }

    /// Asks to add `bytes`.
    ///
    /// - Parameter available: what the filesystem has left, in bytes.
    mutating func reserve(_ bytes: Int, available: Int) -> Answer {
        guard let since = sinceLook, since + bytes <= stride, excess(adding: bytes, available: available) <= 0 else {
            return .look
        }
        sinceLook = since + bytes
        used += bytes
        return .granted
    }

    /// What must go before `bytes` can be added; 0 or less: nothing.
    func excess(adding bytes: Int, available: Int) -> Int {
        max(used + bytes - (limit - stride), bytes + floor - available)
    }

    /// The directory was looked at: its files, and deleted ones that are still open, take so many bytes.
    mutating func scanned(used: Int) {
        self.used = used
        sinceLook = 0
    }

    /// A file went.
    mutating func freed(_ bytes: Int) { used = max(0, used - bytes) }
}
