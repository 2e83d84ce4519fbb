import Glibc
import LinuxPlatform

/// What a `ForgetfulDisk` holds, and what it would hold after a crash.
struct ForgetfulState {
    /// A change of a file's bytes that is not on the disk yet.
    enum Change {
        case write([UInt8], at: Int)
        case truncate(Int)
    }

    struct File {
        /// As a running process sees it.
        var seen: [UInt8] = []
        /// As it is on the disk for good.
        var kept: [UInt8] = []
        /// What lies between, in order.
        var pending: [Change] = []
    }

    /// A change of names, applied whole or not at all.
    typealias NameChange = [(name: String, file: Int?)]

    var faults: ForgetfulDisk.Faults
    var files: [Int: File] = [:]
    /// As a running process sees them.
    var names: [String: Int] = [:]
    private var keptNames: [String: Int] = [:]
    private var pendingNames: [NameChange] = []
    private var nextFile = 0
    private(set) var changes = 0
    /// The number of the change that each synchronization was.
    private(set) var synchronizations: [Int] = []
    var isDead = false

    init(_ faults: ForgetfulDisk.Faults) { self.faults = faults }

    /// - Throws: `EIO` when the process is dead.
    func check() throws(Errno) { if isDead { throw .inputOutput } }

    private mutating func countChange() throws(Errno) {
        try check()
        if changes == faults.diesAtChange {
            isDead = true
            throw .inputOutput
        }
        changes += 1
    }

    // MARK: Names

    mutating func create(_ name: String) throws(Errno) -> Int {
        try countChange()
        guard names[name] == nil else { throw .exists }
        let file = nextFile
        nextFile += 1
        files[file] = File()
        apply([(name, file)])
        return file
    }

    mutating func rename(_ name: String, to newName: String) throws(Errno) {
        try countChange()
        guard let file = names[name] else { throw .noEntry }
        apply([(name, nil), (newName, file)])
    }

    mutating func remove(_ name: String) throws(Errno) {
        try countChange()
        guard names[name] != nil else { throw .noEntry }
        apply([(name, nil)])
    }

    private mutating func apply(_ change: NameChange) {
        for (name, file) in change { names[name] = file }
        pendingNames.append(change)
    }

    mutating func synchronizeNames() throws(Errno) {
        guard try startSynchronization() else { return }
        pendingNames = []
        keptNames = names
    }

    // MARK: Bytes

    mutating func write(_ bytes: [UInt8], at offset: Int, of file: Int) throws(Errno) {
        try countChange()
        let others = Set(names.values).reduce(0) { $0 + ($1 == file ? 0 : files[$1]?.seen.count ?? 0) }
        let room = faults.capacity.map { max(0, $0 - others - offset) } ?? bytes.count
        let written = Array(bytes.prefix(room))
        files[file, default: File()].change(.write(written, at: offset))
        if written.count < bytes.count { throw .noSpace }
    }

    mutating func truncate(_ file: Int, to size: Int) throws(Errno) {
        try countChange()
        files[file, default: File()].change(.truncate(size))
    }

    mutating func synchronizeData(of file: Int) throws(Errno) {
        do throws(Errno) {
            guard try startSynchronization() else { return }
        } catch {
            if !isDead { files[file]?.lose(changes) }
            throw error
        }
        files[file]?.keep()
    }

    /// False when it shall do nothing.
    private mutating func startSynchronization() throws(Errno) -> Bool {
        try countChange()
        let number = synchronizations.count
        synchronizations.append(changes - 1)
        if number == faults.failedSynchronization { throw .inputOutput }
        return number != faults.skippedSynchronization
    }

    mutating func flipBit(_ bit: Int, of name: String, at offset: Int) {
        guard let file = names[name] else { return }
        files[file]?.seen[offset] ^= 1 << UInt8(bit)
        if offset < files[file]?.kept.count ?? 0 { files[file]?.kept[offset] ^= 1 << UInt8(bit) }
    }

    // MARK: Crash

    func crashed(_ remains: ForgetfulDisk.Remains) -> ForgetfulState {
        var choice = Choice(remains)
        var next = ForgetfulState(ForgetfulDisk.Faults())
        next.nextFile = nextFile
        var names = keptNames
        for change in pendingNames where choice.next() {
            for (name, file) in change { names[name] = file }
        }
        for file in Set(names.values).sorted() {
            let bytes = (files[file] ?? File()).afterCrash(&choice)
            next.files[file] = File(seen: bytes, kept: bytes)
        }
        next.names = names
        next.keptNames = names
        return next
    }

    /// What is kept of what need not be.
    struct Choice {
        private let remains: ForgetfulDisk.Remains
        private var random: SeededRandom

        init(_ remains: ForgetfulDisk.Remains) {
            self.remains = remains
            random = if case .anySubset(let seed) = remains { SeededRandom(seed: seed) } else { SeededRandom(seed: 0) }
        }

        mutating func next() -> Bool {
            switch remains {
            case .nothing: false
            case .everything: true
            case .anySubset: random.next() & 1 == 1
            }
        }
    }
}

extension ForgetfulState.File {
    mutating func change(_ change: ForgetfulState.Change) {
        Self.apply(change, to: &seen)
        pending.append(change)
    }

    mutating func keep() {
        for change in pending { Self.apply(change, to: &kept) }
        pending = []
    }

    /// A synchronization failed: some of the changes were written, the others never will be, whatever is read.
    mutating func lose(_ number: Int) {
        var choice = ForgetfulState.Choice(.anySubset(seed: UInt64(number)))
        kept = afterCrash(&choice)
        pending = []
    }

    func afterCrash(_ choice: inout ForgetfulState.Choice) -> [UInt8] {
        var bytes = kept
        for change in pending {
            switch change {
            case .truncate: if choice.next() { Self.apply(change, to: &bytes) }
            case .write(let written, let offset):
                Self.apply(written, at: offset, to: &bytes, keeping: &choice)
            }
        }
        return bytes
    }

    /// Sector by sector; the file may also have grown without its bytes.
    private static func apply(
        _ written: [UInt8],
        at offset: Int,
        to bytes: inout [UInt8],
        keeping choice: inout ForgetfulState.Choice
    ) {
        let end = offset + written.count
        var start = offset
        while start < end {
            let next = min(end, (start / ForgetfulDisk.sector + 1) * ForgetfulDisk.sector)
            if choice.next() {
                apply(.write(Array(written[(start - offset)..<(next - offset)]), at: start), to: &bytes)
            } else if choice.next(), bytes.count < next {
                apply(.truncate(next), to: &bytes)
            }
            start = next
        }
    }

    private static func apply(_ change: ForgetfulState.Change, to bytes: inout [UInt8]) {
        switch change {
        case .truncate(let size):
            if size < bytes.count { bytes.removeLast(bytes.count - size) }
            bytes += [UInt8](repeating: 0, count: size - bytes.count)
        case .write(let written, let offset):
            let end = offset + written.count
            if written.isEmpty { return }
            if bytes.count < end { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
            bytes.replaceSubrange(offset..<end, with: written)
        }
    }
}
