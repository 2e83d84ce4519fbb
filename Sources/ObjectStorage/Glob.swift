/// A pattern of Python's `fnmatch.fnmatchcase`, as the Hub's official client applies it to whole paths.
///
/// Case-sensitive; `*` matches any run, `/` included; `?` one character; `[abc]`, `[a-z]`, `[!abc]`; no escapes. A `[`
/// without its `]` is itself. `\` means `/`, and a pattern that ends in `/` gets a `*` (huggingface_hub,
/// `filter_repo_objects`).
package struct Glob: Hashable, Sendable {
    package static let maximumLength = 4096
    package let pattern: String
    private let tokens: [Token]

    private enum Token: Hashable, Sendable {
        case any
        case one
        case literal(Unicode.Scalar)
        case set([ClosedRange<UInt32>], isNegated: Bool)
    }

    /// Nil when the pattern is longer than `maximumLength` bytes.
    package init?(_ pattern: String) {
        guard pattern.utf8.count <= Self.maximumLength else { return nil }
        self.pattern = pattern
        var scalars = pattern.unicodeScalars.map { $0 == "\\" ? "/" : $0 }
        if scalars.last == "/" { scalars.append("*") }
        tokens = Self.parse(scalars)
    }

    /// Whether the whole path matches. Takes time proportional to the product of the lengths at most.
    package func matches(_ path: String) -> Bool {
        let text = path.unicodeScalars.map { $0 == "\\" ? "/" : $0 }
        var position = 0
        var token = 0
        var afterStar: (token: Int, position: Int)?
        while position < text.count {
            if token < tokens.count, tokens[token] == .any {
                afterStar = (token + 1, position)
                token += 1
            } else if token < tokens.count, Self.matchesOne(tokens[token], text[position]) {
                token += 1
                position += 1
            } else if let star = afterStar {
                // Let the last star take one more; earlier ones never need to be tried again.
                afterStar = (star.token, star.position + 1)
                token = star.token
                position = star.position + 1
            } else {
                return false
            }
        }
        return tokens[token...].allSatisfy { $0 == .any }
    }

    private static func matchesOne(_ token: Token, _ scalar: Unicode.Scalar) -> Bool {
        switch token {
        case .any: false
        case .one: true
        case .literal(let expected): expected == scalar
        case .set(let ranges, let isNegated): ranges.contains { $0.contains(scalar.value) } != isNegated
        }
    }

    private static func parse(_ scalars: [Unicode.Scalar]) -> [Token] {
        var tokens: [Token] = []
        var index = 0
        while index < scalars.count {
            let scalar = scalars[index]
            index += 1
            switch scalar {
            case "*": if tokens.last != .any { tokens.append(.any) }
            case "?": tokens.append(.one)
            case "[":
                if let (set, next) = parseSet(scalars, from: index) {
                    tokens.append(set)
                    index = next
                } else {
                    tokens.append(.literal(scalar))
                }
            default: tokens.append(.literal(scalar))
            }
        }
        return tokens
    }

    /// The set whose `[` stands before `start`, and where the rest begins; nil when it is not closed.
    private static func parseSet(_ scalars: [Unicode.Scalar], from start: Int) -> (Token, Int)? {
        var close = start
        if close < scalars.count, scalars[close] == "!" { close += 1 }
        if close < scalars.count, scalars[close] == "]" { close += 1 }
        while close < scalars.count, scalars[close] != "]" { close += 1 }
        guard close < scalars.count else { return nil }
        var body = scalars[start..<close]
        let isNegated = body.first == "!"
        if isNegated { body = body.dropFirst() }
        return (.set(ranges(of: Array(body)), isNegated: isNegated), close + 1)
    }

    /// A `-` between two characters is a range, an empty one when they are the wrong way round; first and last it
    /// is itself.
    private static func ranges(of body: [Unicode.Scalar]) -> [ClosedRange<UInt32>] {
        var ranges: [ClosedRange<UInt32>] = []
        var index = 0
        while index < body.count {
            let low = body[index].value
            if index + 2 < body.count, body[index + 1] == "-" {
                let high = body[index + 2].value
                if low <= high { ranges.append(low...high) }
                index += 3
            } else {
                ranges.append(low...low)
                index += 1
            }
        }
        return ranges
    }
}
