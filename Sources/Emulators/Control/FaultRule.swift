/// Which requests go wrong, and how.
package struct FaultRule: Sendable {
    /// `gcs` or `hub`; nil for every server.
    package var server: String?
    package var method: String?
    /// A part of the raw request target (path and query, escapes as sent).
    package var path: String?
    /// A POSIX extended regular expression searched in the raw request target.
    package var pattern: PathPattern?
    /// A header field that must be there, and a part of its value.
    package var header: (name: String, contains: String)?
    /// The first matching request that goes wrong, from 1.
    package var nth = 1
    /// How many matching requests go wrong from then on; nil for all.
    package var times: Int? = 1
    /// The share of those that go wrong, decided by `seed` and the number of the matching request alone.
    package var probability = 1.0
    package var seed: UInt64 = 0
    package var actions: FaultActions

    package init(_ actions: FaultActions, method: String? = nil, path: String? = nil) {
        self.actions = actions
        self.method = method
        self.path = path
    }

    func matches(server name: String, _ request: EmulatorRequest) -> Bool {
        if let server, server != name { return false }
        if let method, method != request.method { return false }
        if let path, !contains(request.target.raw, path) { return false }
        if let pattern, !pattern.matches(request.target.raw) { return false }
        if let header {
            guard let value = request.headers[header.name], contains(value, header.contains) else { return false }
        }
        return true
    }

    /// Whether the `count`th matching request (from 1) goes wrong.
    func strikes(_ count: Int) -> Bool {
        if count < nth { return false }
        if let times, count - nth >= times { return false }
        if probability >= 1 { return true }
        return Double(mixed(seed &+ UInt64(count)) >> 11) * 0x1p-53 < probability
    }
}

/// The rules in force, with how often each matched: a state machine without I/O.
struct FaultScript {
    private struct Entry {
        let number: Int
        let rule: FaultRule
        var matched = 0
        var struck = 0
    }

    private var entries: [Entry] = []
    private var added = 0

    var rules: [(number: Int, rule: FaultRule)] { entries.map { ($0.number, $0.rule) } }

    var counts: [(number: Int, count: Int)] { entries.map { ($0.number, $0.matched) } }

    mutating func add(_ rule: FaultRule) -> Int {
        added += 1
        entries.append(Entry(number: added, rule: rule))
        return added
    }

    func strikes(of number: Int) -> Int { entries.first { $0.number == number }?.struck ?? 0 }

    mutating func remove(_ number: Int) { entries.removeAll { $0.number == number } }

    /// The actions of the first rule that strikes; every matching rule counts the request.
    mutating func actions(server: String, request: EmulatorRequest) -> FaultActions? {
        var chosen: FaultActions?
        for index in entries.indices where entries[index].rule.matches(server: server, request) {
            entries[index].matched += 1
            if chosen == nil, entries[index].rule.strikes(entries[index].matched) {
                chosen = entries[index].rule.actions
                entries[index].struck += 1
            }
        }
        return chosen
    }
}

/// SplitMix64's output function: a good hash of a counter.
private func mixed(_ value: UInt64) -> UInt64 {
    var z = value &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
}

private func contains(_ text: String, _ part: String) -> Bool {
    let part = Array(part.utf8)
    let text = Array(text.utf8)
    guard text.count >= part.count else { return false }
    return (0...(text.count - part.count)).contains { text[$0..<($0 + part.count)].elementsEqual(part) }
}
