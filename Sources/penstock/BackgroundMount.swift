import Configuration
import Glibc
import LinuxPlatform

/// `mount --background`: the same command in another process, until it says that it is ready.
///
/// A new process and not a fork: threads do not survive one.
enum BackgroundMount {
    private static let descriptor: Int32 = 3

    /// Returns when the mount is ready; ends this process with the other's exit code when it gave up.
    static func start() throws(CommandFailure) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw CommandFailure(.internal, "cannot make a pipe: \(Errno.current)") }
        let child = try spawn(writing: ends[1])
        close(ends[1])
        let line = readLine(ends[0])
        close(ends[0])
        if line.isEmpty {
            var status: Int32 = 0
            while waitpid(child, &status, 0) < 0, errno == EINTR {}
            // It has said why on standard error.
            endProcess(status & 0x7F == 0 ? (status >> 8) & 0xFF : 1)
        }
        standardOutput(line)
    }

    /// Says, from the process that serves, that it is ready.
    static func tellReady(_ line: String, on descriptor: Int32) {
        let text = Array((line + "\n").utf8)
        _ = write(descriptor, text, text.count)
        close(descriptor)
    }

    private static func spawn(writing end: Int32) throws(CommandFailure) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        if end != descriptor { posix_spawn_file_actions_adddup2(&actions, end, descriptor) }
        // Whatever else this process was given must not stay open for as long as the mount lives: whoever waits for its
        // end would wait for ever.
        for other in openDescriptors() where other > descriptor { posix_spawn_file_actions_addclose(&actions, other) }
        let arguments =
            CommandLine.arguments.filter { $0 != "--background" } + ["--ready-descriptor", "\(descriptor)"]
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        var child = pid_t()
        let failure = posix_spawn(&child, "/proc/self/exe", &actions, nil, &argv, environ)
        guard failure == 0 else { throw CommandFailure(.internal, "cannot start another process: \(Errno(failure))") }
        return child
    }

    private static func openDescriptors() -> [Int32] {
        guard let directory = opendir("/proc/self/fd") else { return [] }
        defer { closedir(directory) }
        var all: [Int32] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let number = Int32(name) { all.append(number) }
        }
        return all
    }

    /// What comes before the pipe ends, or its first line.
    private static func readLine(_ descriptor: Int32) -> String {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += piece[..<count]
            if bytes.last == 0x0A { return String(decoding: bytes, as: UTF8.self) }
        }
    }
}
