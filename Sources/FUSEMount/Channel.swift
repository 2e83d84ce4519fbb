import CLinux
import Glibc
import LinuxPlatform

/// The connection to the kernel, and the mount at its other end: made by us, so that another process can hold it.
struct Channel: ~Copyable {
    /// Of /dev/fuse, with a mount.
    let descriptor: FileDescriptor

    /// Goes on with a mount that another process has made.
    init(descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

    /// Mounts by mount(2), or by fusermount3 where we may not.
    init(mountingAt path: String, allowsOthers: Bool, isWritable: Bool) throws(MountError) {
        let common = "default_permissions,max_read=\(FUSESession.maximumRead)\(allowsOthers ? ",allow_other" : "")"
        if let device = try Self.mount(path, common, isWritable) {
            descriptor = device
        } else {
            let options = "\(isWritable ? "rw" : "ro"),nosuid,nodev,noatime,fsname=penstock,subtype=penstock," + common
            descriptor = try FUSERMount.mount(path, options: options)
        }
    }

    /// Nil when this process is not allowed to.
    private static func mount(_ path: String, _ common: String, _ isWritable: Bool) throws(MountError)
        -> FileDescriptor?
    {
        let device: FileDescriptor
        do {
            device = try FileDescriptor(path: "/dev/fuse", flags: O_RDWR)
        } catch {
            if error == .access || error == .permission { return nil }
            throw MountError(.noFUSE, "cannot open /dev/fuse: \(error); the kernel module or the device is missing")
        }
        let options = "fd=\(device.rawValue),rootmode=40000,user_id=\(getuid()),group_id=\(getgid())," + common
        let flags = isWritable ? clinux_mount_flags_writable() : clinux_mount_flags_read_only()
        if clinux_mount("penstock", path, MountPoint.filesystemType, flags, options) == 0 { return device }
        let error = Errno.current
        if error == .permission { return nil }
        throw MountError("cannot mount at \(path)", error)
    }
}

/// The kernel's read-ahead for a mount.
enum KernelReadAhead {
    /// Raises it: it starts at 128 KiB whatever INIT said. Needs root and a writable /sys.
    ///
    /// - Parameter kibibytes: what the kernel may read before it is asked for, for one stream.
    /// - Throws: the `errno` of reading the mount table or of writing.
    static func set(_ kibibytes: Int, at path: String) throws(Errno) {
        guard let device = try MountTable.current().top(at: path)?.device else { throw .noEntry }
        let file = try FileDescriptor(path: "/sys/class/bdi/\(device)/read_ahead_kb", flags: O_WRONLY)
        let text = Array("\(kibibytes)\n".utf8)
        let buffer = BufferLease(size: text.count)
        buffer.bytes.copyBytes(from: text)
        try file.write(UnsafeRawBufferPointer(buffer.bytes), at: 0)
    }
}
