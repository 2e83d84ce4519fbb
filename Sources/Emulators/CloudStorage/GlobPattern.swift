/// The `matchGlob` pattern of a listing: `*` (no slash), `**`, `?`, `[a-z]`, `[!a]`, `{a,b}`, and a backslash to quote.
struct GlobPattern: Sendable {
    private enum Token: Sendable {
        case byte(UInt8)
        case any
        case star
        case doubleStar
        case set([ClosedRange<UInt8>], negated: Bool)
    }

    /// One for each way to choose among the braces.
    private let alternatives: [[Token]]

    /// Nil for an unfinished set or braces, and for more than 1,000 alternatives.
    init?(_ text: String) {
        guard text.utf8.count <= 1024, let expanded = expandedBraces(Array(text.utf8)) else { return nil }
        var alternatives: [[Token]] = []
        for pattern in expanded {
            guard let tokens = Self.tokens(pattern[...]) else { return nil }
            alternatives.append(tokens)
        }
        self.alternatives = alternatives
    }

    func matches(_ name: [UInt8]) -> Bool { alternatives.contains { Self.matches($0, name) } }

    private static func tokens(_ pattern: ArraySlice<UInt8>) -> [Token]? {
        var rest = pattern
        var tokens: [Token] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "*"):
                if rest.first == byte {
                    rest = rest.drop { $0 == byte }
                    tokens.append(.doubleStar)
                } else {
                    tokens.append(.star)
                }
            case UInt8(ascii: "?"): tokens.append(.any)
            case UInt8(ascii: "\\"):
                guard let quoted = rest.popFirst() else { return nil }
                tokens.append(.byte(quoted))
            case UInt8(ascii: "["):
                guard let end = rest.dropFirst().firstIndex(of: UInt8(ascii: "]")) else { return nil }
                tokens.append(set(rest[..<end]))
                rest = rest[(end + 1)...]
            default: tokens.append(.byte(byte))
            }
        }
        return tokens
    }

    private static func set(_ text: ArraySlice<UInt8>) -> Token {
        var rest = text
        let negated = rest.first == UInt8(ascii: "!") || rest.first == UInt8(ascii: "^")
        if negated { rest = rest.dropFirst() }
        var ranges: [ClosedRange<UInt8>] = []
        while let low = rest.popFirst() {
            var high = low
            if rest.first == UInt8(ascii: "-"), rest.count > 1 {
                high = rest[rest.startIndex + 1]
                rest = rest.dropFirst(2)
            }
            if low <= high { ranges.append(low...high) }
        }
        return .set(ranges, negated: negated)
    }

    /// Compares by the set of positions in the pattern that the name so far can have reached: no backtracking.
    private static func matches(_ tokens: [Token], _ name: [UInt8]) -> Bool {
        var reached = closed([0], tokens)
        for byte in name {
            var following: Set<Int> = []
            for position in reached where position < tokens.count {
                switch tokens[position] {
                case .byte(let wanted): if wanted == byte { following.insert(position + 1) }
                case .any: if byte != UInt8(ascii: "/") { following.insert(position + 1) }
                case .star: if byte != UInt8(ascii: "/") { following.insert(position) }
                case .doubleStar: following.insert(position)
                case .set(let ranges, let negated):
                    if byte != UInt8(ascii: "/"), ranges.contains(where: { $0.contains(byte) }) != negated {
                        following.insert(position + 1)
                    }
                }
            }
            reached = closed(following, tokens)
            if reached.isEmpty { return false }
        }
        return reached.contains(tokens.count)
    }

    /// With the positions that need no further byte: stars may match nothing.
    private static func closed(_ positions: Set<Int>, _ tokens: [Token]) -> Set<Int> {
        var closed = positions
        for start in positions {
            var position = start
            while position < tokens.count {
                switch tokens[position] {
                case .star, .doubleStar: position += 1
                default: position = tokens.count + 1
                }
                if position <= tokens.count { closed.insert(position) }
            }
        }
        return closed
    }
}

private func expandedBraces(_ pattern: [UInt8]) -> [[UInt8]]? {
    guard let open = pattern.firstIndex(of: UInt8(ascii: "{")) else { return [pattern] }
    guard let close = pattern[open...].firstIndex(of: UInt8(ascii: "}")) else { return nil }
    let choices = pattern[(open + 1)..<close].split(
        separator: UInt8(ascii: ","),
        omittingEmptySubsequences: false
    )
    guard let tails = expandedBraces(Array(pattern[(close + 1)...])), choices.count * tails.count <= 1000 else {
        return nil
    }
    return choices.flatMap { choice in tails.map { Array(pattern[..<open]) + choice + $0 } }
}
