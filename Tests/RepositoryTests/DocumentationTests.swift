import Foundation
import Testing

@Suite struct DocumentationTests {
    private static func documents() throws -> [Repository.File] {
        let top = try ["README.md", "CONTRIBUTING.md"].map(Repository.read)
        return try top + Repository.files(below: ["docs"], suffix: ".md")
    }

    @Test func linksResolve() throws {
        var broken: [String] = []
        for document in try Self.documents() {
            for line in document.lines {
                for match in line.text.matches(of: /\]\(([^)\s]+)\)/) where !match.1.contains("://") {
                    if let complaint = try complaint(about: String(match.1), in: document) {
                        broken.append("\(line.file):\(line.number): \(complaint)")
                    }
                }
            }
        }
        #expect(broken == [])
    }

    private func complaint(about link: String, in document: Repository.File) throws -> String? {
        let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let directory = document.path.split(separator: "/").dropLast().joined(separator: "/")
        let path = parts[0].isEmpty ? document.path : directory.isEmpty ? parts[0] : "\(directory)/\(parts[0])"
        guard Repository.exists(path) else { return "\(link): no such file" }
        guard parts.count == 2, path.hasSuffix(".md") else { return nil }
        let anchors = try Repository.read(path).lines.filter { $0.text.hasPrefix("#") }.map { anchor($0.text) }
        return anchors.contains(parts[1]) ? nil : "\(link): no such heading"
    }

    /// As forges make them: lower case, dashes for blanks, the rest of the punctuation gone.
    private func anchor(_ heading: String) -> String {
        heading.drop { $0 == "#" || $0 == " " }.lowercased().filter { $0.isLetter || $0.isNumber || " -_".contains($0) }
            .replacingOccurrences(of: " ", with: "-")
    }

    /// In docs/SEMANTICS.md each promise is a list item, and ends in `Proof: …` with the tests, or in `Not yet: …`.
    @Test func everyPromiseNamesTheTestThatProvesIt() throws {
        let promises = try promises()
        #expect(!promises.isEmpty)
        for promise in promises {
            let unproven = !promise.contains("Proof: `") && !promise.contains("Not yet: ")
            #expect(!unproven, "no proof: \(promise)")
            guard let proof = promise.firstRange(of: "Proof: ") else { continue }
            for name in promise[proof.upperBound...].matches(of: /`([^`]+)`/).map({ String($0.1) }) {
                #expect(try isTest(name), "no such test: \(name)")
            }
        }
    }

    private func promises() throws -> [String] {
        var promises: [String] = []
        for line in try Repository.read("docs/SEMANTICS.md").lines.map(\.text) {
            if line.hasPrefix("- ") {
                promises.append(line)
            } else if line.hasPrefix("  "), let last = promises.popLast() {
                promises.append(last + " " + line.trimmingCharacters(in: .whitespaces))
            }
        }
        return promises
    }

    /// `Target/function` for Swift, `file.py::function` for Python.
    private func isTest(_ name: String) throws -> Bool {
        if let python = name.wholeMatch(of: /([\w\/]+\.py)::(\w+)/) {
            let path = "Tests/Clients/\(python.1)"
            return try Repository.exists(path) && Repository.read(path).text.contains("def \(python.2)(")
        }
        guard let swift = name.wholeMatch(of: /(\w+)\/(\w+)/), Repository.exists("Tests/\(swift.1)") else {
            return false
        }
        let files = try Repository.files(below: ["Tests/\(swift.1)"], suffix: ".swift")
        return files.contains { $0.text.contains("func \(swift.2)(") }
    }

    @Test func theMakefileSaysWhatEachTargetDoes() throws {
        let makefile = try Repository.read("Makefile").text
        let wanted = ["setup", "demo", "test", "soak", "lint", "fmt", "build", "release", "bench", "clean", "help"]
        for target in wanted { #expect(makefile.contains(try Regex("(?m)^\(target):.* ## .+"))) }
    }
}

@Suite struct MetricDocumentationTests {
    /// docs/METRICS.md has a row for each metric that sources register, with the same words, and no other.
    @Test func everyMetricHasItsRow() throws {
        let rows = try Repository.read("docs/METRICS.md").lines.map(\.text).filter { $0.hasPrefix("| `") }
        let pattern = /\.(counter|gauge|histogram)\(\s*"(\w+)",\s*unit:\s*"([^"]*)",\s*help:\s*"([^"]*)"/
        let files = try Repository.swiftSources().filter { $0.text.contains("help:") }
        let registered = files.flatMap { file in
            file.text.matches(of: pattern).map { "| `\($0.2)` | \($0.1) | \($0.3) | \($0.4) |" }
        }
        #expect(rows == Set(registered).sorted())
    }

    /// A registration that the test above cannot read would go unnoticed.
    @Test func metricsAreRegisteredWithLiterals() throws {
        let others = try Repository.swiftSources().filter { $0.target != "Telemetry" && $0.text.contains("egistry.") }
        let calls = others.flatMap { $0.text.matches(of: /\b[rR]egistry\.(counter|gauge|histogram)\(/) }
        let literal = others.flatMap {
            $0.text.matches(of: /\b[rR]egistry\.(counter|gauge|histogram)\(\s*"\w+",\s*unit:/)
        }
        #expect(calls.count == literal.count)
    }
}
