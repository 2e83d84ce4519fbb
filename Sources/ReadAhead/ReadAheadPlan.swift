import BlockCache
package import ObjectStorage

/// Which blocks of one content to fetch before anybody asks: decided from the reads alone, without I/O.
///
/// Reads of all handles and all page faults of an inode come here. A *cursor* is a place where somebody reads forward.
/// A read at a cursor moves it; when a good part of what lies ahead is used up, the window doubles (from
/// 1 MiB to what memory and distance allow) and the next chunk is wished for. Reads of one stream overtake each other on several threads, and
/// loaders step back a little to re-read a header, so "at" is generous: `backStep` behind, the window ahead. A read far
/// from every cursor starts a new one that wishes for nothing until a read goes on exactly where it ended, or three are
/// close to it; only the beginning of an object is taken for a stream at once. So a random reader pays for what it reads. Where the pieces of a file are known
/// (its tensors), a stream stays in the piece it began in until it has gone on to the next: who wants one tensor pays for
/// one.
package struct ReadAheadPlan: Sendable {
    /// Blocks to fetch, and the cursor they belong to.
    package struct Wish: Hashable, Sendable {
        package let cursor: Int
        package let blocks: Range<Int>
    }

    struct Cursor: Sendable {
        let id: Int
        /// The end of the furthest read.
        var position: Int
        /// In bytes; 0 until the stream has proven to be one.
        var window: Int
        /// The first block that was not wished for yet.
        var nextBlock: Int
        var lastUse: UInt64
        /// How much speaks for a stream, while it has no window.
        var evidence = 0
        /// The end of the piece it began in; the file's when it went past that.
        var bound: Int
    }

    /// How far behind a cursor a read still counts as its own.
    package static let backStep = 4 << 20
    package static let initialWindow = 1 << 20
    /// One request brings at most this much.
    package static let largestChunk = 8 << 20
    package static let maximumCursors = 8
    /// Of a cursor without a window: this close, and in smaller files this part of them, is a step and no jump.
    private static let closeStep = 1 << 20
    private static let closePart = 128
    private static let evidenceToBegin = 3
    /// What may lie between a read and one that goes on where it ended: readers align to pages.
    private static let seam = 4096

    private let size: Int
    private(set) var cursors: [Cursor] = []
    private var clock: UInt64 = 0
    private var pieceEnds: [Int] = []
    /// Where the first piece that is data begins: all readers go from the header into it.
    private var dataStart = 0
    /// How many places readers have begun at.
    package private(set) var jumps = 0

    /// - Parameter size: of the content, in bytes.
    package init(size: Int) { self.size = size }

    /// The pieces of the file are known now.
    ///
    /// - Parameters:
    ///   - ends: as in `ReadPlan`.
    ///   - dataStart: where the header ends.
    package mutating func learn(pieceEnds ends: [Int], dataStart: Int) {
        pieceEnds = ends
        self.dataStart = dataStart
        for index in cursors.indices { cursors[index].bound = bound(cursors[index].position - 1) }
    }

    /// A read was asked for.
    ///
    /// - Parameter windowLimit: what memory and distance allow the window to be, in bytes.
    /// - Returns: what should be fetched now, from the read's own first block on where that is not under way yet.
    package mutating func note(_ range: ByteRange, windowLimit: Int) -> Wish? {
        guard range.count > 0 else { return nil }
        clock += 1
        guard let index = cursor(at: range) else {
            let new = begin(range)
            return range.offset == 0 ? wish(new, limit: windowLimit) : nil
        }
        cursors[index].lastUse = clock
        if cursors[index].window == 0 {
            let isExact = abs(range.offset - cursors[index].position) <= Self.seam
            cursors[index].evidence += isExact ? Self.evidenceToBegin : 1
            // What lies before it was not read by this stream.
            cursors[index].nextBlock = range.offset / BlockGeometry.blockSize
        }
        cursors[index].position = max(cursors[index].position, range.end)
        goOn(index)
        let isStream = cursors[index].window > 0 || cursors[index].evidence >= Self.evidenceToBegin
        guard isStream else { return nil }
        return wish(absorb(index), limit: windowLimit)
    }

    /// What lies ahead has come in part, while a reader waits for what comes first.
    ///
    /// A request that is late would stop the stream: its reader asks for nothing more until it is there. So as much as came
    /// may be wished for behind what is on its way, within the limit, by a stream that has proven itself.
    ///
    /// - Parameter limit: what memory allows to lie ahead of the stream that moved last, in bytes.
    /// - Returns: one chunk at most.
    package mutating func goOn(limit: Int) -> Wish? {
        // Reads of one stream overtake each other, so the latest cursor may be a straggler's.
        let streams = cursors.filter { $0.window >= Self.largestChunk }
        guard let cursor = streams.max(by: { $0.lastUse < $1.lastUse }) else { return nil }
        let block = BlockGeometry.blockSize
        guard cursor.nextBlock * block > cursor.position else { return nil }
        let chunk = Self.largestChunk / block
        let bound = (cursor.bound + block - 1) / block
        let end = min((cursor.nextBlock / chunk + 1) * chunk, bound)
        guard end > cursor.nextBlock, end * block <= cursor.position + limit else { return nil }
        return Wish(cursor: cursor.id, blocks: cursor.nextBlock..<end)
    }

    /// The cache took a wish up to this block, not included.
    package mutating func taken(_ wish: Wish, through block: Int) {
        guard let index = cursors.firstIndex(where: { $0.id == wish.cursor }) else { return }
        if cursors[index].nextBlock == wish.blocks.lowerBound { cursors[index].nextBlock = block }
    }

    /// The end of what a reader that begins at an offset is believed to want.
    private func bound(_ offset: Int) -> Int {
        pieceEnds.piece(at: offset, size: size).upperBound
    }

    /// A reader that went from one piece into the next goes through the file.
    private mutating func goOn(_ index: Int) {
        let cursor = cursors[index]
        guard cursor.position > cursor.bound else { return }
        cursors[index].bound = cursor.bound <= dataStart ? bound(cursor.position - 1) : size
    }

    /// A stream is one with the cursors close to it, which began when its reads overtook each other.
    ///
    /// - Returns: where it is now.
    private mutating func absorb(_ index: Int) -> Int {
        let stream = cursors[index]
        let close = min(Self.backStep, size / Self.closePart)
        cursors.removeAll { $0.id != stream.id && abs($0.position - stream.position) <= close }
        return cursors.firstIndex { $0.id == stream.id } ?? 0
    }

    private func cursor(at range: ByteRange) -> Int? {
        let close = max(min(Self.closeStep, size / Self.closePart), Self.seam)
        return cursors.indices.filter { index in
            let cursor = cursors[index]
            guard cursor.window > 0 else { return abs(range.offset - cursor.position) <= close }
            let reach = max(cursor.window, Self.initialWindow)
            return range.offset >= cursor.position - Self.backStep && range.offset <= cursor.position + reach
        }.min { abs(cursors[$0].position - range.offset) < abs(cursors[$1].position - range.offset) }
    }

    private mutating func begin(_ range: ByteRange) -> Int {
        let cursor = Cursor(
            id: jumps,
            position: range.end,
            window: 0,
            nextBlock: range.offset / BlockGeometry.blockSize,
            lastUse: clock,
            bound: bound(range.end - 1)
        )
        jumps += 1
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
        guard limit >= Self.initialWindow else { return nil }
        let window = min(max(cursor.window * 2, Self.initialWindow), limit)
        // A skip forward: what lies between was not read and is not fetched.
        cursor.nextBlock = max(cursor.nextBlock, max(0, cursor.position - Self.backStep) / BlockGeometry.blockSize)
        let block = BlockGeometry.blockSize
        let chunk = min(max(window / 4 / block, 1), Self.largestChunk / block)
        let target = min((cursor.position + window + block - 1) / block, (cursor.bound + block - 1) / block)
        let ahead = target - cursor.nextBlock
        let isEnd = target * block >= cursor.bound
        guard ahead > 0, ahead >= chunk || isEnd else {
            cursors[index] = cursor
            return nil
        }
        // Whole chunks, ending at multiples of their size, except at the object's end.
        let end = isEnd ? target : max(target / chunk * chunk, cursor.nextBlock + 1)
        cursor.window = window
        cursors[index] = cursor
        return Wish(cursor: cursor.id, blocks: cursor.nextBlock..<end)
    }
}
