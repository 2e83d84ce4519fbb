import AdminEndpoint
import FUSEMount
import LinuxPlatform
import Telemetry

extension AdminServer {
    /// Listens, though nobody answers before the mount is there; nil with a warning when it cannot and need not.
    static func listening(
        _ sockets: SocketDirectory?,
        at mountPoint: MountPoint,
        isRequired: Bool,
        _ log: Log
    ) throws(MountServiceError) -> AdminServer? {
        guard let sockets else { return nil }
        do throws(Errno) {
            return try AdminServer(sockets, mountPoint: mountPoint.path, log: log)
        } catch {
            if isRequired { throw .socket(sockets.path, error) }
            log.warn(
                "no socket: status, probe and prefetch will not find this mount; --runtime-dir names another directory",
                ["directory": LogValue(sockets.path), "error": LogValue(error)]
            )
            return nil
        }
    }
}
