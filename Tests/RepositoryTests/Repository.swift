import Foundation

/// The working copy that these tests were built from.
enum Repository {
    static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    struct Line: CustomStringConvertible {
        let file: String
        let number: Int
        let text: String
        var description: String { "\(file):\(number): \(text.trimmingCharacters(in: .whitespaces))" }
    }

    /// The lines of one file, with where they are.
    struct File {
        /// Relative to the root.
        let path: String
        let lines: [Line]

        var name: String { String(path.split(separator: "/").last ?? "") }
        let text: String
        /// The lines that hold one of the words: what a regular expression, slow as it is, then looks at.
        func lines(withAnyOf words: [String]) -> [Line] {
            guard words.contains(where: text.contains) else { return [] }
            return lines.filter { line in words.contains(where: line.text.contains) }
        }

        /// `Sources/<target>/…` and `Tests/<target>/…`.
        var target: String { String(path.split(separator: "/").dropFirst().first ?? "") }
    }

    static func read(_ path: String) throws -> File {
        let text = try String(contentsOf: root.appending(path: path), encoding: .utf8)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().map {
            Line(file: path, number: $0.offset + 1, text: String($0.element))
        }
        return File(path: path, lines: lines, text: text)
    }

    /// Every file below the directories whose name ends in `suffix`; what Python compiled is left out.
    static func files(below directories: [String], suffix: String) throws -> [File] {
        try paths(below: directories).filter { $0.hasSuffix(suffix) }.sorted().map(read)
    }

    static func swiftSources() throws -> [File] { try swift.get().filter { $0.path.hasPrefix("Sources/") } }

    /// All Swift of the sources and the tests, read once.
    static func allSwift() throws -> [File] { try swift.get() }

    private static let swift = Result { try files(below: ["Sources", "Tests"], suffix: ".swift") }

    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: root.appending(path: path).standardizedFileURL.path)
    }

    private static func paths(below directories: [String]) throws -> [String] {
        var found: [String] = []
        for directory in directories {
            let below = try FileManager.default.subpathsOfDirectory(atPath: root.appending(path: directory).path)
            found += below.filter { !$0.contains("__pycache__") }.map { "\(directory)/\($0)" }
        }
        return found.filter { path in
            var isDirectory: ObjCBool = false
            return FileManager.default.fileExists(atPath: root.appending(path: path).path, isDirectory: &isDirectory)
                && !isDirectory.boolValue
        }
    }
}

/// Package.swift as far as the rules need it: which targets each target may import.
struct PackageDescription {
    /// By target: the names in its declaration.
    let dependencies: [String: Set<String>]

    init() throws {
        let text = try Repository.read("Package.swift").lines
            .map { $0.text.split(separator: "//", maxSplits: 1, omittingEmptySubsequences: false).first ?? "" }
            .joined(separator: "\n")
        var dependencies: [String: Set<String>] = [:]
        for match in text.matches(of: /(library|tests|arget|ystemLibrary)\(\s*(name:\s*)?"([\w-]+)"/) {
            let names = Self.call(in: text, from: match.range.lowerBound).matches(of: /"([\w-]+)"/).map { String($0.1) }
            let isTests = match.1 == "tests"
            let target = String(match.3) + (isTests ? "Tests" : "")
            // What the function `tests` of Package.swift adds by itself.
            dependencies[target] = Set(names).union(isTests ? ["TestSupport", "LinuxPlatform"] : [])
        }
        self.dependencies = dependencies
    }

    /// The text of a call up to its closing parenthesis.
    private static func call(in text: String, from start: String.Index) -> Substring {
        var depth = 0
        for index in text[start...].indices {
            if text[index] == "(" { depth += 1 }
            if text[index] == ")" {
                depth -= 1
                if depth == 0 { return text[start...index] }
            }
        }
        return text[start...]
    }
}
