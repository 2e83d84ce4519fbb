/// One page of a listing, cut out of names that are all known: for stores that keep their own index.
package struct ListCut: Hashable, Sendable {
    package var objects: [ObjectName] = []
    package var prefixes: [String] = []
    package var nextPageToken: String?
}

extension ListRequest {
    /// Objects and prefixes in one page at most, whatever was asked for. Source: Cloud Storage, `objects.list`.
    package static let maximumPageSize = 1000

    /// Cuts the page that this request asks for out of `names`, which ascend in byte order.
    ///
    /// A page token holds the last entry of the page before, so names that come or go between two pages shift nothing.
    ///
    /// - Throws: `invalidRequest` for a page size below 1 or a token that is none of ours.
    package func cut(_ names: some Sequence<ObjectName>) throws(ObjectStoreError) -> ListCut {
        guard pageSize >= 1 else { throw ObjectStoreError(.invalidRequest, "a page of \(pageSize) objects") }
        let limit = min(pageSize, Self.maximumPageSize)
        var last = try pageToken.map(ListEntry.init(token:))
        var cut = ListCut()
        for name in names where isWanted(name, after: last) {
            if cut.objects.count + cut.prefixes.count == limit {
                cut.nextPageToken = last?.token
                break
            }
            if let below = commonPrefix(of: name) {
                cut.prefixes.append(below)
                last = .prefix(below)
            } else {
                cut.objects.append(name)
                last = .object(name.value)
            }
        }
        return cut
    }

    private func isWanted(_ name: ObjectName, after last: ListEntry?) -> Bool {
        let bytes = name.value.utf8
        guard bytes.starts(with: prefix.utf8) else { return false }
        if let startOffset, bytes.lexicographicallyPrecedes(startOffset.utf8) { return false }
        return last.map { $0.isBefore(name) } ?? true
    }

    /// The part of `name` up to the first delimiter after the prefix, if there is one.
    private func commonPrefix(of name: ObjectName) -> String? {
        guard let delimiter = delimiter.map({ Array($0.utf8) }), !delimiter.isEmpty else { return nil }
        let bytes = Array(name.value.utf8)
        let start = prefix.utf8.count
        guard bytes.count - start >= delimiter.count else { return nil }
        for index in start...(bytes.count - delimiter.count) where bytes[index...].starts(with: delimiter) {
            return String(decoding: bytes[..<(index + delimiter.count)], as: UTF8.self)
        }
        return nil
    }
}

/// An entry of a listing, and the page token that stands for "after this one".
private enum ListEntry {
    case object(String)
    case prefix(String)

    init(token: String) throws(ObjectStoreError) {
        if token.hasPrefix("o:") {
            self = .object(String(token.dropFirst(2)))
        } else if token.hasPrefix("p:") {
            self = .prefix(String(token.dropFirst(2)))
        } else {
            throw ObjectStoreError(.invalidRequest, "a page token that this store did not give")
        }
    }

    var token: String {
        switch self {
        case .object(let name): "o:\(name)"
        case .prefix(let prefix): "p:\(prefix)"
        }
    }

    func isBefore(_ name: ObjectName) -> Bool {
        let bytes = name.value.utf8
        switch self {
        case .object(let last): return last.utf8.lexicographicallyPrecedes(bytes)
        case .prefix(let last): return last.utf8.lexicographicallyPrecedes(bytes) && !bytes.starts(with: last.utf8)
        }
    }
}
