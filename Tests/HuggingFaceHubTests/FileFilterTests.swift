import Testing

@testable import HuggingFaceHub

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

    @Test func refusesAPatternThatIsTooLong() {
        #expect(throws: HubError.self) { try FileFilter(include: [String(repeating: "*", count: 5000)]) }
    }
}
