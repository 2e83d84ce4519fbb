/// Which files of a directory its trainer has written since anything was taken back that it had written before.
///
/// Trainers overwrite checkpoints in place, and say that they are done by a marker that they write with the others. An old marker says
/// nothing of new files, and which of two saves a file belongs to is in nothing that the bucket shows: uploads end in another
/// order than writes, and a small file is written over before its first content went up. So it is told from the order of the
/// writes themselves. A save goes on as long as there are only more files. Another one begins
/// - when a file that was closed is written again, unlinked, renamed or renamed over,
/// - when bytes were lost, or others have written to the directory,
/// - when the one before was recorded.
///
/// What was written before that, and is closed, is of an earlier one. So a marker of this save says that nothing of what was there
/// when it was written has changed since. A trainer that overwrites begins with each file anew, and does not notice: its marker
/// comes last. Whoever changes something after the marker makes it count less, and never more.
///
/// All of it follows from the journal's records, so the next process knows it, too.
struct SaveLedger: Sendable {
    /// The save of one directory directly below the root.
    struct Save: Hashable, Sendable {
        /// What was written in it and has a name.
        var files: Set<NameNode> = []
        /// Its writer gave the directory its last name when it was done.
        var isWhole = false
    }

    struct Member: Hashable, Sendable {
        /// The directory directly below the root.
        var top: NameNode
        /// Nobody has had it open for writing since it was written.
        var isClosed = false
    }

    /// A file that loses a name below a directory.
    struct Departure {
        var node: NameNode
        var top: NameNode
        var isClosed: Bool
        /// It said that the save goes on.
        var isSign: Bool
    }

    private(set) var saves: [NameNode: Save] = [:]
    private(set) var members: [NameNode: Member] = [:]
    /// Names directly below the root that directories have lost.
    private(set) var lostNames: Set<ByteName> = []
    /// Directories to look at: something has changed since somebody did.
    private(set) var news: Set<NameNode> = []
    /// Else nothing is kept.
    private let isKept: Bool

    init(isKept: Bool) { self.isKept = isKept }

    // MARK: What happens to files

    /// A new file has a name.
    mutating func created(_ node: NameNode, _ tree: NameTree) {
        if isKept, let top = tree.top(of: node) { add(node, Member(top: top)) }
    }

    /// A file is about to have other bytes.
    mutating func changed(_ node: NameNode, _ tree: NameTree) {
        // For each write but the first this is all.
        if members[node]?.isClosed == false { return }
        guard isKept, let top = tree.top(of: node) else { return }
        begin(top)
        add(node, Member(top: top))
    }

    /// Nobody can write to it any more.
    mutating func closed(_ node: NameNode) { members[node]?.isClosed = true }

    /// What a file has to lose with its name; nil when that is nothing.
    func departure(of node: NameNode, _ tree: NameTree) -> Departure? {
        guard isKept, let top = tree.top(of: node), let name = tree.entries[node]?.name else { return nil }
        let isClosed = members[node]?.isClosed ?? true
        return Departure(node: node, top: top, isClosed: isClosed, isSign: TemporaryNames.isSign(name))
    }

    /// Files have no name any more: unlinked, or renamed over.
    mutating func removed(_ departures: [Departure]) {
        for departure in departures {
            leave(departure)
            if departure.isClosed, !departure.isSign { begin(departure.top) }
        }
    }

    /// Files have left their names for others.
    mutating func moved(_ departures: [Departure]) {
        for departure in departures { leave(departure) }
        for top in Set(departures.map(\.top)) { begin(top) }
    }

    /// Files that have moved have their other names now.
    mutating func arrived(_ departures: [Departure], _ tree: NameTree) {
        guard isKept else { return }
        for departure in departures {
            guard let top = tree.top(of: departure.node) else { continue }
            add(departure.node, Member(top: top, isClosed: departure.isClosed))
        }
    }

    /// What is known of the directory's files is not so any more, or not all of it.
    mutating func doubted(_ node: NameNode, _ tree: NameTree) {
        if isKept, let top = tree.top(of: node) { begin(top) }
    }

    private mutating func add(_ node: NameNode, _ member: Member) {
        members[node] = member
        saves[member.top, default: Save()].files.insert(node)
        news.insert(member.top)
    }

    private mutating func leave(_ departure: Departure) {
        members[departure.node] = nil
        saves[departure.top]?.files.remove(departure.node)
        if saves[departure.top] != nil { news.insert(departure.top) }
    }

    /// What is open goes on in the next save.
    private mutating func begin(_ top: NameNode) {
        guard let save = saves[top] else { return }
        var files: Set<NameNode> = []
        for node in save.files {
            if members[node]?.isClosed == false { files.insert(node) } else { members[node] = nil }
        }
        saves[top] = Save(files: files)
        news.insert(top)
    }

    // MARK: What happens to directories

    /// A directory has left the place directly below the root.
    mutating func lost(_ name: ByteName) { if isKept { lostNames.insert(name) } }

    /// A directory is none, or none directly below the root, any more.
    mutating func forget(_ top: NameNode) {
        for node in saves.removeValue(forKey: top)?.files ?? [] { members[node] = nil }
        news.remove(top)
    }

    /// A directory directly below the root has got the name that says that its writer is done.
    mutating func isWhole(_ top: NameNode) {
        guard isKept else { return }
        saves[top, default: Save()].isWhole = true
        news.insert(top)
    }

    // MARK: Whoever looks

    /// The directory was looked at; it is not again before something has changed.
    mutating func looked(_ top: NameNode) { news.remove(top) }

    mutating func lookAgain(_ top: NameNode) { if saves[top] != nil { news.insert(top) } }

    /// The directory is a checkpoint, and recorded as it is: what is written from now on is of another save.
    mutating func recorded(_ top: NameNode) {
        begin(top)
        news.remove(top)
    }

    /// No record has the name any more, or something else has it.
    mutating func withdrawn(_ name: ByteName) { lostNames.remove(name) }

    // MARK: Checkpoints of the journal

    mutating func restore(_ top: NameNode, isWhole: Bool) {
        guard isKept else { return }
        saves[top] = Save(isWhole: isWhole)
        news.insert(top)
    }

    mutating func restore(_ node: NameNode, _ member: Member) {
        guard isKept, saves[member.top] != nil else { return }
        members[node] = member
        saves[member.top]?.files.insert(node)
    }
}
