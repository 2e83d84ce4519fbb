import ArgumentParser
import Configuration
import Glibc
import ObjectStorage
import Publication
import Snapshots
import Telemetry

/// What ends a command: a sentence for standard error, and the exit code that Jobs go by.
struct CommandFailure: Error {
    var status: ExitStatus
    var message: String

    init(_ status: ExitStatus, _ message: String) {
        self.status = status
        self.message = message
    }

    init(_ error: SnapshotError) {
        let status: ExitStatus =
            switch error.code {
            case .usage: .usage
            case .integrity: .integrity
            case .notFound: .notFound
            case .credentials: .credentials
            case .conflict: .usage
            case .retryable: error.isResumable ? .partial : .retryable
            case .interrupted: .interrupted
            case .internal: .internal
            }
        self.init(status, error.message)
    }

    init(_ error: ObjectStoreError, while doing: String) { self.init(SnapshotError(error, while: doing)) }
    init(_ error: PublicationError) { self.init(SnapshotError(error)) }
}

extension CommandFailure {
    /// Writes the message to standard error; what ends the process with its status.
    func told() -> ExitCode {
        standardError("penstock: \(message)\n")
        return ExitCode(status.rawValue)
    }
}

extension ParsableCommand {
    /// Runs a command's work; a failure becomes its message on standard error and its exit code.
    func reporting(_ work: () async throws(CommandFailure) -> Void) async throws {
        do throws(CommandFailure) {
            try await work()
        } catch {
            throw error.told()
        }
    }
}

/// Ends this process now.
///
/// Not by `exit`: that takes the libraries' globals down (OpenSSL's among them) while threads of ours may still be on
/// their way out, and both then free the same memory. Everything we print has left already.
func endProcess(_ status: Int32) -> Never { _exit(status) }

/// Writes to standard error, past every buffer. What looks like a secret is cut out: servers echo what they were sent;
/// and names that came from elsewhere cannot move the cursor.
func standardError(_ text: String) { write(STDERR_FILENO, PlainText.shown(Redaction.redacted(text))) }
/// Writes to standard output, past every buffer; names that came from elsewhere cannot move the cursor.
func standardOutput(_ text: String) { write(STDOUT_FILENO, PlainText.shown(text)) }
/// Takes the line of a terminal away that standard error stands in.
func eraseLine() { write(STDERR_FILENO, "\r\u{1B}[K") }

/// Empties a terminal that standard output is.
func clearScreen() { write(STDOUT_FILENO, "\r\u{1B}[H\u{1B}[2J") }

private func write(_ descriptor: Int32, _ text: String) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        // Nobody reads any more: there is nobody to tell.
        guard count > 0 else { return }
        rest = rest.dropFirst(count)
    }
}
