/// A dictionary that remembers which of its keys somebody wrote to, until it is asked.
///
/// What follows from a change then costs as much as the change, and not as much as everything there is. A key counts as
/// touched also when the value that was written is the old one: whoever looks again finds nothing to do.
struct TrackedDictionary<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private(set) var contents: [Key: Value] = [:]
    private var touched: Set<Key> = []

    subscript(key: Key) -> Value? {
        get { contents[key] }
        _modify {
            touched.insert(key)
            yield &contents[key]
        }
    }

    var keys: Dictionary<Key, Value>.Keys { contents.keys }
    var isEmpty: Bool { contents.isEmpty }

    /// As if it had been written.
    mutating func touch(_ key: Key) { touched.insert(key) }

    mutating func touchAll() { touched.formUnion(contents.keys) }

    /// The keys that were touched since the last call; those of values that are gone among them.
    mutating func takeTouched() -> Set<Key> {
        if touched.isEmpty { return [] }
        defer { touched = [] }
        return touched
    }

    /// A change that nothing follows from.
    mutating func update<Result>(quietly key: Key, _ body: (inout Value?) -> Result) -> Result { body(&contents[key]) }
}
