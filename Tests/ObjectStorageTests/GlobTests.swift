import Foundation
import Testing

@testable import ObjectStorage

@Suite struct GlobTests {
    private struct Vector: Decodable {
        let pattern: String
        let path: String
        let matches: Bool
        init(from decoder: any Decoder) throws {
            var row = try decoder.unkeyedContainer()
            pattern = try row.decode(String.self)
            path = try row.decode(String.self)
            matches = try row.decode(Bool.self)
        }
    }

    @Test func agreesWithPython() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../Fixtures/fnmatch-vectors.json")
        let vectors = try JSONDecoder().decode([Vector].self, from: Data(contentsOf: file))
        #expect(vectors.count > 2000)
        for vector in vectors {
            let matches = try #require(Glob(vector.pattern)).matches(vector.path)
            #expect(matches == vector.matches, "'\(vector.pattern)' on '\(vector.path)'")
        }
    }

    @Test func treatsSlashesAsTheClientDoes() throws {
        #expect(try #require(Glob("onnx/")).matches("onnx/a/b.bin"))
        #expect(try !#require(Glob("onnx/")).matches("onnx"))
        #expect(try #require(Glob("a\\*")).matches("a/b"))
    }

    @Test func takesBoundedTimeOnManyStars() throws {
        let glob = try #require(Glob(String(repeating: "*a", count: 200) + "b"))
        #expect(!glob.matches(String(repeating: "a", count: 5000)))
        #expect(Glob(String(repeating: "*", count: 5000)) == nil)
    }
}
