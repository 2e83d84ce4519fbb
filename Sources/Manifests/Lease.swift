package import LinuxPlatform

/// Who is working on a prefix. Taken, renewed and stolen by generation preconditions; it expires by the server's clock.
package struct Lease: Hashable, Sendable {
    package static let formatVersion = 1
    package static let maximumBytes = 16 << 10

    /// The holder's own name for itself: new with each process, or a writable mount's, which stays with its staging directory.
    package let owner: OperationID
    /// For people: where the holder runs.
    package let host: String
    package let processID: Int
    /// For people: what the holder is doing, for example `snapshot acme/tiny`.
    package let purpose: String
    /// When the holder first got it, in whole milliseconds.
    package let acquired: UnixTime
    /// How long it holds after each renewal, 1 s to 1 day.
    package let seconds: Int

    /// - Throws: `invalid` for texts over 256 bytes or with control characters, a negative process id, or a time to
    ///   live out of bounds.
    package init(
        owner: OperationID,
        host: String,
        processID: Int,
        purpose: String,
        acquired: UnixTime,
        seconds: Int
    ) throws(ManifestError) {
        for text in [host, purpose] {
            guard text.utf8.count <= 256, text.utf8.allSatisfy({ $0 >= 32 && $0 != 127 }) else {
                throw ManifestError(.invalid, Self.subject, "a text is too long or holds control characters")
            }
        }
        guard processID >= 0 else { throw ManifestError(.invalid, Self.subject, "the process id is negative") }
        guard (1...86_400).contains(seconds) else {
            throw ManifestError(.invalid, Self.subject, "\(seconds) seconds to live are not between 1 s and 1 day")
        }
        self.owner = owner
        self.host = host
        self.processID = processID
        self.purpose = purpose
        self.acquired = acquired.inWholeMilliseconds
        self.seconds = seconds
    }

    /// Whether others may take it.
    ///
    /// - Parameters:
    ///   - renewed: when the lease's object was last written, by the server's clock.
    ///   - now: the same clock's time.
    package func isExpired(renewed: UnixTime, now: UnixTime) -> Bool {
        renewed.advanced(by: .seconds(seconds)) <= now
    }

    /// The bytes to store: the same for equal leases.
    package func encoded() throws(ManifestError) -> [UInt8] { try SealedDocument.encode(LeaseWire(self)) }

    /// Reads a stored lease and checks its seal and every rule.
    package init(decoding bytes: [UInt8]) throws(ManifestError) {
        let wire = try SealedDocument.decode(LeaseWire.self, from: bytes)
        let reader = WireReader(subject: Self.subject)
        try self.init(
            owner: reader.operation(wire.owner, "owner"),
            host: wire.host,
            processID: wire.processID,
            purpose: wire.purpose,
            acquired: reader.time(wire.acquired, "acquired"),
            seconds: wire.seconds
        )
    }

    fileprivate static let subject = "lease"
}

private struct LeaseWire: SealedContent {
    static let subject = Lease.subject
    static let currentVersion = Lease.formatVersion
    static let maximumBytes = Lease.maximumBytes

    let formatVersion: Int
    let owner: String
    let host: String
    let processID: Int
    let purpose: String
    let acquired: String
    let seconds: Int

    init(_ lease: Lease) {
        formatVersion = Self.currentVersion
        owner = lease.owner.value
        host = lease.host
        processID = lease.processID
        purpose = lease.purpose
        acquired = lease.acquired.description
        seconds = lease.seconds
    }
}
