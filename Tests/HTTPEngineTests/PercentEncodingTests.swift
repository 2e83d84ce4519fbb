import Foundation
import HTTPEngine
import TestSupport
import Testing

@Suite struct PercentEncodingTests {
    @Test func namesAreOneSegment() {
        #expect(PercentEncoding.segment("dir a/x+y#z%?é.bin") == "dir%20a%2Fx%2By%23z%25%3F%C3%A9.bin")
        #expect(PercentEncoding.segment("AZaz09-._~") == "AZaz09-._~")
        #expect(PercentEncoding.segment("..//./") == "..%2F%2F.%2F")
    }

    @Test func spellingsStayTwoNames() {
        #expect(PercentEncoding.segment("\u{E9}") == "%C3%A9")
        #expect(PercentEncoding.segment("e\u{301}") == "e%CC%81")
    }

    @Test func pathsKeepTheirSlashes() {
        #expect(PercentEncoding.path("a b//c") == "a%20b//c")
    }

    @Test func queriesEscapeBothSides() {
        #expect(PercentEncoding.query([]) == "")
        #expect(
            PercentEncoding.query([(name: "a b", value: "c&d=e"), (name: "uploads", value: nil)])
                == "?a%20b=c%26d%3De&uploads"
        )
    }

    @Test func everyTextComesBack() {
        var random = SeededRandom(seed: 71)
        for _ in 0..<500 {
            let text = String(decoding: random.bytes(Int.random(in: 0...40, using: &random)), as: UTF8.self)
            #expect(PercentEncoding.decode(PercentEncoding.segment(text)).map { Array($0.utf8) } == Array(text.utf8))
            // And by somebody else's decoder.
            #expect(PercentEncoding.segment(text).removingPercentEncoding.map { Array($0.utf8) } == Array(text.utf8))
        }
    }

    @Test(arguments: ["%4", "%", "%GG", "%FF", "a%2"])
    func brokenEscapesAreRefused(_ text: String) {
        #expect(PercentEncoding.decode(text) == nil)
    }
}
