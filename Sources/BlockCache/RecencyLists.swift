/// The order in which slots that nobody holds are taken away.
///
/// Two lists: *spent* blocks, which a sequential reader has read to their end once, go first, oldest first; the kernel's
/// page cache has those bytes. Then the *kept* ones, least recently used first. Plain LRU would throw away what was read
/// ahead and not used yet before what was used just now.
struct RecencyLists {
    enum List: Int {
        case spent
        case kept
    }

    private struct Link {
        var previous: Int
        var next: Int
    }

    private var links: [Link]
    private let capacity: Int
    private(set) var count = 0
    private(set) var spentCount = 0
    private var isSpent: [Bool]

    init(capacity: Int) {
        self.capacity = capacity
        isSpent = Array(repeating: false, count: capacity)
        links = Array(repeating: Link(previous: -1, next: -1), count: capacity + 2)
        for list in [List.spent, .kept] {
            let head = capacity + list.rawValue
            links[head] = Link(previous: head, next: head)
        }
    }

    /// Adds the slot as the one used last.
    mutating func append(_ slot: Int, to list: List) {
        precondition(links[slot].next == -1, "slot \(slot) is in a list already")
        let head = capacity + list.rawValue
        let last = links[head].previous
        links[slot] = Link(previous: last, next: head)
        links[last].next = slot
        links[head].previous = slot
        count += 1
        isSpent[slot] = list == .spent
        if isSpent[slot] { spentCount += 1 }
    }

    mutating func remove(_ slot: Int) {
        let link = links[slot]
        precondition(link.next != -1, "slot \(slot) is in no list")
        links[link.previous].next = link.next
        links[link.next].previous = link.previous
        links[slot] = Link(previous: -1, next: -1)
        count -= 1
        if isSpent[slot] { spentCount -= 1 }
    }

    /// The slot that goes next.
    var first: Int? {
        for list in [List.spent, .kept] {
            let slot = links[capacity + list.rawValue].next
            if slot < capacity { return slot }
        }
        return nil
    }
}
