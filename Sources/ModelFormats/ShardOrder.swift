/// In which order the files of one model are read.
package struct ShardOrder: Hashable, Sendable {
    /// Bytes of an index that are looked at.
    package static let maximumIndex = 32 << 20
    private static let maximumShards = 100_000
    private static let mapName = Array("weight_map".utf8)

    private let names: [String]

    /// The files that an index names: `model.safetensors.index.json`, `pytorch_model.bin.index.json`.
    ///
    /// Source: `weight_map` gives for each tensor the file that has it; loaders read the files sorted by name.
    ///
    /// - Throws: when it is none, or one of the names is no plain name of a file beside it.
    package init(index bytes: [UInt8]) throws(FormatError) {
        guard bytes.count <= Self.maximumIndex else { throw FormatError("the index is too long") }
        var found: Set<ArraySlice<UInt8>> = []
        var scanner = JSONScanner(bytes[...])
        try scanner.object { (scanner, name) throws(FormatError) in
            guard name.elementsEqual(Self.mapName) else { return try scanner.skip() }
            try scanner.object { (scanner, _) throws(FormatError) in
                found.insert(try scanner.string())
                if found.count > Self.maximumShards { throw FormatError("too many files") }
            }
        }
        var names: [String] = []
        for bytes in found {
            guard (1...255).contains(bytes.count), !bytes.contains(UInt8(ascii: "/")),
                !bytes.contains(UInt8(ascii: "\\")), let name = String(validating: bytes, as: UTF8.self)
            else { throw FormatError("a file that does not stand beside the index") }
            names.append(name)
        }
        guard !names.isEmpty else { throw FormatError("an index without files") }
        self.names = names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// How many files there are.
    package var count: Int { names.count }

    /// The files themselves, in byte order: plain names of what stands beside the index.
    package var files: [String] { names }

    /// The file that is read after this one; nil for the last, and for one that it does not name.
    package func next(after name: String) -> String? {
        guard let index = names.firstIndex(of: name), index + 1 < names.count else { return nil }
        return names[index + 1]
    }

    /// Whether a file is such an index, by its name.
    package static func isIndex(_ name: String) -> Bool {
        name.hasSuffix(".safetensors.index.json") || name.hasSuffix(".bin.index.json")
    }

    /// The next file by name alone: `…-00002-of-00004.…` after `…-00001-of-00004.…`, `__1_0.distcp` after `__0_0.distcp`.
    ///
    /// - Returns: nil when the name does not follow such a pattern, or is the last by it. Whether the file exists is
    ///   another question.
    package static func next(byName name: String) -> String? { numberedNext(name) ?? rankNext(name) }

    private static func numberedNext(_ name: String) -> String? {
        guard let of = name.range("-of-") else { return nil }
        let before = name[..<of.lowerBound]
        let digits = before.suffix(while: { $0.isASCII && $0.isNumber })
        let total = name[of.upperBound...].prefix { $0.isASCII && $0.isNumber }
        guard (1...9).contains(digits.count), (1...9).contains(total.count), let number = Int(digits),
            let last = Int(total), number < last, before.dropLast(digits.count).last == "-"
        else { return nil }
        let next = String(number + 1)
        let padded = String(repeating: "0", count: max(0, digits.count - next.count)) + next
        return before.dropLast(digits.count) + padded + name[of.lowerBound...]
    }

    private static func rankNext(_ name: String) -> String? {
        guard name.hasPrefix("__"), name.hasSuffix(".distcp") else { return nil }
        let middle = name.dropFirst(2).dropLast(".distcp".count)
        let parts = middle.split(separator: "_", omittingEmptySubsequences: false)
        guard parts.count == 2, let rank = Int(parts[0]), (0..<1_000_000).contains(rank), parts[1].count <= 6,
            Int(parts[1]) != nil
        else { return nil }
        return "__\(rank + 1)_\(parts[1]).distcp"
    }
}

extension String {
    fileprivate func range(_ word: String) -> Range<Index>? {
        var start = endIndex
        while start > startIndex {
            start = index(before: start)
            if self[start...].hasPrefix(word) { return start..<index(start, offsetBy: word.count) }
        }
        return nil
    }
}

extension Substring {
    fileprivate func suffix(while matches: (Character) -> Bool) -> Substring {
        var start = endIndex
        while start > startIndex, matches(self[index(before: start)]) { start = index(before: start) }
        return self[start...]
    }
}
