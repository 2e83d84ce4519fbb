import Glibc
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// A mount's names, a bucket that follows, and beside them the plain tree that applications believe in.
private struct NameWorld {
    struct Object: Hashable {
        var generation: Generation
        var content: Int
    }

    var table: NameTable
    var bucket: [ByteName: Object] = [:]
    var random: SeededRandom
    var lastGeneration: Int64 = 0
    /// What applications see: contents by path, and directories.
    var files: [String: Int] = [:]
    var directories: Set<String> = [""]
    /// Contents that were whole at some time, and what stood in the bucket in the beginning.
    var whole: Set<Int> = []
    /// Contents that only the bucket has.
    var original: Set<Int> = []
    var pending: [NameAction] = []
    var open: [(node: NameNode, content: Int)] = []

    /// Folders that were renamed.
    var folders = 0

    /// - Parameter renamesFolders: the bucket is hierarchical.
    init(seed: UInt64, renamesFolders: Bool) {
        random = SeededRandom(seed: seed)
        table = NameTable(parking: ".penstock/parked/", renamesFolders: renamesFolders)
    }

    mutating func generation() -> Generation {
        lastGeneration += 1
        return Generation(lastGeneration)
    }

    func node(_ path: String) throws(Errno) -> NameNode {
        var node = table.tree.root
        for name in path.split(separator: "/") { node = try table.tree.child(ByteName(String(name)), of: node) }
        return node
    }

    static func split(_ path: String) -> (parent: String, name: ByteName) {
        let names = path.split(separator: "/").map(String.init)
        return (names.dropLast().joined(separator: "/"), ByteName(names.last ?? ""))
    }

    mutating func anyPath() -> String {
        let names = ["a", "b", "c"]
        let depth = random.next() % 3 + 1
        return (0..<depth).map { _ in names[Int(random.next() % 3)] }.joined(separator: "/")
    }

    mutating func putInBucket(_ path: String) throws {
        let (parent, name) = Self.split(path)
        guard files[path] == nil, !directories.contains(path), directories.contains(parent) else { return }
        let generation = generation()
        let node = try table.adopt(name, in: try node(parent), generation)
        let content = try #require(table.content(node))
        bucket[ByteName(path)] = Object(generation: generation, content: content)
        files[path] = content
        whole.insert(content)
        original.insert(content)
    }

    // MARK: What applications do; the errno, and what the plain tree says

    mutating func create(_ path: String) {
        let (parent, name) = Self.split(path)
        let expected: Errno? =
            files[parent] != nil
            ? .notDirectory
            : !directories.contains(parent)
                ? missing(parent)
                : files[path] != nil || directories.contains(path) ? .exists : nil
        do throws(Errno) {
            let node = try table.create(name, in: try node(parent))
            let content = table.content(node) ?? 0
            #expect(expected == nil)
            files[path] = content
            open.append((node, content))
        } catch {
            #expect(error == expected)
        }
    }

    /// What walking to a missing directory says.
    func missing(_ path: String) -> Errno {
        var prefix = ""
        for name in path.split(separator: "/") {
            if files[prefix] != nil { return .notDirectory }
            prefix = prefix.isEmpty ? String(name) : "\(prefix)/\(name)"
            if files[prefix] == nil, !directories.contains(prefix) { return .noEntry }
        }
        return .notDirectory
    }

    mutating func write(_ path: String) {
        guard files[path] != nil, let node = try? node(path) else { return }
        table.opened(node)
        let content = table.changed(node)
        files[path] = content
        open.append((node, content))
    }

    /// The last handle of a file is closed: what was written is whole.
    mutating func close() {
        guard !open.isEmpty else { return }
        let (node, content) = open.remove(at: Int(random.next() % UInt64(open.count)))
        if table.content(node) == content { whole.insert(content) }
        table.ready(node, content)
        table.closed(node)
    }

    mutating func makeDirectory(_ path: String) {
        let (parent, name) = Self.split(path)
        guard let directory = try? node(parent) else { return }
        do throws(Errno) {
            _ = try table.makeDirectory(name, in: directory)
            #expect(files[path] == nil && !directories.contains(path) && directories.contains(parent))
            directories.insert(path)
        } catch {
            #expect(files[path] != nil || directories.contains(path) || !directories.contains(parent))
        }
    }

    mutating func unlink(_ path: String) {
        let (parent, name) = Self.split(path)
        do throws(Errno) {
            try table.unlink(name, in: try node(parent))
            #expect(files[path] != nil)
            files[path] = nil
        } catch {
            #expect(files[path] == nil)
        }
    }

