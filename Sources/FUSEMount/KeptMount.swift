import CLinux
import Glibc
package import LinuxPlatform

/// A mount that a keeper holds, as the process sees it that serves it: memory of what was before, and the way to the
/// keeper.
///
/// The process prepares everything that needs no mount, says so by `connect`, and gets the connection to the kernel when
/// nobody else serves it any more.
package final class KeptMount: Sendable {
    /// What a keeper gives to the processes that it starts: their number, and open descriptors.
    package struct Descriptors: Hashable, Sendable {
        /// Another one for each process of a mount.
        package var worker: UInt32
        /// The connection to the keeper.
        package var socket: Int32
        package var state: Int32
        package var inodes: Int32
        package var opens: Int32
        package var snapshot: Int32

        package init(
            worker: UInt32,
            socket: Int32,
            state: Int32,
            inodes: Int32,
            opens: Int32,
            snapshot: Int32
        ) {
            self.worker = worker
            self.socket = socket
            self.state = state
            self.inodes = inodes
            self.opens = opens
            self.snapshot = snapshot
        }

        /// Reads what `text` says; nil when it is something else.
        package init?(_ text: String) {
            let fields = text.split(separator: ",", omittingEmptySubsequences: false)
            let numbers = fields.compactMap { Int32($0) }
            guard numbers.count == 6, fields.count == 6, numbers.allSatisfy({ $0 > 0 }) else { return nil }
            self.init(
                worker: UInt32(numbers[0]),
                socket: numbers[1],
                state: numbers[2],
                inodes: numbers[3],
                opens: numbers[4],
                snapshot: numbers[5]
            )
        }

        /// All of them.
        package var numbers: [Int32] { [socket, state, inodes, opens, snapshot] }

        /// For the command line of the process.
        package var text: String { "\(worker),\(socket),\(state),\(inodes),\(opens),\(snapshot)" }
    }

    /// What a process says to its keeper: one letter, and for the second what people shall read.
    package enum Word: Hashable, Sendable {
        case prepared
        case serving(String)

        package init?(_ bytes: [UInt8]) {
            switch bytes.first {
            case UInt8(ascii: "P"): self = .prepared
            case UInt8(ascii: "S"): self = .serving(String(decoding: bytes.dropFirst(), as: UTF8.self))
            default: return nil
            }
        }

        /// At most 8 KiB.
        package var bytes: [UInt8] {
            switch self {
            case .prepared: [UInt8(ascii: "P")]
            case .serving(let line): [UInt8(ascii: "S")] + line.utf8.prefix(8191)
            }
        }
    }

    private enum Connection {
        case none
        case awaited(CheckedContinuation<Int32, Never>)
        case given(Int32)
    }

    private static let maximumSnapshot = 256 << 20

    /// The number of this process among those that served the mount: 1 is the first.
    package let worker: UInt32
    let state: KeptState
    private let socket: MessageSocket
    private let inodes: FileDescriptor
    private let opens: FileDescriptor
    private let snapshot: FileDescriptor
    private let connection = Lock(Connection.none)

    /// Takes the descriptors over.
    ///
    /// - Throws: `invalidArgument` when the keeper is of a version that this one cannot serve, or the `errno` of mapping.
    package init(_ descriptors: Descriptors) throws(Errno) {
        worker = descriptors.worker
        socket = MessageSocket(FileDescriptor(owning: descriptors.socket))
        inodes = FileDescriptor(owning: descriptors.inodes)
        opens = FileDescriptor(owning: descriptors.opens)
        snapshot = FileDescriptor(owning: descriptors.snapshot)
        for one in [descriptors.socket, descriptors.inodes, descriptors.opens, descriptors.snapshot, descriptors.state]
        {
            _ = try retryingOnInterrupt { clinux_fcntl(one, F_SETFD, Int(FD_CLOEXEC)) }
        }
        state = try KeptState(adopting: FileDescriptor(owning: descriptors.state))
    }

    /// Where it is or will be mounted. Not to be looked at: there may be nobody yet to answer that.
    package var mountPoint: MountPoint { MountPoint(resolved: state.mountPoint) }

    /// Where the tree comes from, if an earlier process has decided.
    package var source: KeptState.Source { state.source }

    /// The bytes of the manifest that the mount shows.
    ///
    /// - Throws: the `errno` of reading them.
    package func manifest() throws(Errno) -> [UInt8] {
        let size = try snapshot.size()
        guard size <= Self.maximumSnapshot else { throw Errno(EFBIG) }
        let buffer = BufferLease(size: max(size, 1))
        let count = try snapshot.read(into: buffer.bytes, at: 0)
        return Array(buffer.bytes[..<count].prefix(size))
    }

    /// Decides where the tree comes from, for as long as the mount lives.
    ///
    /// - Parameter manifest: its bytes; nil: listings.
    /// - Throws: the `errno` of keeping them.
    package func decide(manifest: [UInt8]?) throws(Errno) {
        guard let manifest else {
            state.source = .listings
            return
        }
        try snapshot.write(manifest, at: 0)
        state.source = .manifest
    }

    /// The memory of the inode table.
    ///
    /// - Throws: the `errno` of fcntl(2).
    package func inodeMemory() throws(Errno) -> FileDescriptor { try Self.copy(inodes.rawValue) }

    func openMemory() throws(Errno) -> FileDescriptor { try Self.copy(opens.rawValue) }

    private static func copy(_ raw: Int32) throws(Errno) -> FileDescriptor {
        FileDescriptor(owning: try retryingOnInterrupt { clinux_fcntl(raw, F_DUPFD_CLOEXEC, 3) })
    }

    // MARK: The keeper

    /// Listens to the keeper, on a thread of its own.
    ///
    /// - Parameter gone: called when the keeper has ended, in whatever way: nobody looks after this process any more.
    /// - Throws: the error number of pthread_create(3).
    package func listen(gone: @escaping @Sendable () -> Void) throws(Errno) {
        try NamedThread(name: "keeper") { [self] in
            while let message = try? socket.receive() {
                if let device = message.descriptor { take(device) }
            }
            gone()
        }.detach()
    }

    private func take(_ device: Int32) {
        let waiting = connection.withLock { connection -> CheckedContinuation<Int32, Never>? in
            guard case .awaited(let continuation) = connection else {
                connection = .given(device)
                return nil
            }
            connection = .none
            return continuation
        }
        waiting?.resume(returning: device)
    }

    /// Says that all is prepared, and waits for the connection to the kernel.
    ///
    /// - Throws: when the keeper is gone.
    package func connect() async throws(MountError) -> MountConnection {
        do throws(Errno) {
            try socket.send(Word.prepared.bytes)
        } catch {
            throw MountError("the keeper of the mount is gone", error)
        }
        let device = await withCheckedContinuation { continuation in
            let given = connection.withLock { connection -> Int32? in
                if case .given(let device) = connection { return device }
                connection = .awaited(continuation)
                return nil
            }
            if let given { continuation.resume(returning: given) }
        }
        return MountConnection(Channel(descriptor: FileDescriptor(owning: device)))
    }

    /// Says that requests are answered now.
    ///
    /// - Parameter line: for people.
    package func tellServing(_ line: String) { try? socket.send(Word.serving(line).bytes) }
}

/// An open /dev/fuse with a mount at its other end.
package struct MountConnection: ~Copyable, Sendable {
    let channel: Channel
    init(_ channel: consuming Channel) { self.channel = channel }

    /// Mounts, by mount(2) or by fusermount3.
    ///
    /// - Parameters:
    ///   - mountPoint: prepared.
    ///   - allowsOthers: other users than this process's may read it.
    ///   - isWritable: for a `WritableTree`.
    package init(
        mountingAt mountPoint: MountPoint,
        allowsOthers: Bool,
        isWritable: Bool = false
    ) throws(MountError) {
        channel = try Channel(mountingAt: mountPoint.path, allowsOthers: allowsOthers, isWritable: isWritable)
    }

    consuming func takeChannel() -> Channel { channel }

    /// Its number; borrowed.
    package var descriptor: Int32 { channel.descriptor.rawValue }
}
