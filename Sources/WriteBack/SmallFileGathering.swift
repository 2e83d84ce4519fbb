/// Which small files that were closed may go into the bucket: all, once no other was closed for a while.
///
/// To put a small file into the bucket takes several times the work that writing it took, and on a machine with few
/// processors the one is taken from the other. So a program that writes many gets the machine for as long as it goes on,
/// but for `limit` ticks at most; a file that is written over, renamed or removed meanwhile cost no request; and what they all
/// have to have in the journal is synchronized once.
///
/// States of a file: unknown, *gathered* (a tick is to come), *due* (until `takeDue` was asked).
/// Without a clock: whoever has it calls `tick` at regular times as long as it is not empty.
struct SmallFileGathering: Sendable {
    /// How many ticks a file is gathered for at most while others are closed.
    static let limit = 10

    private var gathered: Set<NameNode> = []
    private var due: Set<NameNode> = []
    /// Whether a file was added since the last tick.
    private var isBusy = false
    /// Ticks since the first of `gathered` was added.
    private var ticks = 0

    /// Nothing is gathered: no tick is needed.
    var isEmpty: Bool { gathered.isEmpty }

    /// A small file was closed; again for one that is there changes nothing.
    mutating func add(_ node: NameNode) {
        if gathered.insert(node).inserted { isBusy = true }
    }

    /// Nobody wants to know any more.
    mutating func forget(_ node: NameNode) {
        gathered.remove(node)
        due.remove(node)
    }

    /// Whether the file's time has come; says so once.
    mutating func takeDue(_ node: NameNode) -> Bool { due.remove(node) != nil }

    /// Some time has gone by.
    ///
    /// - Returns: files whose time has come, in order.
    mutating func tick() -> [NameNode] {
        ticks += 1
        defer { isBusy = false }
        guard !isBusy || ticks >= Self.limit else { return [] }
        defer { (gathered, ticks) = ([], 0) }
        // One that was opened again meanwhile does not wait anew when it is closed.
        due = gathered
        return gathered.sorted()
    }
}
