/// Which files of one directory to fetch before anybody opens them: decided from the order in which files are begun,
/// without I/O.
///
/// A file is its *line*: its place in the listing, which is sorted by name and read by readdir in the same order. A
/// *cursor* is a place where somebody goes through the lines. One that has gone forward twice in short steps is a stream:
/// its window grows with each file that is begun, and what lies in it is wished for. Several workers on one queue begin
/// files out of order, and some lines are directories or skipped, so a step inside of the window is the stream's own. A
/// window of which less than half is used halves, down to nothing. Random begins make no stream: short steps are rare
/// among them, two in a row more so.
package struct DirectoryStream: Sendable {
    /// Lines to fetch, and the cursor they belong to.
    package struct Wish: Hashable, Sendable {
        let cursor: Int
        package let lines: Range<Int>
    }

    struct Cursor: Sendable {
        let id: Int
        /// Behind the furthest line that was begun.
        var position: Int
        /// The first line that was not wished for yet.
        var next: Int
        /// In lines; 0 until it has proven to be a stream.
        var window = 0
        /// Short steps forward so far; less than 0 while it is not believed.
        var steps = 0
        /// How often it was not worth it.
        var doubts = 0
        /// Lines that it went past, and files that were begun, since this was last looked at.
        var passed = 0
        var begun = 0
        var lastUse: UInt64
    }

    /// Of a large directory: the more there are, the likelier is a short step by chance.
    package static let maximumCursors = 8
    /// Where a stream's window begins, in lines.
    package static let initialWindow = 8
    /// Steps of so many lines may begin a stream in a large directory; in a small one they are shorter.
    package static let longestStep = 8
    /// Short steps are likelier by chance where there are few lines.
    private static let smallDirectory = 256
    /// Lines for each file that is begun: at a distance that is exponential in round trips.
    private static let growth = 2
    private static let lookEvery = 32
    private static let distrust = 64

    /// Of the directory.
    package let lineCount: Int
    private(set) var cursors: [Cursor] = []
    private var clock: UInt64 = 0
    /// Lines that were begun, and those that were wished for, in this pass.
    private var known: BitArray
    private var wasBegun: BitArray
    private var lastID = 0
    private let step: Int
    private let stepsToBegin: Int
    private let cursorLimit: Int

    /// - Parameter lineCount: of the listing.
    package init(lineCount: Int) {
        self.lineCount = lineCount
        known = BitArray(count: lineCount)
        wasBegun = BitArray(count: lineCount)
        step = min(max(lineCount / 32, 2), Self.longestStep)
        stepsToBegin = lineCount < Self.smallDirectory ? 3 : 2
        cursorLimit = min(max(lineCount / 64, 1), Self.maximumCursors)
    }

    /// The file of a line is being read for the first time since it was opened.
    ///
    /// - Parameter limit: how many lines memory allows to be ahead.
    package mutating func begun(_ line: Int, limit: Int) -> Wish? {
        clock += 1
        if !wasBegun.insert(line) {
            // Somebody goes through it once more.
            wasBegun = BitArray(count: lineCount)
            known = BitArray(count: lineCount)
            _ = wasBegun.insert(line)
        }
        _ = known.insert(line)
        guard let index = cursor(at: line) else {
            begin(line)
            return nil
        }
        move(index, to: line, limit: limit)
        let id = cursors[index].id
        absorb(index)
        return wish(id)
    }

    /// A wish was fulfilled up to this line, not included.
    package mutating func taken(_ wish: Wish, through line: Int) {
        for line in wish.lines.lowerBound..<line { _ = known.insert(line) }
        guard let index = cursors.firstIndex(where: { $0.id == wish.cursor }),
            cursors[index].next == wish.lines.lowerBound
        else { return }
        cursors[index].next = line
    }

    private func cursor(at line: Int) -> Int? {
        cursors.indices.filter { index in
            let cursor = cursors[index]
            let reach = max(step, cursor.window)
            // Workers that are behind the furthest one are the stream's too, once there is one.
            return line < cursor.position + reach && line >= cursor.position - reach
        }.min { abs(cursors[$0].position - line) < abs(cursors[$1].position - line) }
    }

    private mutating func begin(_ line: Int) {
        lastID += 1
        let new = Cursor(id: lastID, position: line + 1, next: line + 1, lastUse: clock)
        if cursors.count < cursorLimit { return cursors.append(new) }
        let oldest = cursors.indices.min { cursors[$0].lastUse < cursors[$1].lastUse } ?? 0
        cursors[oldest] = new
    }

    private mutating func move(_ index: Int, to line: Int, limit: Int) {
        var cursor = cursors[index]
        cursor.lastUse = clock
        cursor.begun += 1
        if line >= cursor.position {
            cursor.passed += line + 1 - cursor.position
            cursor.position = line + 1
            cursor.next = max(cursor.next, cursor.position)
        }
        cursor.steps += 1
        if cursor.steps >= stepsToBegin {
            cursor.window = cursor.window == 0 ? Self.initialWindow : cursor.window + Self.growth
        }
        if cursor.passed >= Self.lookEvery {
            if cursor.begun * 2 < cursor.passed {
                cursor.window = 0
                cursor.steps = -(Self.distrust << cursor.doubts)
                cursor.doubts = min(cursor.doubts + 1, 10)
            }
            cursor.passed = 0
            cursor.begun = 0
        }
        cursor.window = min(cursor.window, max(0, limit))
        cursors[index] = cursor
    }

    /// Cursors that a stream has reached are one with it.
    private mutating func absorb(_ index: Int) {
        let stream = cursors[index]
        guard stream.window > 0 else { return }
        cursors.removeAll { other in
            other.id != stream.id && abs(other.position - stream.position) <= max(step, stream.window / 2)
        }
    }

    private mutating func wish(_ id: Int) -> Wish? {
        guard let index = cursors.firstIndex(where: { $0.id == id }) else { return nil }
        let limit = min(cursors[index].position + cursors[index].window, lineCount)
        var start = cursors[index].next
        while start < limit, known[start] { start += 1 }
        cursors[index].next = start
        var end = start
        while end < limit, !known[end] { end += 1 }
        return end > start ? Wish(cursor: id, lines: start..<end) : nil
    }
}