    mutating func rename(_ old: String, _ new: String, replaces: Bool) {
        let (from, name) = Self.split(old)
        let (to, newName) = Self.split(new)
        guard let source = try? node(from), let target = try? node(to) else { return }
        let expected = renameError(old, new, replaces)
        do throws(Errno) {
            try table.rename(name, in: source, to: newName, in: target, replaces: replaces)
            #expect(expected == nil, "\(old) to \(new)")
        } catch {
            #expect(error == expected, "\(old) to \(new)")
            return
        }
        if old == new { return }
        if let content = files.removeValue(forKey: old) {
            files[new] = content
            return
        }
        directories.remove(old)
        directories.insert(new)
        for (path, content) in files where path.hasPrefix(old + "/") {
            files[path] = nil
            files[new + path.dropFirst(old.count)] = content
        }
        directories = Set(directories.map { $0.hasPrefix(old + "/") ? new + $0.dropFirst(old.count) : $0 })
    }

    private func renameError(_ old: String, _ new: String, _ replaces: Bool) -> Errno? {
        let isDirectory = directories.contains(old)
        if files[Self.split(old).parent] != nil { return .notDirectory }
        if files[old] == nil, !isDirectory { return .noEntry }
        if files[Self.split(new).parent] != nil { return .notDirectory }
        if isDirectory, Self.split(new).parent == old || new.hasPrefix(old + "/") { return .invalidArgument }
        guard files[new] != nil || directories.contains(new) else { return nil }
        if !replaces { return .exists }
        if old == new { return nil }
        if isDirectory, files[new] != nil { return .notDirectory }
        if !isDirectory, directories.contains(new) { return .isDirectory }
        let isFull = (Array(files.keys) + directories).contains { $0.hasPrefix(new + "/") }
        return isDirectory && isFull ? Errno(ENOTEMPTY) : nil
    }

    // MARK: What the bucket does

    mutating func perform(losing percent: Int) {
        pending += table.next()
        guard !pending.isEmpty else { return }
        let action = pending.remove(at: Int(random.next() % UInt64(pending.count)))
        if Int(random.next() % 100) < percent {
            table.finished(action, .failed)
            return
        }
        table.finished(action, outcome(action))
    }

    private mutating func outcome(_ action: NameAction) -> NameOutcome {
        switch action {
        case .publish(_, let content, let name, let replacing):
            guard bucket[name]?.generation == replacing else { return .conflict(found: bucket[name]?.generation) }
            #expect(whole.contains(content), "content \(content) was never whole")
            let generation = generation()
            bucket[name] = Object(generation: generation, content: content)
            return .done(generation)
        case .move(_, let content, let from, let source, let to, let replacing):
            guard let object = bucket[from], object.generation == source else { return .sourceGone }
            guard bucket[to]?.generation == replacing else { return .conflict(found: bucket[to]?.generation) }
            #expect(object.content == content)
            let generation = generation()
            bucket[from] = nil
            bucket[to] = Object(generation: generation, content: content)
            return .done(generation)
        case .keep(_, let content, let from, let source, let to):
            guard let object = bucket[from], object.generation == source else { return .sourceGone }
            #expect(object.content == content && bucket[to] == nil)
            let generation = generation()
            bucket[to] = Object(generation: generation, content: content)
            return .done(generation)
        case .delete(let name, let generation):
            if bucket[name]?.generation == generation { bucket[name] = nil }
            return .done(nil)
        case .renameFolder(_, let from, let to): return renameFolder(from, to)
        }
    }

    /// All at once, each object with another generation.
    private mutating func renameFolder(_ from: ByteName, _ to: ByteName) -> NameOutcome {
        #expect(!bucket.keys.contains { $0.isBelow(to) }, "'\(to)' is there")
        for (name, object) in bucket where name.isBelow(from) {
            let generation = generation()
            table.regenerate(name, generation)
            bucket[name] = nil
            bucket[name.moved(from: from, to: to)] = Object(generation: generation, content: object.content)
        }
        folders += 1
        return .done(nil)
    }

    /// What only the bucket has, and somebody still has a name for, is there.
    func check(_ seed: UInt64) {
        let there = Set(bucket.values.map(\.content))
        for (path, content) in files where original.contains(content) {
            #expect(there.contains(content), "seed \(seed): '\(path)' is lost")
        }
    }

    /// Everything is closed, every grace is over, every request answered.
    mutating func settle() {
        while !open.isEmpty { close() }
        for _ in 0..<2000 {
            for name in table.tombstones { table.expire(name) }
            perform(losing: 0)
            if pending.isEmpty { pending = table.next() }
            if pending.isEmpty, table.tombstones.isEmpty { return }
        }
    }
}

