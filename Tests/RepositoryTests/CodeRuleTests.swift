import Foundation
import Testing

@Suite struct CodeRuleTests {
    private static let maximumLines = 500
    private static let maximumFunctionLines = 70

    /// - Parameter words: one of which every match holds.
    private func lines(
        matching pattern: some RegexComponent,
        _ words: [String],
        in files: [Repository.File]
    ) -> [String] {
        files.flatMap { $0.lines(withAnyOf: words) }.filter { $0.text.firstMatch(of: pattern) != nil }
            .map(\.description)
    }

    @Test func nothingIsPublic() throws {
        let pattern = /^\s*(@\w+\s+)*(public|open) (?!import)/
        #expect(lines(matching: pattern, ["public ", "open "], in: try Repository.swiftSources()) == [])
    }

    /// `exit` takes OpenSSL down under the threads that are still there: the program ends by `endProcess`.
    @Test func noCommandCallsExit() throws {
        let files = try Repository.swiftSources().filter { $0.path.hasPrefix("Sources/penstock/") }
        #expect(files.count > 5)
        #expect(lines(matching: /(^|[^\w.(])exit\(/, ["exit("], in: files) == [])
    }

    @Test func nothingIsLeftForLater() throws {
        let files = try Repository.allSwift() + Repository.files(below: ["scripts", "docs"], suffix: "")
        #expect(lines(matching: /\b(FIX[M]E|TO[D]O|XX[X])\b/, ["FIX", "TOD", "XX"], in: files) == [])
    }

    @Test func filesAreOneRoom() throws {
        let long = try Repository.allSwift().filter { $0.lines.count > Self.maximumLines + 1 }
        #expect(long.map { "\($0.path): \($0.lines.count - 1) lines" } == [])
    }

    /// By the formatter's indentation: a function ends at the first closing brace in its own column.
    @Test func functionsAreShort() throws {
        var long: [String] = []
        for file in try Repository.allSwift() {
            for (index, line) in file.lines.enumerated() where ["func ", "init"].contains(where: line.text.contains) {
                guard line.text.firstMatch(of: /^\s*([\w@()]+ )*(func \S+|init[?]?[(<])/) != nil else { continue }
                let indent = line.text.prefix { $0 == " " }
                let rest = file.lines[(index + 1)...].prefix { $0.text != "\(indent)}" && !endsElsewhere($0, indent) }
                if rest.count + 2 > Self.maximumFunctionLines { long.append("\(line): \(rest.count + 2) lines") }
            }
        }
        #expect(long == [])
    }

    /// A function on one line, or a protocol's requirement: something else begins in its column.
    private func endsElsewhere(_ line: Repository.Line, _ indent: Substring) -> Bool {
        let isInColumn = line.text.hasPrefix(indent) && !line.text.dropFirst(indent.count).hasPrefix(" ")
        return isInColumn && !line.text.isEmpty && line.text.dropFirst(indent.count).first != ")"
    }

    @Test func whatOtherTargetsSeeSaysWhatItPromises() throws {
        let pattern =
            #/^(@\S+ )*package (final |indirect )*(struct|class|enum|actor|protocol|func|typealias|let|var)\b/#
        var silent: [String] = []
        for file in try Repository.swiftSources() {
            for (index, line) in file.lines.enumerated()
            where line.text.contains("package ") && line.text.firstMatch(of: pattern) != nil {
                let above = file.lines[..<index].reversed().first { !$0.text.hasPrefix("@") && !$0.text.hasPrefix("#") }
                if above?.text.hasPrefix("///") != true { silent.append(line.description) }
            }
        }
        #expect(silent == [])
    }

    /// The compiler is told to look away only with the reason why that is safe beside it.
    @Test func whatTheCompilerCannotCheckIsExplained() throws {
        var silent: [String] = []
        let words = ["@unchecked", "nonisolated(unsafe)"]
        for file in try Repository.swiftSources() where words.contains(where: file.text.contains) {
            for (index, line) in file.lines.enumerated()
            where line.text.firstMatch(of: #/^[^/]*(@unchecked Sendable|nonisolated\(unsafe\))/#) != nil {
                let above = index > 0 ? file.lines[index - 1].text.trimmingCharacters(in: .whitespaces) : ""
                if !line.text.contains("//"), !above.hasPrefix("//") { silent.append(line.description) }
            }
        }
        #expect(silent == [])
    }

    @Test func namesSayTheJob() throws {
        let vague = /(Utils?|Helpers?|Manager|Common|Misc|Core)(\W|$)/
        let files = try Repository.allSwift()
        let names = files.map(\.path).filter { $0.firstMatch(of: vague) != nil }
        let declaration = /\b(struct|class|enum|actor|protocol) \w*(Utils?|Helpers?|Manager|Common|Misc)\b/
        #expect(names == [])
        #expect(lines(matching: declaration, ["Util", "Helper", "Manager", "Common", "Misc"], in: files) == [])
    }

    @Test func testsDoNotWaitByTheClock() throws {
        let tests = try Repository.files(below: ["Tests"], suffix: ".swift")
        let pattern = /^[^\/"]*\b(usleep|nanosleep|Thread\.sleep)\(/
        #expect(lines(matching: pattern, ["sleep"], in: tests) == [])
    }

    @Test func noFileNamesTheMachineItWasWrittenOn() throws {
        var files =
            try Repository.allSwift()
            + Repository.files(below: ["scripts", "docs", "Tests/Clients", ".ci"], suffix: "")
        for path in ["Makefile", "README.md", "CONTRIBUTING.md", "Package.swift"] {
            files.append(try Repository.read(path))
        }
        let pattern = /(^|[\s"'`(=])\/(work|home|root)\//
        #expect(lines(matching: pattern, ["/work", "/home", "/root"], in: files) == [])
    }
}
