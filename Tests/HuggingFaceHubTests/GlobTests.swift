import Foundation
import Testing

@testable import HuggingFaceHub

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
            let matches = try Glob(vector.pattern).matches(vector.path)
            #expect(matches == vector.matches, "'\(vector.pattern)' on '\(vector.path)'")
        }
    }

    @Test func treatsSlashesAsTheClientDoes() throws {
        #expect(try Glob("onnx/").matches("onnx/a/b.bin"))
        #expect(try !Glob("onnx/").matches("onnx"))
        #expect(try Glob("a\\*").matches("a/b"))
    }

    @Test func takesBoundedTimeOnManyStars() throws {
        let glob = try Glob(String(repeating: "*a", count: 200) + "b")
        #expect(!glob.matches(String(repeating: "a", count: 5000)))
        #expect(throws: HubError.self) { try Glob(String(repeating: "*", count: 5000)) }
    }
}

@Suite struct FileFilterTests {
    @Test func includesThenExcludes() throws {
        let filter = try FileFilter(include: ["*.json", "*.txt"], exclude: ["onnx/*"])
        #expect(filter.admits("config.json"))
        #expect(filter.admits("a/b.txt"))
        #expect(!filter.admits("onnx/config.json"))
        #expect(!filter.admits("model.bin"))
        #expect(try FileFilter().admits("anything"))
        #expect(try !FileFilter(exclude: ["*"]).admits("anything"))
    }

    @Test func namesPatternsThatMatchNothing() throws {
        let filter = try FileFilter(include: ["*.json", "*.gguf"])
        #expect(filter.unmatchedIncludes(in: ["config.json"]) == ["*.gguf"])
    }
}
