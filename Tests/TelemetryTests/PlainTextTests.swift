import Telemetry
import Testing

@Suite struct PlainTextTests {
    @Test(arguments: ["", "plain\ttext\n", "é 模型 █░ …", "\u{1F600}"])
    func whatShowsAsItselfStays(_ text: String) { #expect(PlainText.shown(text) == text) }

    @Test(arguments: [
        ("a\u{1B}[2Jb", "a\u{FFFD}[2Jb"), ("\r\nx", "\u{FFFD}\nx"), ("\u{202E}gpj.x", "\u{FFFD}gpj.x"),
        ("a\u{9B}m", "a\u{FFFD}m"), ("\u{7F}\0", "\u{FFFD}\u{FFFD}"),
    ])
    func whatDoesNotIsReplaced(_ text: String, _ shown: String) { #expect(PlainText.shown(text) == shown) }
}