@Suite struct NameTableTests {
    @Test func theBucketBecomesWhatTheMountShowsAndLosesNothingOnTheWay() throws {
        var folders = 0
        for seed in SeedSlice.first(300, ofSoak: 20_000) {
            var world = NameWorld(seed: seed, renamesFolders: seed % 2 == 1)
            for path in ["a", "b"] { world.makeDirectory(path) }
            for path in ["a/a", "a/b", "c", "b/c"] { try world.putInBucket(path) }
            for _ in 0..<60 {
                let path = world.anyPath()
                switch world.random.next() % 10 {
                case 0, 1: world.create(path)
                case 2: world.makeDirectory(path)
                case 3: world.unlink(path)
                case 4, 5, 6:
                    let isReplacing = world.random.next() % 3 > 0
                    world.rename(path, world.anyPath(), replaces: isReplacing)
                case 7: world.write(path)
                default: world.close()
                }
                for _ in 0..<(world.random.next() % 4) { world.perform(losing: 10) }
                if let name = world.table.tombstones.first, world.random.next() % 4 == 0 { world.table.expire(name) }
                world.check(seed)
            }
            world.settle()
            let files = Dictionary(uniqueKeysWithValues: world.files.map { (ByteName($0.key), $0.value) })
            #expect(world.bucket.mapValues(\.content) == files, "seed \(seed)")
            #expect(world.table.isSettled, "seed \(seed)")
            #expect(world.table.conflicts.isEmpty && world.table.lost.isEmpty)
            folders += world.folders
        }
        #expect(folders > 20)
    }

    @Test func onlyAFolderThatNobodyElseNeedsIsRenamed() throws {
        var table = NameTable(parking: "p/", renamesFolders: true)
        for (number, directory) in ["a", "b", "c"].enumerated() {
            let node = try table.makeDirectory(ByteName(directory), in: table.tree.root)
            if directory == "c" { continue }
            for name in ["1", "2"] { _ = try table.adopt(ByteName(name), in: node, Generation(Int64(number + 1))) }
        }
        func plan(_ from: ByteName, _ to: ByteName) -> NameTable.FolderPlan? {
            var copy = table
            return copy.folderRename(from: from, to: to)?.plan
        }
        // They are to stay where they are.
        #expect(plan("a/1", "c/1") == .no)
        for name: ByteName in ["1", "2"] {
            let (from, to) = (
                try table.tree.child("a", of: table.tree.root), try table.tree.child("c", of: table.tree.root)
            )
            try table.rename(name, in: from, to: name, in: to)
        }
        #expect(plan("a/1", "c/1") == .rename(try table.tree.child("c", of: table.tree.root)))
        // Something stands there; it is no directory; the names differ in the file's own; it is in itself, or at the top; it is parked.
        #expect(plan("a/1", "b/1") == .no)
        #expect(plan("a/1", "a/1/1") == .no)
        #expect(plan("a/1", "d/1") == .no)
        #expect(plan("a/1", "c/2") == nil)
        #expect(plan("a/1", "1") == nil)
        #expect(plan("p/1", "c/1") == nil)
        table.begin(.delete("a/2", Generation(1)))
        #expect(plan("a/1", "c/1") == .wait)
    }

    /// safetensors: a temporary name, renamed while the file is open.
    @Test func aFileThatIsRenamedBeforeItIsWholeIsPublishedOnceUnderItsLastName() throws {
        var table = NameTable(parking: "p/")
        let node = try table.create(".tmp1", in: table.tree.root)
        let content = table.changed(node)
        try table.rename(".tmp1", in: table.tree.root, to: "model.safetensors", in: table.tree.root)
        #expect(table.next().isEmpty)
        table.ready(node, content)
        #expect(table.next() == [.publish(node, content: content, name: "model.safetensors", replacing: nil)])
    }

    @Test func namesThatAreHeldBackArePublishedWhenTheyAreRenamed() throws {
        var table = NameTable(parking: "p/") { $0.contains("-tmp") }
        let directory = try table.makeDirectory("1.orbax-checkpoint-tmp", in: table.tree.root)
        let node = try table.create("d", in: directory)
        let content = table.changed(node)
        table.ready(node, content)
        #expect(table.next().isEmpty)
        try table.rename("1.orbax-checkpoint-tmp", in: table.tree.root, to: "1", in: table.tree.root)
        #expect(table.next() == [.publish(node, content: content, name: "1/d", replacing: nil)])
    }

