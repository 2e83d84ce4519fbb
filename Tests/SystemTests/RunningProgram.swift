import Foundation
import Testing

/// A program that was started, and can be frozen and killed.
final class RunningProgram: Sendable {
    /// Far more than anything here takes on a busy machine: it only ends what hangs.
    private static let patience = Duration.seconds(180)

    private let process: Process
    private let output: URL
    private let errors: URL
    let processID: Int32

    /// - Parameter scratch: where its output goes.
    init(_ program: String, _ arguments: [String], environment: [String: String], scratch: URL) throws {
        let name = UUID().uuidString
        output = scratch.appending(path: "\(name).out")
        errors = scratch.appending(path: "\(name).err")
        for file in [output, errors] { try Data().write(to: file) }
        process = Process()
        process.executableURL = URL(filePath: try ReleasePrograms.path(program))
        process.arguments = arguments
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try FileHandle(forWritingTo: output)
        process.standardError = try FileHandle(forWritingTo: errors)
        try process.run()
        processID = process.processIdentifier
    }

    deinit { if process.isRunning { kill(processID, SIGKILL) } }

    var isRunning: Bool { process.isRunning }

    func send(_ signal: Int32) { kill(processID, signal) }

    /// What it printed so far.
    var printed: (output: String, errors: String) {
        let texts = [output, errors].map { String(decoding: (try? Data(contentsOf: $0)) ?? Data(), as: UTF8.self) }
        return (texts[0], texts[1])
    }

    /// Waits for its end; kills what does not end.
    func ended() async throws -> EndedProgram {
        if try await !eventually(within: Self.patience, { !self.isRunning }) {
            send(SIGKILL)
            Issue.record("still running after \(Self.patience): \(printed)")
            _ = try await eventually(within: .seconds(10)) { !self.isRunning }
        }
        let (output, errors) = printed
        let wasKilled = process.terminationReason == .uncaughtSignal
        return EndedProgram(status: process.terminationStatus, wasKilled: wasKilled, output: output, errors: errors)
    }

    /// SIGKILL, and its end.
    func killed() async throws -> EndedProgram {
        send(SIGKILL)
        return try await ended()
    }

    /// Kills it when the condition holds; false when it ended by itself before.
    func killed(when condition: () -> Bool) async throws -> Bool {
        _ = try await eventually(within: Self.patience) { condition() || !self.isRunning }
        return try await killed().wasKilled
    }
}

/// How a program ended.
struct EndedProgram: CustomStringConvertible {
    let status: Int32
    let wasKilled: Bool
    let output: String
    let errors: String

    var description: String { "status \(status)\(wasKilled ? " by a signal" : "")\n\(output)\(errors)" }
}

/// Whether something comes true in time: looks again and again.
func eventually(within limit: Duration, _ condition: () throws -> Bool) async throws -> Bool {
    let end = ContinuousClock.now.advanced(by: limit)
    while try !condition() {
        if ContinuousClock.now > end { return false }
        try await Task.sleep(for: .milliseconds(2))
    }
    return true
}
