import Configuration
import TestSupport
import Testing

@Suite struct YAMLTests {
    private func parse(_ text: String) throws(ConfigurationError) -> YAMLNode? {
        try YAMLNode.parse(Array(text.utf8), file: "c.yaml")
    }

    @Test func buildsTheTreeWithItsLines() throws {
        let root = try #require(try parse("# settings\na: 1\nb:\n  - x\n  - 'y: z'\nc: {d: null, e: \"null\"}\n"))
        guard case .mapping(let entries) = root.content else {
            Issue.record("no mapping")
            return
        }
        #expect(entries.map(\.key) == ["a", "b", "c"])
        #expect(entries.map(\.line) == [2, 3, 6])
        #expect(entries[0].value.content == .scalar("1"))
        guard case .sequence(let elements) = entries[1].value.content else {
            Issue.record("no sequence")
            return
        }
        #expect(elements.map(\.content) == [.scalar("x"), .scalar("y: z")])
        #expect(elements.map(\.line) == [4, 5])
        guard case .mapping(let inner) = entries[2].value.content else {
            Issue.record("no mapping")
            return
        }
        #expect(inner.map(\.value.content) == [.scalar(nil), .scalar("null")])
    }

    @Test(arguments: ["", "\n\n", "# only words\n", "---\n", "~"]) func nothingIsNothing(text: String) throws {
        #expect(try parse(text) == nil)
    }

    @Test(arguments: [
        ("a: 1\nb: &x 2\n", "c.yaml:2: anchors are not allowed"),
        ("a: &x [1]\n", "c.yaml:1: anchors are not allowed"),
        ("a: 1\nb: *x\n", "c.yaml:2: aliases are not allowed"),
        ("a: !!int 3\n", "c.yaml:1: tags are not allowed"),
        ("a: !python/object {}\n", "c.yaml:1: tags are not allowed"),
        ("a: 1\n<<: {b: 2}\n", "c.yaml:2: merge keys are not allowed"),
        ("a: 1\nb: 2\na: 3\n", "c.yaml:3: 'a' stands already in line 1"),
        ("? [a]\n: 1\n", "c.yaml:1: a key is not text"),
        ("a: 1\n---\nb: 2\n", "c.yaml:2: has more than one document"),
    ])
    func refusesWhatCanSurprise(text: String, complaint: String) {
        let error = #expect(throws: ConfigurationError.self) { try parse(text) }
        #expect(error?.description == complaint)
    }

    @Test(arguments: ["a: [1, 2\n", "a: \"open\n", "\ta: 1", "a: b: c", "- a\nb: 1\n", "%YAML 9\n", "a: \u{1}"])
    func saysWhereItIsNoYAML(text: String) {
        let error = #expect(throws: ConfigurationError.self) { try parse(text) }
        #expect(error?.description.hasPrefix("c.yaml:") == true)
    }

    @Test func refusesBytesThatAreNoUTF8() {
        #expect(throws: ConfigurationError.self) { try YAMLNode.parse([0x61, 0x3A, 0x20, 0xFF, 0xFE], file: "c.yaml") }
    }

    @Test func isBoundedInSizeDepthAndNumber() throws {
        let large = "a: " + String(repeating: "x", count: 1 << 20)
        let deep = String(repeating: "[", count: 17) + String(repeating: "]", count: 17)
        let many = "[" + String(repeating: "x,", count: 10_000) + "]"
        for text in [large, deep, many, String(repeating: "[", count: 100_000), String(repeating: "{a: ", count: 5000)]
        {
            #expect(throws: ConfigurationError.self) { try parse(text) }
        }
        #expect(try parse(String(repeating: "[", count: 16) + String(repeating: "]", count: 16)) != nil)
    }

    /// Whatever it is given, the parser gives a tree or an error.
    @Test(arguments: 0..<300) func damagedFilesAreATreeOrAnError(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var bytes = Array("memory: 64M\nlist:\n  - a\n  - \"b\\u00e9\"\ngroup: {x: 'y', z: [1, ~]} # end\n".utf8)
        for _ in 0...random.next() % 6 {
            let position = Int(random.next() % UInt64(bytes.count))
            switch random.next() % 4 {
            case 0: bytes[position] = UInt8(truncatingIfNeeded: random.next())
            case 1: bytes.remove(at: position)
            case 2:
                bytes.insert(
                    contentsOf: Array("&*!{}[]:-?|>%@`\"'\n ".utf8).shuffled(using: &random).prefix(3),
                    at: position
                )
            default: bytes.removeLast(min(bytes.count - 1, 3))
            }
        }
        do throws(ConfigurationError) {
            _ = try YAMLNode.parse(bytes, file: "c.yaml")
        } catch {
            #expect(error.description.hasPrefix("c.yaml:"))
            #expect(error.problems.count == 1)
        }
    }
}
