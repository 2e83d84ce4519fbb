import Testing

@testable import HuggingFaceHub

@Suite struct ContentRangeTests {
    @Test func readsTheOneForm() {
        let range = ContentRange("bytes 0-9/10")
        #expect(range?.first == 0 && range?.last == 9 && range?.total == 10)
        #expect(ContentRange.unsatisfied("bytes */10") == 10)
    }

    @Test(arguments: [
        "", "bytes", "bytes 0-9", "bytes 0-9/*", "bytes 9-0/10", "bytes 0-10/10", "bytes -1-9/10", "bytes +0-9/10",
        "items 0-9/10",
        "bytes 0-9/10/11", "bytes 0-9-9/10", "bytes 0-99999999999999999999/999999999999999999999", "bytes */10",
    ])
    func refusesOthers(_ text: String) {
        #expect(ContentRange(text) == nil)
    }

    @Test func readsDigestsOfETags() {
        let hex = String(repeating: "a", count: 40)
        #expect(digest(inETag: "W/\"\(hex)\"") == hex)
        #expect(digest(inETag: hex) == hex)
        #expect(digest(inETag: "\"abc-12\"") == nil)
        #expect(digest(inETag: nil) == nil)
    }
}
