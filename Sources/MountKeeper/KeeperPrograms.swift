import Glibc
import LinuxPlatform

/// The programs that a keeper can start: the one that has proven itself, held open, and the one that stands under the same
/// name now.
///
/// A program that is replaced on the disk while a process dies must not take over by accident: a new one is used when it
/// was asked for, and kept when it got ready.
struct KeeperPrograms: ~Copyable {
    /// The file that this process was started from.
    let path: String
    private var proven: FileDescriptor
    private var candidate: FileDescriptor?

    /// - Throws: the `errno` of reading /proc/self/exe.
    init() throws(Errno) {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = try retryingOnInterrupt { readlink("/proc/self/exe", &buffer, buffer.count) }
        let own = try FileDescriptor(path: "/proc/self/exe", flags: O_RDONLY)
        path = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        proven = own
        candidate = nil
    }

    /// A path that runs the program, whatever stands under its name by then.
    ///
    /// - Throws: the `errno` of opening the one on the disk.
    mutating func program(_ binary: KeeperState.Binary) throws(Errno) -> String {
        guard binary == .onDisk else { return Self.path(of: proven.rawValue) }
        let opened = try FileDescriptor(path: path, flags: O_RDONLY)
        let name = Self.path(of: opened.rawValue)
        candidate = consume opened
        return name
    }

    /// The one on the disk, as it was tried last, is proven now, or forgotten.
    mutating func settle(isAdopted: Bool) {
        guard let tried = candidate.take() else { return }
        if isAdopted { proven = tried }
    }

    private static func path(of descriptor: Int32) -> String { "/proc/self/fd/\(descriptor)" }
}
