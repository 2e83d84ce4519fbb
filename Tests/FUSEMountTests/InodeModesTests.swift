import Filesystem
import TestSupport
import Testing

@testable import FUSEMount

@Suite struct InodeModesTests {
    private typealias Modes = InodeModes<Int>

    private let node = NodeID(7)
    private let first = InodeMode.kernel(BackingID(number: 1))

    /// Opens, and decides if it is asked to; nil when it has to wait.
    private func open(_ modes: inout Modes, _ node: NodeID, deciding mode: InodeMode = .daemon) -> InodeMode? {
        switch modes.open(node, 0) {
        case .answer(let mode): return mode
        case .wait: return nil
        case .decide:
            #expect(modes.decided(node, mode) == [])
            return mode
        }
    }

    @Test func theFirstOpenDecidesForAllUntilTheLastRelease() {
        var modes = Modes()
        #expect(open(&modes, node, deciding: first) == first)
        #expect(open(&modes, node) == first)
        #expect(modes.release(node) == nil)
        #expect(open(&modes, node) == first)
        #expect(modes.release(node) == nil)
        #expect(modes.release(node) == BackingID(number: 1))
        #expect(modes.mode(of: node) == nil)
    }

    /// A file that appears in the cache meanwhile is not even asked for.
    @Test func anInodeThatIsReadByTheDaemonStaysSo() {
        var modes = Modes()
        #expect(open(&modes, node) == .daemon)
        #expect(open(&modes, node, deciding: first) == .daemon)
        #expect(modes.release(node) == nil)
        #expect(open(&modes, node, deciding: first) == .daemon)
        #expect(modes.release(node) == nil)
        #expect(modes.release(node) == nil)
        #expect(open(&modes, node, deciding: first) == first)
    }

    @Test func whoComesWhileItIsDecidedWaitsForTheSameMode() {
        var modes = Modes()
        guard case .decide = modes.open(node, 0) else { return #expect(Bool(false), "the first open decides") }
        for waiter in 1...3 {
            guard case .wait = modes.open(node, waiter) else { return #expect(Bool(false), "others wait") }
        }
        #expect(modes.decided(node, first) == [1, 2, 3])
        for _ in 1...3 { #expect(modes.release(node) == nil) }
        #expect(modes.release(node) == BackingID(number: 1))
    }

    @Test func onceRefusedNobodyTriesAgain() {
        var modes = Modes()
        #expect(open(&modes, node, deciding: first) == first)
        let answers = (modes.refuse(), modes.refuse())
        #expect(answers == (true, false))
        #expect(open(&modes, NodeID(8), deciding: first) == .daemon)
        // What is open already stays as it is.
        #expect(open(&modes, node) == first)
        #expect(modes.release(node) == nil)
        #expect(modes.release(node) == BackingID(number: 1))
        #expect(open(&modes, node, deciding: first) == .daemon)
    }

    @Test func atTheEndOfTheMountEveryNumberIsGivenBackOnce() {
        var modes = Modes()
        #expect(open(&modes, node, deciding: first) == first)
        #expect(open(&modes, NodeID(8)) == .daemon)
        guard case .decide = modes.open(NodeID(9), 0) else { return #expect(Bool(false), "the first open decides") }
        let given = modes.end()
        #expect(given == [BackingID(number: 1)])
        let after = (modes.end(), modes.release(node), modes.release(NodeID(8)))
        #expect(after == ([], nil, nil))
        // Decided too late: its reply fails.
        let late = BackingID(number: 2)
        let waiting = modes.decided(NodeID(9), .kernel(late))
        let returned = modes.release(NodeID(9))
        #expect(waiting == [] && returned == late && modes.openCount == 0)
    }

    @Test func releasesOfUnknownInodesMeanNothing() {
        var modes = Modes()
        #expect(modes.release(node) == nil)
        #expect(modes.openCount == 0)
    }

    /// Against the kernel's own rule: a handle opens only in the mode of those that are open.
    @Test func inAnyOrderOfEventsModesNeverMixAndEveryNumberIsGivenBackOnce() {
        var random = SeededRandom(seed: 69)
        var modes = Modes()
        var deciding: Set<NodeID> = []
        var handles: [NodeID: [InodeMode]] = [:]
        var waiting: [NodeID: Int] = [:]
        var registered: Set<Int32> = []
        var last: Int32 = 0
        for _ in 0..<20_000 {
            let node = NodeID(random.next() % 5 + 2)
            switch random.next() % 4 {
            case 0:
                switch modes.open(node, 0) {
                case .answer(let mode): handles[node, default: []].append(mode)
                case .decide: #expect(deciding.insert(node).inserted && handles[node, default: []].isEmpty)
                case .wait:
                    #expect(deciding.contains(node))
                    waiting[node, default: 0] += 1
                }
            case 1:
                guard deciding.remove(node) != nil else { continue }
                var mode = InodeMode.daemon
                if random.next() % 2 == 0 {
                    last += 1
                    registered.insert(last)
                    mode = .kernel(BackingID(number: last))
                }
                let count = modes.decided(node, mode).count
                #expect(count == waiting.removeValue(forKey: node) ?? 0)
                handles[node] = Array(repeating: mode, count: count + 1)
            default:
                guard let mode = handles[node]?.popLast() else { continue }
                let returned = modes.release(node)
                let isLast = handles[node] == [] && waiting[node] == nil
                if isLast, case .kernel(let backing) = mode {
                    #expect(returned == backing && registered.remove(backing.number) != nil)
                } else {
                    #expect(returned == nil)
                }
            }
            if Set(handles[node] ?? []).count > 1 { Issue.record("modes of one inode are mixed") }
        }
        #expect(last > 500)
        #expect(
            modes.openCount == handles.values.reduce(deciding.count) { $0 + $1.count } + waiting.values.reduce(0, +)
        )
    }
}
