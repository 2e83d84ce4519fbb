import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

struct DirectoryWalkTests {
    /// A tree, of which a walk knows what was listed.
    private struct Tree {
        let children: [String: [String]]
        var listed: Set<String> = []

        func known(_ path: String) -> DirectoryWalk.Known? {
            guard listed.contains(path) else { return nil }
            return DirectoryWalk.Known(directories: (children[path] ?? []).compactMap(EntryName.init), isCurrent: true)
        }

        /// All directories, as `find` comes by them.
        func preorder(_ path: String = "") -> [String] {
            [path] + (children[path] ?? []).flatMap { preorder(path.isEmpty ? $0 : path + "/" + $0) }
        }
    }

    private static let wide = Tree(children: ["": (100..<200).map { "d\($0)" }])

    @Test func aWalkFindsAlmostEverythingListedBeforeItComes() {
        var (walk, tree) = (DirectoryWalk(), Self.wide)
        var late: [String] = []
        for path in tree.preorder() {
            if !tree.listed.contains(path) { late.append(path) }
            tree.listed.insert(path)
            tree.listed.formUnion(walk.opened(path, known: tree.known))
        }
        #expect(late == ["", "d100"])
        #expect(tree.listed.count == 101)
    }

    @Test func aDeepTreeIsWalkedInTheOrderOfFind() {
        let top = (0..<4).map { "a\($0)" }
        var children = ["": top]
        for name in top {
            children[name] = ["x", "y"]
            children[name + "/x"] = ["deep"]
        }
        var (walk, tree) = (DirectoryWalk(), Tree(children: children))
        var late: [String] = []
        for path in tree.preorder() {
            if !tree.listed.contains(path) { late.append(path) }
            tree.listed.insert(path)
            tree.listed.formUnion(walk.opened(path, known: tree.known))
        }
        #expect(late.count <= 3, "\(late)")
        #expect(tree.listed == Set(tree.preorder()))
    }

    @Test func aSingleOpenWishesForNothing() {
        var (walk, tree) = (DirectoryWalk(), Self.wide)
        tree.listed = [""]
        #expect(walk.opened("d150", known: tree.known).isEmpty)
        #expect(walk.opened("d150", known: tree.known).isEmpty)
    }

    @Test func theWindowDoublesAndEnds() {
        var (walk, tree) = (DirectoryWalk(), Self.wide)
        tree.listed = [""]
        var sizes: [Int] = []
        _ = walk.opened("", known: tree.known)
        for path in tree.preorder().dropFirst().prefix(8) { sizes.append(walk.opened(path, known: tree.known).count) }
        #expect(sizes == [2, 4, 8, 16, 32, 32, 32, 32])
    }

    @Test func twoWalksAtOnceAreToldApart() {
        let children = ["": ["a", "b"], "a": (100..<140).map { "d\($0)" }, "b": (100..<140).map { "d\($0)" }]
        var (walk, tree) = (DirectoryWalk(), Tree(children: children))
        tree.listed = ["", "a", "b"]
        _ = walk.opened("a", known: tree.known)
        _ = walk.opened("b", known: tree.known)
        var late = 0
        for number in 100..<140 {
            for parent in ["a", "b"] {
                let path = "\(parent)/d\(number)"
                if tree.listed.insert(path).inserted { late += 1 }
                tree.listed.formUnion(walk.opened(path, known: tree.known))
            }
        }
        #expect(late <= 4)
    }

    @Test(arguments: [
        ("", "a", true), ("a", "b", true), ("a/x/y", "b", true), ("a", "a/x", true), ("a/x", "a/y", true),
        ("ab/x", "a/y", false), ("a", "b/x", false), ("", "a/b", false), ("a", "a", false), ("a", "", false),
    ])
    func aStepGoesIntoOrBesideWhereTheWalkIs(last: String, path: String, isStep: Bool) {
        #expect(DirectoryWalk.isStep(from: last, to: path) == isStep)
    }

    /// Random trees and random opens: never a wish for what is known, never more than the window.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func wishesAreBoundedAndNew(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var children: [String: [String]] = [:]
        var all = [""]
        for _ in 0..<200 {
            let parent = try #require(all.randomElement(using: &random))
            let name = "n\(all.count)"
            children[parent, default: []].append(name)
            all.append(parent.isEmpty ? name : parent + "/" + name)
        }
        for parent in children.keys { children[parent]?.sort() }
        var (walk, tree) = (DirectoryWalk(), Tree(children: children))
        for _ in 0..<500 {
            let path = try #require(all.randomElement(using: &random))
            tree.listed.insert(path)
            let wishes = walk.opened(path, known: tree.known)
            #expect(wishes.count <= DirectoryWalk.maximumAhead)
            #expect(Set(wishes).count == wishes.count)
            #expect(tree.listed.isDisjoint(with: wishes))
            #expect(Set(all).isSuperset(of: wishes))
            tree.listed.formUnion(wishes.filter { _ in Bool.random(using: &random) })
        }
    }
}
