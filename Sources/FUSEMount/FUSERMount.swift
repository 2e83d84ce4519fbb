import CLinux
import Glibc
import LinuxPlatform

/// The set-uid helper of libfuse, for those who may not call mount(2) themselves.
///
/// Source: fusermount3(1); libfuse's mount.c for the descriptor's way: the helper mounts, and sends the opened
/// /dev/fuse over the socket that `_FUSE_COMMFD` names.
enum FUSERMount {
    /// - Returns: the descriptor of the mount's connection.
    static func mount(_ path: String, options: String) throws(MountError) -> FileDescriptor {
        var pair: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
            throw MountError("cannot make a socket", Errno.current)
        }
        let ours = FileDescriptor(owning: pair[0])
        let theirs = FileDescriptor(owning: pair[1])
        let status: Int32
        do {
            status = try run(["-o", options, "--", path], passing: theirs.rawValue)
        } catch {
            throw MountError(.noFUSE, "cannot run fusermount3 (Debian package fuse3): \(error)")
        }
        guard status == 0 else {
            throw MountError(.notPermitted, "fusermount3 could not mount \(path) (status \(status))")
        }
        let descriptor = clinux_receive_descriptor(ours.rawValue)
        guard descriptor >= 0 else { throw MountError("fusermount3 sent no descriptor", Errno.current) }
        return FileDescriptor(owning: descriptor)
    }

    static func unmount(_ path: String, isDetached: Bool) throws(Errno) {
        let status = try run(["-u"] + (isDetached ? ["-z"] : []) + ["--", path], passing: nil)
        guard status == 0 else { throw isDetached ? .permission : Errno(EBUSY) }
    }

    /// Runs the helper and waits for it; its exit status.
    private static func run(_ arguments: [String], passing descriptor: Int32?) throws(Errno) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        if let descriptor {
            // dup2 clears close-on-exec for the child alone.
            posix_spawn_file_actions_adddup2(&actions, descriptor, 3)
            environment.append("_FUSE_COMMFD=3")
        }
        var argv: [UnsafeMutablePointer<CChar>?] = (["fusermount3"] + arguments).map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        var child = pid_t()
        let failure = posix_spawnp(&child, "fusermount3", &actions, nil, &argv, &envp)
        guard failure == 0 else { throw Errno(failure) }
        var status: Int32 = 0
        _ = try retryingOnInterrupt { waitpid(child, &status, 0) }
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
    }
}
