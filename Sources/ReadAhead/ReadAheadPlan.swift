import BlockCache
package import ObjectStorage

/// Which blocks of one content to fetch before anybody asks: decided from the reads alone, without I/O.
///
/// Reads of all handles and all page faults of an inode come here. A *cursor* is a place where somebody reads forward.
/// A read at a cursor moves it; when a good part of what lies ahead is used up, the window doubles (1 MiB to
/// `maximumWindow`) and the next chunk is wished for. Reads of one stream overtake each other on several threads, and
/// loaders step back a little to re-read a header, so "at" is generous: `backStep` behind, the window ahead. A read far
/// from every cursor starts a new one that wishes for nothing until a second read follows it; only the beginning of an
/// object is taken for a stream at once. So a random reader pays for what it reads.
package struct ReadAheadPlan: Sendable {
    /// Blocks to fetch, and the cursor they belong to.
    package struct Wish: Hashable, Sendable {
        package let cursor: Int
        package let blocks: Range<Int>
    }

    struct Cursor: Sendable {
        /// The end of the furthest read.
        var position: Int
        /// In bytes; 0 until the stream has proven to be one.
        var window: Int
        /// The first block that was not wished for yet.
        var nextBlock: Int
        var lastUse: UInt64
    }

    /// How far behind a cursor a read still counts as its own.
    package static let backStep = 4 << 20
    package static let initialWindow = 1 << 20
    package static let largestWindow = 64 << 20
    /// One request brings at most this much.
    package static let largestChunk = 8 << 20
    package static let maximumCursors = 8

    private let size: Int
    private(set) var cursors: [Cursor] = []
    private var clock: UInt64 = 0

    /// - Parameter size: of the content, in bytes.
    package init(size: Int) { self.size = size }

    /// A read was asked for.
    ///
    /// - Parameter windowLimit: what memory allows the window to be, in bytes.
    /// - Returns: what should be fetched now, from the read's own first block on where that is not under way yet.
    package mutating func note(_ range: ByteRange, windowLimit: Int) -> Wish? {
        guard range.count > 0 else { return nil }
        clock += 1
        guard let index = cursor(at: range) else {
            let new = begin(range)
            return range.offset == 0 ? wish(new, limit: windowLimit) : nil
        }
        cursors[index].lastUse = clock
        cursors[index].position = max(cursors[index].position, range.end)
        return wish(index, limit: windowLimit)
    }

    /// The cache took a wish up to this block, not included.
    package mutating func taken(_ wish: Wish, through block: Int) {
        guard wish.cursor < cursors.count else { return }
        let cursor = cursors[wish.cursor]
        if cursor.nextBlock == wish.blocks.lowerBound { cursors[wish.cursor].nextBlock = block }
    }

    private func cursor(at range: ByteRange) -> Int? {
        cursors.indices.filter { index in
            let cursor = cursors[index]
            let reach = max(cursor.window, Self.initialWindow)
            return range.offset >= cursor.position - Self.backStep && range.offset <= cursor.position + reach
        }.min { abs(cursors[$0].position - range.offset) < abs(cursors[$1].position - range.offset) }
    }

    private mutating func begin(_ range: ByteRange) -> Int {
        let cursor = Cursor(
            position: range.end,
            window: 0,
            nextBlock: range.offset / BlockGeometry.blockSize,
            lastUse: clock
        )
        if cursors.count < Self.maximumCursors {
            cursors.append(cursor)
            return cursors.count - 1
        }
        let oldest = cursors.indices.min { cursors[$0].lastUse < cursors[$1].lastUse } ?? 0
        cursors[oldest] = cursor
        return oldest
    }

    private mutating func wish(_ index: Int, limit: Int) -> Wish? {
        var cursor = cursors[index]
        let most = min(limit, Self.largestWindow)
        guard most >= Self.initialWindow else { return nil }
        let window = min(max(cursor.window * 2, Self.initialWindow), most)
        // A skip forward: what lies between was not read and is not fetched.
        cursor.nextBlock = max(cursor.nextBlock, max(0, cursor.position - Self.backStep) / BlockGeometry.blockSize)
        let block = BlockGeometry.blockSize
        let chunk = min(max(window / 4 / block, 1), Self.largestChunk / block)
        let target = min((cursor.position + window + block - 1) / block, (size + block - 1) / block)
        let ahead = target - cursor.nextBlock
        let isEnd = target * block >= size
        guard ahead > 0, ahead >= chunk || isEnd else {
            cursors[index] = cursor
            return nil
        }
        // Whole chunks, ending at multiples of their size, except at the object's end.
        let end = isEnd ? target : max(target / chunk * chunk, cursor.nextBlock + 1)
        cursor.window = window
        cursors[index] = cursor
        return Wish(cursor: index, blocks: cursor.nextBlock..<end)
    }
}
