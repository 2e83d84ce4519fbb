import FUSEMount
import LinuxPlatform

/// The memory of a mount that outlives those who serve it.
struct KeptMemory: ~Copyable {
    let state: KeptState
    private let inodes: FileDescriptor
    private let opens: FileDescriptor
    private let snapshot: FileDescriptor

    init(mountPoint: String) throws(Errno) {
        let state = try KeptState(mountPoint: mountPoint)
        let inodes = try MemoryFile.empty(name: "penstock-inodes")
        let opens = try MemoryFile.empty(name: "penstock-opens")
        let snapshot = try MemoryFile.empty(name: "penstock-snapshot")
        self.state = state
        self.inodes = inodes
        self.opens = opens
        self.snapshot = snapshot
    }

    /// For a process that shall serve; borrowed.
    func descriptors(worker: UInt32, socket: Int32) -> KeptMount.Descriptors {
        KeptMount.Descriptors(
            worker: worker,
            socket: socket,
            state: state.descriptor,
            inodes: inodes.rawValue,
            opens: opens.rawValue,
            snapshot: snapshot.rawValue
        )
    }

    /// What the process that had the connection has left.
    var report: WorkerReport { WorkerReport(hasAnswered: state.answered > 0, canResume: state.canResume) }

    /// Another process gets the connection, and has answered nothing yet.
    func beginWorker() { state.answered = 0 }
}

/// The keeper's end of the connection to a process.
final class MessageSocketBox {
    private let socket: MessageSocket

    /// - Parameter far: gets the other end.
    init(connectedTo far: inout FileDescriptor?) throws(Errno) { socket = try MessageSocket(connectedTo: &far) }

    var raw: Int32 { socket.descriptor.rawValue }

    /// Whether nothing has come, or nothing will any more.
    var isEmpty: Bool { !socket.hasMessage }

    /// Nil at the end. Blocks where nothing has come.
    func receive() -> [UInt8]? { (try? socket.receive())?.bytes }

    func send(_ bytes: [UInt8], passing descriptor: Int32) { try? socket.send(bytes, passing: descriptor) }
}
