import TestSupport
import Testing

@testable import Emulators

@Suite struct ObjectListingTests {
    /// What a listing of all pages must give, computed without pages.
    private func model(
        _ names: [String],
        prefix: String,
        delimiter: String,
        trailing: Bool
    ) -> (items: Set<[UInt8]>, prefixes: Set<[UInt8]>) {
        var items: Set<[UInt8]> = []
        var prefixes: Set<[UInt8]> = []
        for name in names.map({ Array($0.utf8) }) where name.starts(with: Array(prefix.utf8)) {
            let rest = Array(name[prefix.utf8.count...])
            let mark = Array(delimiter.utf8)
            let cut =
                mark.isEmpty || rest.count < mark.count
                ? nil : (0...(rest.count - mark.count)).first { Array(rest[$0..<($0 + mark.count)]) == mark }
            guard let cut else {
                items.insert(name)
                continue
            }
            let common = Array(name[..<(prefix.utf8.count + cut + mark.count)])
            prefixes.insert(common)
            if trailing, common == name { items.insert(name) }
        }
        return (items, prefixes)
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>) func pagesAddUpToTheWhole(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let storage = try CloudStorageHarness()
        let letters = ["a", "b", "/", "//", "é", "e\u{301}"]
        var names: Set<[UInt8]> = []
        for _ in 0..<30 {
            let name = (0...Int.random(in: 0..<5, using: &random)).map { _ in
                letters.randomElement(using: &random) ?? "a"
            }.joined()
            names.insert(Array(name.utf8))
            try storage.put(name)
        }
        let all = names.map { String(decoding: $0, as: UTF8.self) }
        for _ in 0..<10 {
            let prefix = ["", "a", "a/", "/", "b"].randomElement(using: &random) ?? ""
            let delimiter = ["", "/", "//"].randomElement(using: &random) ?? ""
            let trailing = Bool.random(using: &random)
            let limit = Int.random(in: 1...7, using: &random)
            let expected = model(all, prefix: prefix, delimiter: delimiter, trailing: trailing)
            let (items, prefixes) = try listed(
                storage,
                "prefix=\(percentEncoded(prefix))&delimiter=\(percentEncoded(delimiter))"
                    + "&includeTrailingDelimiter=\(trailing)&maxResults=\(limit)",
                limit: limit
            )
            let context =
                "seed \(seed), prefix \(prefix), delimiter \(delimiter), trailing \(trailing), pages of \(limit)"
            #expect(Set(items) == expected.items, "\(context)")
            #expect(Set(prefixes) == expected.prefixes, "\(context)")
            #expect(items.count == Set(items).count && prefixes.count == Set(prefixes).count, "\(context)")
            #expect(zip(items, items.dropFirst()).allSatisfy { $0.lexicographicallyPrecedes($1) }, "\(context)")
        }
    }

    /// All pages together; no page may be longer than asked for.
    private func listed(_ storage: CloudStorageHarness, _ query: String, limit: Int) throws -> (
        items: [[UInt8]], prefixes: [[UInt8]]
    ) {
        var items: [[UInt8]] = []
        var prefixes: [[UInt8]] = []
        var token = ""
        repeat {
            let page = storage.call("GET", "/storage/v1/b/bkt/o?\(query)&pageToken=\(percentEncoded(token))").json
            let names = (page["items"]?.elements ?? []).compactMap { $0["name"]?.text }.map { Array($0.utf8) }
            let more = (page["prefixes"]?.elements ?? []).compactMap(\.text).map { Array($0.utf8) }
            #expect(names.count + more.count <= limit)
            items += names
            prefixes += more
            token = page["nextPageToken"]?.text ?? ""
        } while !token.isEmpty
        return (items, prefixes)
    }

    @Test func offsetsBoundNames() throws {
        let storage = try CloudStorageHarness()
        for name in ["a", "b", "c", "d"] { try storage.put(name) }
        #expect(storage.names("startOffset=b&endOffset=d") == ["b", "c"])
    }

    @Test func anEmptyPageHasATokenThatGoesOn() throws {
        let storage = try CloudStorageHarness()
        try storage.put("a")
        var faults = ProtocolFaults()
        faults.emptyPage = true
        let page = storage.call("GET", "/storage/v1/b/bkt/o", faults: faults).json
        #expect(page["items"] == nil)
        let token = try #require(page["nextPageToken"]?.text)
        #expect(storage.names("pageToken=\(percentEncoded(token))") == ["a"])
    }

    @Test(arguments: [
        ("*", "a", true), ("*", "a/b", false), ("**", "a/b", true), ("a/**", "a/b/c", true), ("a?c", "abc", true),
        ("a?c", "a/c", false), ("[a-c]x", "bx", true), ("[!a-c]x", "bx", false), ("{foo,b*}.txt", "bar.txt", true),
        ("{foo,b*}.txt", "qux.txt", false), ("**/c", "a/b/c", true), ("a*b*c", "axxbyyc", true), ("\\*", "*", true),
    ]) func globs(pattern: String, name: String, matches: Bool) throws {
        #expect(try #require(GlobPattern(pattern)).matches(Array(name.utf8)) == matches)
    }

    @Test(arguments: ["[a", "{a,b", "\\"]) func malformedGlobs(pattern: String) {
        #expect(GlobPattern(pattern) == nil)
    }

    @Test func fieldsKeepWhatIsNamed() throws {
        let value: JSONValue = [
            "items": [["name": "a", "size": "1", "metadata": ["k": "v", "l": "w"]]], "kind": "x", "nextPageToken": "t",
        ]
        let mask = try FieldMask("items(name,metadata/k),nextPageToken")
        #expect(
            mask.applied(to: value) == ["items": [["name": "a", "metadata": ["k": "v"]]], "nextPageToken": "t"]
        )
        for text in ["", "items(", "items(name", "a,,b", ")", "a/"] {
            #expect(throws: APIError.self, "\(text)") { try FieldMask(text) }
        }
    }
}
