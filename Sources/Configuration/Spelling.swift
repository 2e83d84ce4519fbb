/// Finds what somebody probably meant.
enum Spelling {
    /// The name with the fewest edits from `text`, when there are at most two and fewer than half of it is changed.
    static func nearest(to text: String, among names: [String]) -> String? {
        guard text.utf8.count <= 64 else { return nil }
        let allowed = min(2, max(1, text.utf8.count / 2))
        let ranked = names.map { (name: $0, edits: distance(Array(text.utf8), Array($0.utf8))) }
        return ranked.filter { $0.edits <= allowed }.min { $0.edits < $1.edits }?.name
    }

    /// Insertions, deletions, replacements and swaps of neighbours that turn one into the other (optimal string
    /// alignment).
    static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var beforeLast: [Int] = []
        var last = Array(0...right.count)
        for row in left.indices {
            var current = [row + 1]
            for column in right.indices {
                let isSame = left[row] == right[column]
                var best = min(current[column] + 1, last[column + 1] + 1, last[column] + (isSame ? 0 : 1))
                if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                    best = min(best, beforeLast[column - 1] + 1)
                }
                current.append(best)
            }
            beforeLast = last
            last = current
        }
        return last[right.count]
    }
}
