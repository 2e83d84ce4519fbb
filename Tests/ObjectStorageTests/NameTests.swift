import ObjectStorage
import Testing

/// What may be the name of an object, and what may be the path of a file.
@Suite struct NameTests {
    private func complaint(_ body: () throws -> Void) -> String? {
        do {
            try body()
            return nil
        } catch let error as ObjectStoreError {
            return error.code == .invalidName ? error.message : "code \(error.code)"
        } catch {
            return "\(error)"
        }
    }

    @Test(arguments: [
        "a", "a/", "/a", "a//b", "a\tb", "..a", "a/..", "é", "e\u{301}", "a b#c%?+&", #"back\slash"#, "trailing.",
        String(repeating: "x", count: 1024), "x/.well-known/acme-challenge/y",
    ])
    func objectsMayBeCalled(_ name: String) { #expect(complaint { _ = try ObjectName(name) } == nil) }

    @Test(arguments: [
        "", ".", "..", "a\nb", "a\rb", "a\0b", String(repeating: "x", count: 1025), String(repeating: "é", count: 513),
        ".well-known/acme-challenge/token",
    ])
    func objectsMayNotBeCalled(_ name: String) {
        #expect(complaint { _ = try ObjectName(name) }?.contains("cannot be used as a name") == true)
    }

    @Test(arguments: [
        "a", "a/b", "...", "a b#c%?+&", "-a", #"back\slash"#, "trailing.", "é", "e\u{301}", "模型/权重.bin", "\u{1F600}",
        String(repeating: "x", count: 255), ".hidden/.x",
    ])
    func filesMayBeCalled(_ path: String) { #expect(complaint { _ = try SafePath(path) } == nil) }

    @Test(arguments: [
        "", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\nb", "a\0b", "a\tb", "\u{1B}[2J", "a\u{7F}",
        "a\u{9B}31m", String(repeating: "x", count: 256), String(repeating: "abc/", count: 256) + "x",
    ])
    func filesMayNotBeCalled(_ path: String) {
        let said = complaint { _ = try SafePath(path) }
        #expect(said?.contains("cannot be used as a name") == true)
        let controls = said?.unicodeScalars.filter { $0.properties.generalCategory == .control } ?? []
        #expect(controls.isEmpty, "the message shows the name without what a terminal would obey")
    }

    @Test func spellingsAreDifferentNames() throws {
        #expect(try ObjectName("\u{E9}") != ObjectName("e\u{301}"))
        #expect(try SafePath("\u{E9}") != SafePath("e\u{301}"))
    }
}
