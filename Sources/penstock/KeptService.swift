import Configuration
import FUSEMount
import Glibc
import LinuxPlatform
import MountKeeper
import Telemetry

/// The command line between a keeper and the processes that it starts: `mount` as it was called, and one argument more.
enum KeptService {
    /// Those arguments of `mount` that a process that serves does not get: it has a keeper to talk to.
    private static let readyOption = "--ready-descriptor"

    static func keeper(
        of mountPoint: MountPoint,
        allowsOthers: Bool,
        isWritable: Bool,
        isBackground: Bool,
        _ log: Log,
        ready: @escaping (String) -> Void
    ) throws(MountError) -> MountKeeper {
        let given = CommandLine.arguments
        let options = MountKeeper.Options(
            mountPoint: mountPoint,
            allowsOthers: allowsOthers,
            isWritable: isWritable,
            environment: Settings.environment.map { "\($0.key)=\($0.value)" },
            directory: workingDirectory,
            arguments: { arguments(given, $0, isBackground: isBackground) }
        )
        do throws(MountKeeper.Failure) {
            return try MountKeeper(options, log: log, ready: ready)
        } catch {
            throw MountError(.system, error.description)
        }
    }

    /// The same call, so that the process makes the same of it.
    static func arguments(
        _ given: [String],
        _ descriptors: KeptMount.Descriptors,
        isBackground: Bool
    ) -> [String] {
        var arguments = given
        if let index = arguments.firstIndex(of: readyOption), index + 1 < arguments.count {
            arguments.removeSubrange(index...index + 1)
        }
        // Right behind the command: whatever follows may be behind a "--".
        let end = min(2, arguments.count)
        arguments.insert(contentsOf: ["--kept", descriptors.text] + (isBackground ? ["--background"] : []), at: end)
        return arguments
    }

    /// What a keeper has given to this process, which ends with it.
    static func taken(_ descriptors: KeptMount.Descriptors) throws(CommandFailure) -> KeptMount {
        do throws(Errno) {
            let kept = try KeptMount(descriptors)
            try kept.listen {
                standardError("penstock: the keeper of the mount is gone, and so is the mount\n")
                endProcess(ExitStatus.internal.rawValue)
            }
            return kept
        } catch {
            throw CommandFailure(.internal, "cannot take a mount over from its keeper: \(error)")
        }
    }

    private static var workingDirectory: String? {
        guard let text = getcwd(nil, 0) else { return nil }
        defer { free(text) }
        return String(cString: text)
    }
}
