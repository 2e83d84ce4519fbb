import Glibc
import LinuxPlatform
import TestSupport
import Testing

@Suite struct ChildProcessTests {
    private func run(
        _ script: String,
        _ environment: [String] = [],
        timeout: Duration = .seconds(60),
        limit: Int = 1000
    ) async throws(ChildProcess.Failure) -> String {
        let output = try await ChildProcess.run(
            ["/bin/sh", "-c", script],
            environment: ["PATH=/usr/bin:/bin"] + environment,
            timeout: timeout,
            limit: limit
        )
        return String(decoding: output, as: UTF8.self)
    }

    private func failure(
        _ body: () async throws(ChildProcess.Failure) -> some Sendable
    ) async -> String? {
        do throws(ChildProcess.Failure) {
            _ = try await body()
            return nil
        } catch {
            return error.message
        }
    }

    @Test func itsOutputComesBack() async throws {
        #expect(try await run("echo $WORD; echo hidden >&2; cat", ["WORD=hello"]) == "hello\n")
    }

    @Test func wordsCountMoreThanTheExitStatus() async throws {
        #expect(try await run("echo sorry; exit 3") == "sorry\n")
        #expect(
            await failure { () async throws(ChildProcess.Failure) in try await run("exit 3") }?.contains("768") == true
        )
    }

    @Test func whatClosesItsOutputMayStayForAMoment() async throws {
        #expect(try await run("echo done; exec >&-; exec cat /proc/self/status") == "done\n")
    }

    @Test func aProgramThatHangsIsStopped() async {
        let message = await failure { () async throws(ChildProcess.Failure) in
            try await run("exec sleep 600", timeout: .milliseconds(200))
        }
        #expect(message?.contains("stopped") == true)
    }

    @Test func whatClosesItsOutputAndHangsIsStopped() async throws {
        #expect(try await run("echo done; exec >&-; sleep 600", timeout: .seconds(2)) == "done\n")
    }

    @Test func tooMuchOutputIsCut() async {
        let message = await failure { () async throws(ChildProcess.Failure) in try await run("yes") }
        #expect(message?.contains("1000 bytes") == true)
    }

    /// The shell, what it started, and `yes` hold the writing end of a FIFO: it hangs up when all of them are gone.
    @Test func itsChildrenAreKilledWithIt() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/alive"
        #expect(mkfifo(path, 0o600) == 0)
        let fifo = try FileDescriptor(path: path, flags: O_RDONLY | O_NONBLOCK)
        _ = await failure { () async throws(ChildProcess.Failure) in
            try await run("exec 4> '\(path)'; sleep 600 & exec yes")
        }
        var poller = pollfd(fd: fifo.rawValue, events: Int16(POLLIN), revents: 0)
        #expect(poll(&poller, 1, 60_000) == 1)
        #expect(Int32(poller.revents) & POLLHUP != 0)
    }

    @Test func aMissingProgramIsExplained() async {
        let message = await failure { () async throws(ChildProcess.Failure) in
            try await ChildProcess.run(["/nonexistent/x"], environment: [], timeout: .seconds(5), limit: 10)
        }
        #expect(message?.contains("cannot be run") == true)
    }
}
