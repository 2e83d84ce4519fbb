import Checksums

/// One page of a listing.
///
/// Source: Objects: list. Names are walked in the order of their bytes; a name with the delimiter behind the prefix
/// stands for the part up to there.
struct ObjectListing {
    struct Query {
        var prefix: [UInt8] = []
        var delimiter: [UInt8] = []
        var startOffset: NameKey?
        var endOffset: NameKey?
        var glob: GlobPattern?
        var includesTrailingDelimiter = false
        var includesFolders = false
        /// Items and prefixes together.
        var limit = 1000
    }

    /// Where the next page begins.
    enum Position: Equatable {
        case beginning
        /// Behind this object.
        case item(NameKey)
        /// Behind everything under this prefix.
        case prefix(NameKey)

        var token: String {
            switch self {
            case .beginning: Base64.encode("b".utf8)
            case .item(let key): Base64.encode("i".utf8 + key.bytes)
            case .prefix(let key): Base64.encode("p".utf8 + key.bytes)
            }
        }

        init?(token: String) {
            guard token.utf8.count < 4096, let bytes = Base64.decode(token), let kind = bytes.first else { return nil }
            let key = NameKey(bytes.dropFirst())
            switch kind {
            case UInt8(ascii: "b"): self = .beginning
            case UInt8(ascii: "i"): self = .item(key)
            case UInt8(ascii: "p"): self = .prefix(key)
            default: return nil
            }
        }
    }

    private(set) var items: [StoredObject] = []
    private(set) var prefixes: [NameKey] = []
    private(set) var next: Position?
    private let query: Query
    private let bucket: StoredBucket
    private var count: Int { items.count + prefixes.count }

    init(_ bucket: StoredBucket, _ query: Query, from position: Position) {
        self.bucket = bucket
        self.query = query
        walk(from: position)
    }

    private mutating func walk(from position: Position) {
        var last = position
        var cursor = first(from: position)
        var pending: NameKey? = nil
        if case .item(let key) = position { pending = prefix(of: key) }
        while let key = cursor ?? pending {
            // An object that is its own prefix was the last of a page: its prefix is still due.
            if let due = pending, cursor.map({ prefix(of: $0) != due }) ?? true {
                guard count < query.limit else { return next = last }
                prefixes.append(due)
                last = .prefix(due)
                cursor = after(prefix: due)
                pending = nil
                continue
            }
            pending = nil
            guard key.bytes.starts(with: query.prefix), query.endOffset.map({ key < $0 }) ?? true else { return }
            guard count < query.limit else { return next = last }
            if let common = prefix(of: key) {
                if query.includesTrailingDelimiter, common == key, let object = bucket.objects[key], isWanted(key) {
                    items.append(object)
                    last = .item(key)
                    pending = common
                    cursor = name(after: key)
                    continue
                }
                if query.glob == nil || isWanted(key) {
                    prefixes.append(common)
                    last = .prefix(common)
                    cursor = after(prefix: common)
                } else {
                    cursor = name(after: key)
                }
                continue
            }
            if let object = bucket.objects[key], isWanted(key) {
                items.append(object)
                last = .item(key)
            }
            cursor = name(after: key)
        }
    }

    private func isWanted(_ key: NameKey) -> Bool { query.glob?.matches(key.bytes) ?? true }

    private func first(from position: Position) -> NameKey? {
        switch position {
        case .beginning: name(from: max(NameKey(query.prefix), query.startOffset ?? NameKey(query.prefix)))
        case .item(let key): name(after: key)
        case .prefix(let key): after(prefix: key)
        }
    }

    private func after(prefix: NameKey) -> NameKey? { prefix.successorOfPrefix.flatMap(name(from:)) }

    private func name(after key: NameKey) -> NameKey? { name(from: NameKey(key.bytes + [0])) }

    /// The next object, or folder if those are wanted.
    private func name(from key: NameKey) -> NameKey? {
        let object = bucket.objects.first(from: key)
        guard query.includesFolders, let folder = bucket.folders.first(from: key) else { return object }
        return object.map { min($0, folder) } ?? folder
    }

    /// The part of a name up to and with the first delimiter behind the prefix.
    private func prefix(of key: NameKey) -> NameKey? {
        let delimiter = query.delimiter
        guard !delimiter.isEmpty, key.bytes.count >= query.prefix.count + delimiter.count else { return nil }
        for start in query.prefix.count...(key.bytes.count - delimiter.count)
        where key.bytes[start..<(start + delimiter.count)].elementsEqual(delimiter) {
            return NameKey(key.bytes[..<(start + delimiter.count)])
        }
        return nil
    }
}
