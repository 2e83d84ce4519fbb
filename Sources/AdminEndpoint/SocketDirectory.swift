import Checksums
import Glibc
package import LinuxPlatform

/// The directory in which the daemons of a machine, or of a container, listen: one socket for each mount.
///
/// Its owner's alone. A socket is named after its mount point, so that a daemon that takes another one's place listens
/// where that one did; a socket whose process is gone is taken away by whoever comes across it.
package struct SocketDirectory: Sendable {
    package static let suffix = ".sock"
    private static let lockName = ".lock"
    private static let patience = Duration.seconds(5)
    /// Mounts at one path: in as many containers that share the directory.
    private static let maximumSameName = 64

    /// Absolute.
    package let path: String

    /// - Parameter path: made relative to the working directory when it is not absolute.
    package init(_ path: String) {
        if path.hasPrefix("/") {
            self.path = path
        } else {
            let current = getcwd(nil, 0)
            defer { free(current) }
            self.path = (current.map { String(cString: $0) } ?? "") + "/" + path
        }
    }

    /// Where it is when nobody says: `/run/penstock` for root, and for others below the directory that their session has.
    package static func standard(_ environment: [String: String]) -> String {
        guard geteuid() != 0, let session = environment["XDG_RUNTIME_DIR"], session.hasPrefix("/") else {
            return "/run/penstock"
        }
        return session + "/penstock"
    }

    // MARK: Listening

    /// Listens for a mount, under its own name.
    ///
    /// - Throws: `permission` when the directory is not ours alone, `EADDRINUSE` when too many have the name, `nameTooLong`,
    ///   or the `errno` of the call that failed.
    package func listen(mountPoint: String) throws(Errno) -> ListeningSocket {
        try prepare()
        return try locked { () throws(Errno) in
            for number in 0..<Self.maximumSameName {
                let path = "\(path)/\(Self.name(mountPoint, number))"
                switch try UnixSocket.isAlive(path) {
                case true?: continue
                case false?: unlink(path)
                case nil: break
                }
                return ListeningSocket(try UnixSocket.listen(path), path: path)
            }
            throw Errno(EADDRINUSE)
        }
    }

    /// Takes a socket of ours away, unless another process listens there by now.
    package func remove(_ path: String) {
        try? locked { () throws(Errno) in
            if try UnixSocket.isAlive(path) == false { unlink(path) }
        }
    }

    /// Sockets that somebody listens on, in byte order; those that nobody does are taken away. None where there is no
    /// directory.
    package func sockets() throws(Errno) -> [String] {
        let names: [String]
        do throws(Errno) {
            let directory = try FileDescriptor(path: path, flags: O_RDONLY | O_DIRECTORY)
            names = try directory.entries().map(\.name).filter { $0.hasSuffix(Self.suffix) }
        } catch {
            if error == .noEntry { return [] }
            throw error
        }
        var alive: [String] = []
        for name in names.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            let path = "\(path)/\(name)"
            switch try? UnixSocket.isAlive(path) {
            case true?: alive.append(path)
            case false?: remove(path)
            case nil: break
            }
        }
        return alive
    }

    /// For people the last part of the mount point, and enough of a hash to tell it from others.
    static func name(_ mountPoint: String, _ number: Int) -> String {
        let last = mountPoint.split(separator: "/").last ?? "root"
        let shown = last.utf8.filter { 0x30...0x39 ~= $0 || 0x61...0x7A ~= $0 | 0x20 && $0 > 0x40 || $0 == 0x2D }
        let digest = SHA256Digest.of(Array(mountPoint.utf8)).hex.prefix(12)
        let extra = number == 0 ? "" : ".\(number)"
        return "\(String(decoding: shown.prefix(20), as: UTF8.self))-\(digest)\(extra)\(suffix)"
    }

    /// Makes it, and makes sure that nobody else can put a socket there.
    private func prepare() throws(Errno) {
        try DirectoryTree.make(path, mode: 0o700)
        let status = try FileDescriptor(path: path, flags: O_RDONLY | O_DIRECTORY).status()
        guard status.owner == geteuid() || status.owner == 0, status.mode & 0o022 == 0 else { throw .permission }
    }

    private func locked<Value>(_ body: () throws(Errno) -> Value) throws(Errno) -> Value {
        let lock = try FileLock(path: "\(path)/\(Self.lockName)", patience: Self.patience)
        let value = try body()
        lock.unlock()
        return value
    }
}

/// A socket that listens under a name.
package final class ListeningSocket: Sendable {
    let descriptor: FileDescriptor
    /// Absolute.
    package let path: String

    init(_ descriptor: consuming FileDescriptor, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    /// From now on whoever connects is refused, as if the process were gone.
    func refuse() { shutdown(descriptor.rawValue, Int32(SHUT_RDWR)) }
}
