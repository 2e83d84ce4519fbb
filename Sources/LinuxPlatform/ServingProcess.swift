import CLinux
import Glibc

/// How a process has ended.
package enum ProcessEnd: Hashable, Sendable, CustomStringConvertible {
    case exited(Int32)
    case killed(signal: Int32)

    /// Reads a status of waitpid(2).
    package init(waitStatus: Int32) {
        let signal = waitStatus & 0x7F
        self = signal == 0 ? .exited((waitStatus >> 8) & 0xFF) : .killed(signal: signal)
    }

    package var description: String {
        switch self {
        case .exited(let status): "exit status \(status)"
        case .killed(let signal): "signal \(signal)"
        }
    }
}

/// A child process that runs beside this one, and maybe longer than what it was started for.
package enum ServingProcess {
    /// What is to be run, and with what.
    package struct Plan: Sendable {
        /// Opened as it stands: no search along `PATH`.
        package var program: String
        /// With the program's own name in front.
        package var arguments: [String]
        /// As `NAME=value`.
        package var environment: [String]
        /// Its working directory, where that still is one; nil: this process's.
        package var directory: String?
        /// Descriptors of this process that the child has, too, under the same numbers.
        package var descriptors: [Int32]

        package init(
            program: String,
            arguments: [String],
            environment: [String],
            directory: String? = nil,
            descriptors: [Int32] = []
        ) {
            self.program = program
            self.arguments = arguments
            self.environment = environment
            self.directory = directory
            self.descriptors = descriptors
        }
    }

    /// Starts it in a process group of its own, with all signals as a program expects them, without input and output;
    /// standard error is this process's.
    ///
    /// - Returns: its process id.
    /// - Throws: the error number of posix_spawn(3).
    package static func start(_ plan: Plan) throws(Errno) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        // A copy onto itself is no longer closed on exec: glibc's posix_spawn promises that.
        for descriptor in plan.descriptors {
            posix_spawn_file_actions_adddup2(&actions, descriptor, descriptor)
        }
        if let directory = plan.directory, access(directory, X_OK) == 0 {
            clinux_spawn_in_directory(&actions, directory)
        }
        var arguments: [UnsafeMutablePointer<CChar>?] = plan.arguments.map { strdup($0) } + [nil]
        var environment: [UnsafeMutablePointer<CChar>?] = plan.environment.map { strdup($0) } + [nil]
        defer { (arguments + environment).forEach { free($0) } }
        var child = pid_t()
        let result = withOwnGroupAndSignals { attributes in
            posix_spawn(&child, plan.program, &actions, attributes, &arguments, &environment)
        }
        guard result == 0 else { throw Errno(result) }
        return child
    }

    /// What `ps` and `top` show of this process; to be called on its first thread.
    ///
    /// - Parameter name: at most 15 bytes are shown.
    package static func nameThisProcess(_ name: String) { clinux_name_this_thread(name) }

    /// A child that has ended, also one that was adopted from others; nil when there is none now.
    package static func reap() -> (process: Int32, end: ProcessEnd)? {
        var status: Int32 = 0
        guard let child = try? retryingOnInterrupt({ waitpid(-1, &status, WNOHANG) }), child > 0 else { return nil }
        return (child, ProcessEnd(waitStatus: status))
    }
}