    /// torch.save in place: O_TRUNC, and the writer dies or goes on.
    @Test func whatIsTruncatedStandsUntilTheNewContentIsWhole() throws {
        var table = NameTable(parking: "p/")
        let node = try table.adopt("x.pt", in: table.tree.root, Generation(5))
        table.opened(node)
        let content = table.changed(node)
        #expect(table.next().isEmpty)
        table.ready(node, content)
        #expect(table.next() == [.publish(node, content: content, name: "x.pt", replacing: Generation(5))])
    }

    /// DCP over an old checkpoint: the marker is unlinked, and another renamed to its name.
    @Test func whatIsUnlinkedIsWrittenOverWhenItsNameComesBack() throws {
        var table = NameTable(parking: "p/")
        _ = try table.adopt(".metadata", in: table.tree.root, Generation(5))
        try table.unlink(".metadata", in: table.tree.root)
        #expect(table.tombstones == [".metadata"])
        #expect(table.next().isEmpty)
        let node = try table.create(".metadata.tmp", in: table.tree.root)
        let content = table.changed(node)
        table.ready(node, content)
        try table.rename(".metadata.tmp", in: table.tree.root, to: ".metadata", in: table.tree.root)
        table.expire(".metadata")
        let action = NameAction.publish(node, content: content, name: ".metadata", replacing: Generation(5))
        #expect(table.next() == [action])
        table.finished(action, .done(Generation(6)))
        #expect(table.tombstones.isEmpty)
        #expect(table.next().isEmpty && table.isSettled)
    }

    @Test func whatIsOpenIsNotDeleted() throws {
        var table = NameTable(parking: "p/")
        let node = try table.adopt("a", in: table.tree.root, Generation(5))
        table.opened(node)
        try table.unlink("a", in: table.tree.root)
        table.expire("a")
        #expect(table.next().isEmpty)
        table.closed(node)
        #expect(table.next() == [.delete("a", Generation(5))])
    }

    @Test func twoNamesThatAreExchangedGoThroughAParkingName() throws {
        var table = NameTable(parking: "p/")
        let root = table.tree.root
        let first = try table.adopt("a", in: root, Generation(1))
        let second = try table.adopt("b", in: root, Generation(2))
        try table.rename("a", in: root, to: "t", in: root)
        try table.rename("b", in: root, to: "a", in: root)
        try table.rename("t", in: root, to: "b", in: root)
        let park = table.next()
        #expect(park.count == 1)
        guard case .move(first, _, "a", Generation(1), "p/1", nil)? = park.first else {
            throw JournalLife.Wrong(what: "\(park)")
        }
        table.finished(park[0], .done(Generation(3)))
        let move = table.next()
        guard case .move(second, _, "b", Generation(2), "a", nil)? = move.first, move.count == 1 else {
            throw JournalLife.Wrong(what: "\(move)")
        }
        table.finished(move[0], .done(Generation(4)))
        guard case .move(first, _, "p/1", Generation(3), "b", nil)? = table.next().first else {
            throw JournalLife.Wrong(what: "the first is not moved back")
        }
    }

    @Test func whatSomebodyElseWroteStaysAndOursGetsANameThatSaysSo() throws {
        var table = NameTable(parking: "p/")
        let node = try table.create("x", in: table.tree.root)
        let content = table.changed(node)
        table.ready(node, content)
        let actions = table.next()
        let action = try #require(actions.first)
        table.finished(action, .conflict(found: Generation(9)))
        #expect(table.conflicts == [node])
        #expect(table.tree.path(node) == "x.conflict-1")
        #expect(table.next() == [.publish(node, content: content, name: "x.conflict-1", replacing: nil)])
        #expect(table.tombstones.isEmpty)
        #expect(try table.tree.child("x", of: table.tree.root) != node)
    }

    @Test func whatOthersDeletedIsWrittenAgain() throws {
        var table = NameTable(parking: "p/")
        let node = try table.adopt("x", in: table.tree.root, Generation(5))
        let content = table.changed(node)
        table.ready(node, content)
        let action = table.next()
        table.finished(action[0], .conflict(found: nil))
        #expect(table.next() == [.publish(node, content: content, name: "x", replacing: nil)])
    }

    @Test func aContentThatOthersTookAwayIsTold() throws {
        var table = NameTable(parking: "p/")
        let node = try table.adopt("x", in: table.tree.root, Generation(5))
        try table.rename("x", in: table.tree.root, to: "y", in: table.tree.root)
        let action = table.next()
        table.finished(action[0], .sourceGone)
        #expect(table.lost == [node])
        #expect(table.next().isEmpty)
    }
}
