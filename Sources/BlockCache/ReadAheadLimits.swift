/// How much may be on its way that nobody asked for yet.
package struct ReadAheadLimits: Hashable, Sendable {
    /// Requests at once.
    package var fetches: Int
    /// Bytes of them, all together.
    package var bytes: Int

    /// Small files need many requests at a distance and few bytes; large ones the reverse.
    package init(fetches: Int = 48, bytes: Int = 64 << 20) {
        self.fetches = fetches
        self.bytes = bytes
    }
}

/// Why blocks are fetched before anybody asks: it decides what they may take from others.
package enum ReadAheadReason: Sendable {
    /// A reader moves towards them: they leave a reserve for those who ask.
    case stream
    /// Somebody may begin to read them: the next files, the next shard, the rest of a file that is being loaded. They
    /// leave half of the memory, so readers and their streams come first.
    case guess
}

/// What became of the bytes that were fetched before anybody asked.
package struct ReadAheadTally: Hashable, Sendable {
    /// Bytes that a reader then asked for.
    package var used = 0
    /// Bytes that were thrown out unread.
    package var wasted = 0

    var isEmpty: Bool { used == 0 && wasted == 0 }
}
