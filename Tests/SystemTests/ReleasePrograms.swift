import Foundation

/// The programs under test: the release build that `make system` names in `PENSTOCK_BINARIES`.
enum ReleasePrograms {
    struct Missing: Error, CustomStringConvertible {
        let path: String
        var description: String { "\(path) is not there: run these tests with `make system`, which builds it first" }
    }

    /// Where a program is. Never skipped silently: a program that is not built is a failure that says so.
    static func path(_ name: String) throws -> String {
        let root = URL(filePath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let directory =
            ProcessInfo.processInfo.environment["PENSTOCK_BINARIES"] ?? root.appending(path: ".build/release").path
        let path = "\(directory)/\(name)"
        guard FileManager.default.isExecutableFile(atPath: path) else { throw Missing(path: path) }
        return path
    }

    /// Runs a tool to its end and gives what it printed.
    static func output(of tool: String, _ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [tool] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let bytes = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failed(tool: tool, status: process.terminationStatus) }
        return String(decoding: bytes, as: UTF8.self)
    }

    struct Failed: Error {
        let tool: String
        let status: Int32
    }
}
