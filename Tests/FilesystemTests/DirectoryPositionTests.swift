import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

/// A reader of a directory that goes on in another listing than the one it began with.
struct DirectoryPositionTests {
    private func listing(_ names: some Sequence<Int>, isFixed: Bool = false) throws -> DirectoryListing {
        let entries = try names.map { number in
            let name = try #require(EntryName("file-\(number)"))
            return DirectoryEntry(directory: name, modified: UnixTime(seconds: 1))
        }
        return DirectoryListing(
            entries,
            below: "",
            validUntil: isFixed ? .distantFuture : MonotonicInstant(nanoseconds: 5)
        )
    }

    /// The names of entries `cookie` leads to, at most `count`, and the cookie after them.
    private func page(_ listing: DirectoryListing, _ cookie: Int, _ count: Int) -> (names: [String], next: Int) {
        var names: [String] = []
        var position = listing.position(of: cookie)
        var next = cookie
        while position < listing.entries.count + 2, names.count < count {
            if position >= 2 { names.append(listing.entries[position - 2].name.value) }
            next = listing.cookie(after: position)
            position += 1
        }
        return (names, next)
    }

    @Test(arguments: [true, false])
    func everyCookieLeadsBehindItsEntry(isFixed: Bool) throws {
        let listing = try listing(0..<300, isFixed: isFixed)
        for position in 0..<302 {
            let cookie = listing.cookie(after: position)
            #expect(cookie > 0)
            #expect(listing.position(of: cookie) == position + 1)
        }
        #expect(listing.position(of: 0) == 0)
    }

    @Test func whatNeverChangesHasPlainNumbers() throws {
        let listing = try listing(0..<10, isFixed: true)
        #expect((0..<12).map { listing.cookie(after: $0) } == Array(1...12))
    }

    @Test(arguments: SeedSlice.first(4, ofSoak: 200))
    func namesThatStayAreReadOnceEach(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let all = Array(0..<200).shuffled(using: &random)
        let (stay, change) = (all[..<120], all[120...])
        var read: [String] = []
        var cookie = 0
        let staying = Set(stay.map { "file-\($0)" })
        while true {
            let present = change.filter { _ in Bool.random(using: &random) }
            let listing = try listing(stay + present)
            // What the kernel read last stays: only then it is said where the next page begins.
            var size = 7
            while true {
                let names = page(listing, cookie, size).names
                if names.count < size || names.contains(where: staying.contains) { break }
                size += 7
            }
            let names = page(listing, cookie, size).names
            guard let last = names.lastIndex(where: staying.contains) else { break }
            cookie = page(listing, cookie, last + 1).next
            read += names[...last]
        }
        for number in stay { #expect(read.count { $0 == "file-\(number)" } == 1, "file-\(number), seed \(seed)") }
    }

    @Test func nonsenseLeadsSomewhereInside() throws {
        var random = SeededRandom(seed: 3)
        let listing = try listing(0..<20)
        for _ in 0..<1000 {
            let cookie = Int(bitPattern: UInt(random.next()))
            #expect(listing.position(of: cookie) >= 0)
        }
        #expect(try self.listing([]).position(of: 9 << 32 | 9) == 2)
    }
}
