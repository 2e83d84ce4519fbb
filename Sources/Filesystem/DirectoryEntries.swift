import Checksums
import LinuxPlatform
import ObjectStorage

/// The lines of a directory, in byte order of names and each name once, packed: a directory may have a million.
///
/// A line takes its name's bytes and 33 more, and what else is known of a file where it is (hash, commit). A
/// `DirectoryEntry` is made when it is looked at.
package struct DirectoryEntries: RandomAccessCollection, Sendable {
    /// What few lines have.
    private struct Details {
        var sha256: String?
        var commit: String?
        /// Where it is not what the directory's objects begin with and the name.
        var object: ObjectName?
        var link: String?
    }

    private enum Flag {
        static let directory: UInt8 = 1
        static let checksum: UInt8 = 2
        static let table: UInt8 = 4
    }

    /// What the names of the directory's objects begin with.
    private let base: String
    private var names: [UInt8] = []
    /// Where each name ends.
    private var ends: [UInt32] = []
    private var sizes: [Int] = []
    private var generations: [Int64] = []
    private var modified: [UnixTime] = []
    private var checksums: [UInt32] = []
    private var flags: [UInt8] = []
    private var details: [Int: Details] = [:]

    private init(base: String) { self.base = base }

    package var startIndex: Int { 0 }
    package var endIndex: Int { ends.count }

    package subscript(_ index: Int) -> DirectoryEntry {
        let name = name(at: index)
        if isDirectory(index) { return DirectoryEntry(directory: name, modified: modified[index]) }
        let more = details[index]
        guard let object = more?.object ?? (try? ObjectName(base + name.value)) else {
            preconditionFailure("\(base)\(name) was an object's name when it was packed")
        }
        let facts = FileFacts(
            object: object,
            generation: Generation(generations[index]),
            size: sizes[index],
            modified: modified[index],
            crc32c: flags[index] & Flag.checksum == 0 ? nil : CRC32C(checksums[index]),
            sha256: more?.sha256,
            commit: more?.commit,
            hasTable: flags[index] & Flag.table != 0,
            link: more?.link
        )
        return DirectoryEntry(file: facts, name: name)
    }

    package func isDirectory(_ index: Int) -> Bool { flags[index] & Flag.directory != 0 }

    package func name(at index: Int) -> EntryName {
        guard let name = bytes(index, { EntryName(String(decoding: $0, as: UTF8.self)) }) else {
            preconditionFailure("a name that was one when it was packed")
        }
        return name
    }

    /// Of all files.
    var totalSize: Int { sizes.reduce(0, &+) }

    /// Where a name is, or would be.
    func position(of name: EntryName) -> (index: Int, isThere: Bool) {
        var wanted = name.value
        return wanted.withUTF8 { wanted in
            var (low, high) = (0, count)
            while low < high {
                let middle = (low + high) / 2
                if bytes(middle, { $0.lexicographicallyPrecedes(wanted) }) { low = middle + 1 } else { high = middle }
            }
            return (low, low < count && bytes(low) { $0.elementsEqual(wanted) })
        }
    }

    private func bytes<Value>(_ index: Int, _ body: (Slice<UnsafeBufferPointer<UInt8>>) -> Value) -> Value {
        let start = index == 0 ? 0 : Int(ends[index - 1])
        return names.withUnsafeBufferPointer { body($0[start..<Int(ends[index])]) }
    }
}

extension DirectoryEntries {
    /// Takes lines in any order; those that come in order take no time to sort.
    struct Builder {
        private var packed: DirectoryEntries
        private var isInOrder = true

        /// - Parameter base: what the names of most objects begin with.
        init(base: String) { packed = DirectoryEntries(base: base) }

        var count: Int { packed.count }

        mutating func append(_ entry: DirectoryEntry) {
            if !packed.isEmpty, isInOrder { isInOrder = packed.name(at: packed.count - 1) < entry.name }
            packed.append(entry)
        }

        /// - Parameter dropped: told of an object that has the name of a directory; the directory is shown.
        consuming func finish(dropped: (EntryName) -> Void) -> DirectoryEntries {
            if isInOrder { return packed }
            let order = packed.indices.sorted { left, right in
                packed.bytes(left) { left in packed.bytes(right) { left.lexicographicallyPrecedes($0) } }
            }
            var unique = DirectoryEntries(base: packed.base)
            var next = 0
            while next < order.count {
                let first = next
                repeat { next += 1 } while next < order.count && packed.hasSameName(order[first], order[next])
                let same = order[first..<next]
                let chosen = same.first(where: packed.isDirectory) ?? order[first]
                if packed.isDirectory(chosen), same.contains(where: { !packed.isDirectory($0) }) {
                    dropped(packed.name(at: chosen))
                }
                unique.append(packed[chosen])
            }
            return unique
        }
    }

    private func hasSameName(_ left: Int, _ right: Int) -> Bool {
        bytes(left) { left in bytes(right) { left.elementsEqual($0) } }
    }

    private mutating func append(_ entry: DirectoryEntry) {
        let index = count
        names += entry.name.value.utf8
        ends.append(UInt32(names.count))
        sizes.append(entry.file?.size ?? 0)
        generations.append(entry.generation.value)
        modified.append(entry.modified)
        checksums.append(entry.file?.crc32c?.value ?? 0)
        flags.append(
            (entry.isDirectory ? Flag.directory : 0) | (entry.file?.crc32c == nil ? 0 : Flag.checksum)
                | (entry.file?.hasTable == true ? Flag.table : 0)
        )
        guard let file = entry.file else { return }
        let object = isUsual(file.object, entry.name) ? nil : file.object
        guard file.sha256 != nil || file.commit != nil || file.link != nil || object != nil else { return }
        details[index] = Details(sha256: file.sha256, commit: file.commit, object: object, link: file.link)
    }

    private func isUsual(_ object: ObjectName, _ name: EntryName) -> Bool {
        let (all, start, end) = (object.value.utf8, base.utf8, name.value.utf8)
        return all.count == start.count + end.count && all.starts(with: start)
            && all.dropFirst(start.count).elementsEqual(end)
    }
}
