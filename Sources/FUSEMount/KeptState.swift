import CLinux
package import LinuxPlatform

/// What a mount is and what is under way on it, in memory that a keeper holds: the next process that serves the mount
/// goes on from here. Written by the process that serves, read by the keeper when that has ended.
///
/// A page for the facts, a page for the path of the mount, and the table of requests.
package final class KeptState: Sendable {
    /// Where the tree of the mount comes from: decided once, whatever happens to the bucket meanwhile.
    package enum Source: UInt32, Sendable {
        case undecided = 0
        /// The manifest's bytes are kept.
        case manifest = 1
        case listings = 2
    }

    /// A request that is not tried any more: it was in process at too many deaths.
    package struct Condemned: Hashable, Sendable {
        /// Its number in the kernel's count.
        package var number: UInt64
        /// Its kind, by the numbers of fuse.h.
        package var opcode: UInt32
        package var node: UInt64
    }

    private static let magic: UInt64 = 0x3130_5045_454b_5350  // "PSKEEP01": another layout has another number
    private static let pathOffset = 4096
    private static let tableOffset = 8192
    private static let size = tableOffset + 8192 * RequestTable.slotSize
    private static let maximumInit = 1024

    private enum Field {
        static let magic = 0
        static let flags = 8
        static let source = 12
        static let initLength = 16
        static let answered = 24
        static let initRequest = 64
    }

    private struct Flags: OptionSet {
        let rawValue: UInt32
        static let isInitAnswered = Self(rawValue: 1)
        static let canResend = Self(rawValue: 2)
        static let hasPassthrough = Self(rawValue: 4)
        static let endsRequests = Self(rawValue: 8)
    }

    private let memory: MemoryFile

    /// New memory for a mount.
    ///
    /// - Parameter mountPoint: absolute and resolved, below 4 KiB.
    /// - Throws: the `errno` of making it, or `nameTooLong`.
    package init(mountPoint: String) throws(Errno) {
        let path = Array(mountPoint.utf8)
        guard path.count < Self.tableOffset - Self.pathOffset else { throw .nameTooLong }
        memory = try MemoryFile(name: "penstock-state", size: Self.size)
        UnsafeMutableRawBufferPointer(rebasing: bytes[Self.pathOffset...]).copyBytes(from: path)
        store(Self.magic, Field.magic)
    }

    /// What a keeper has made.
    ///
    /// - Throws: `invalidArgument` when it is none, or that of another version.
    package init(adopting descriptor: consuming FileDescriptor) throws(Errno) {
        memory = try MemoryFile(adopting: descriptor)
        guard memory.bytes.count == Self.size, load(Field.magic, UInt64.self) == Self.magic,
            load(Field.initLength, UInt32.self) <= Self.maximumInit
        else { throw .invalidArgument }
    }

    /// Names the memory; borrowed.
    package var descriptor: Int32 { memory.descriptor.rawValue }

    package var mountPoint: String {
        let path = bytes[Self.pathOffset..<Self.tableOffset].prefix { $0 != 0 }
        return String(decoding: path, as: UTF8.self)
    }

    package var source: Source {
        get { Source(rawValue: load(Field.source, UInt32.self)) ?? .undecided }
        set { store(newValue.rawValue, Field.source) }
    }

    /// Whether another process can go on when the one that serves has ended: the kernel can send again what was not
    /// answered, or ends it with an error.
    package var canResume: Bool { flags.contains(.isInitAnswered) && (canResend || endsRequests) }

    /// The kernel can send again what was not answered.
    var canResend: Bool { flags.contains(.canResend) }

    /// Those who serve read from a /dev/fuse of their own: what they have not answered fails when it is closed.
    var endsRequests: Bool {
        get { flags.contains(.endsRequests) }
        set { if newValue { flags.insert(.endsRequests) } else { flags.remove(.endsRequests) } }
    }

    /// Requests that the process that serves now has answered.
    package var answered: UInt64 {
        get { load(Field.answered, UInt64.self) }
        set { store(newValue, Field.answered) }
    }

    /// Charges everything that was in process at a death.
    ///
    /// - Parameter strikes: what this death weighs; at 6 a request is condemned.
    /// - Returns: those that are not tried any more from now on: they are answered with EIO.
    package func charge(worker: UInt32, strikes: Int) -> [Condemned] {
        requests.charge(worker: worker, strikes: strikes).map {
            Condemned(number: $0.number, opcode: $0.opcode, node: $0.node)
        }
    }

    // MARK: INIT

    /// Takes note of the kernel's first request; one of a size that nobody has seen yet is not kept, and nobody can resume.
    func record(initRequest request: UnsafeRawBufferPointer, canResend: Bool) {
        guard request.count <= Self.maximumInit else { return }
        UnsafeMutableRawBufferPointer(rebasing: bytes[Field.initRequest...]).copyBytes(from: request)
        store(UInt32(request.count), Field.initLength)
        if canResend { flags.insert(.canResend) }
    }

    /// The kernel has the reply to it.
    func recordInitAnswer(hasPassthrough: Bool) {
        if hasPassthrough { flags.insert(.hasPassthrough) }
        flags.insert(.isInitAnswered)
    }

    /// The kernel's first request, when it was answered; and whether passthrough was agreed upon.
    var answeredInit: (request: [UInt8], hasPassthrough: Bool)? {
        let length = Int(load(Field.initLength, UInt32.self))
        guard flags.contains(.isInitAnswered), length > 0 else { return nil }
        let request = Array(bytes[Field.initRequest..<Field.initRequest + length])
        return (request, flags.contains(.hasPassthrough))
    }

    /// The table of requests, in this memory.
    var requests: RequestTable { RequestTable(UnsafeMutableRawBufferPointer(rebasing: bytes[Self.tableOffset...])) }

    private var flags: Flags {
        get { Flags(rawValue: load(Field.flags, UInt32.self)) }
        set { store(newValue.rawValue, Field.flags) }
    }

    private var bytes: UnsafeMutableRawBufferPointer { memory.bytes }

    private func load<Value: BitwiseCopyable>(_ field: Int, _ type: Value.Type) -> Value {
        bytes.load(fromByteOffset: field, as: type)
    }

    private func store<Value: BitwiseCopyable>(_ value: Value, _ field: Int) {
        bytes.storeBytes(of: value, toByteOffset: field, as: Value.self)
    }
}
