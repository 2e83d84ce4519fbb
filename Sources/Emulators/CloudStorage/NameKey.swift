/// A name as its UTF-8 bytes: equal and ordered as Cloud Storage does, where two spellings of `é` are two names.
struct NameKey: Hashable, Comparable {
    let bytes: [UInt8]

    init(_ text: String) { bytes = Array(text.utf8) }
    init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    static func < (left: Self, right: Self) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }

    var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The least name that is greater than every name with this prefix; nil when there is none.
    var successorOfPrefix: NameKey? {
        var bytes = self.bytes
        while let last = bytes.popLast() {
            if last < 0xFF { return NameKey(bytes + [last + 1]) }
        }
        return nil
    }
}

/// A dictionary whose keys can be walked in order.
struct SortedNames<Value: Sendable>: Sendable {
    private(set) var keys: [NameKey] = []
    private var values: [NameKey: Value] = [:]

    var isEmpty: Bool { keys.isEmpty }
    var all: [Value] { keys.compactMap { values[$0] } }

    subscript(key: NameKey) -> Value? {
        get { values[key] }
        set {
            let wasThere = values[key] != nil
            values[key] = newValue
            if newValue != nil, !wasThere {
                keys.insert(key, at: index(of: key))
            } else if newValue == nil, wasThere {
                keys.remove(at: index(of: key))
            }
        }
    }

    /// The position of the first key that is not less.
    func index(of key: NameKey) -> Int {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The first key that is not less; nil when all are less.
    func first(from key: NameKey) -> NameKey? {
        let index = index(of: key)
        return index < keys.count ? keys[index] : nil
    }
}
