package import LinuxPlatform
package import WriteBack

/// The plainest tree that can be written to: in memory, and every call is done when it is made. The model that others are
/// compared with, and what mounts are tested over.
///
/// What a journal keeps it keeps, too: nodes, handles, the answers of calls that are done once. A test that gives it to the next
/// session of a mount plays a worker that died, with everything written down.
package final class MemoryTree: WritableTree {
    /// What becomes of a call.
    package enum Step: Hashable, Sendable {
        case proceed
        case fail(Errno)
        /// It is done by `letGo`, or fails with `interrupted`; others go on meanwhile.
        case wait
    }

    /// Called before and after each call of the kernel is done, by the thread that brought it, with no lock held; may block.
    /// What it returns after that does not matter.
    ///
    /// `call` is the name of the method, as #function has it.
    package typealias Intervention = @Sendable (_ call: String, _ request: TreeRequest?, _ isDone: Bool) -> Step

    private typealias Body<Value> = @Sendable (inout MemoryTreeState, UnixTime) throws(Errno) -> Value

    private struct State {
        var files: MemoryTreeState
        var answers: [UInt64: any Sendable] = [:]
        var repeated = 0
        var waiting: [UInt64: @Sendable (Errno?) -> Void] = [:]
        var observer: (@Sendable (TreeChange) -> Void)?
    }

    private let time: any TimeSource
    private let intervention: Intervention
    private let state: Lock<State>

    /// - Parameters:
    ///   - user: who owns the root.
    ///   - time: gives files their times.
    package init(
        user: UInt32 = 0,
        group: UInt32 = 0,
        time: any TimeSource = SystemTime(),
        intervention: @escaping Intervention = { _, _, _ in .proceed }
    ) {
        self.time = time
        self.intervention = intervention
        let owner = TreeRequest(number: 0, user: user, group: group)
        state = Lock(State(files: MemoryTreeState(owner: owner, now: time.timeOfDay())))
    }

    // MARK: What tests look at

    /// Handles that are open.
    package var openHandles: Int { state.withLock { $0.files.openHandles } }
    /// Nodes that have a name, a handle or a lookup; the root is one.
    package var nodeCount: Int { state.withLock { $0.files.nodeCount } }
    /// Answers that are kept for requests that might be sent again.
    package var keptAnswers: Int { state.withLock { $0.answers.count } }
    /// Requests that were answered as they had been before.
    package var repeated: Int { state.withLock { $0.repeated } }
    /// Calls that wait.
    package var waiting: Int { state.withLock { $0.waiting.count } }

    /// Does all calls that wait.
    package func letGo() {
        let waiting = state.withLock { state in
            defer { state.waiting = [:] }
            return state.waiting
        }
        for (_, proceed) in waiting.sorted(by: { $0.key < $1.key }) { proceed(nil) }
    }

    /// Says that something has changed without a request of the kernel.
    package func tell(_ change: TreeChange) { state.withLock { $0.observer }?(change) }

    // MARK: How calls are done

    /// Does a call that may be repeated.
    private func answer<Value: Sendable>(
        _ request: TreeRequest,
        _ completion: @escaping Completion<Value>,
        call: String = #function,
        _ body: @escaping Body<Value>
    ) {
        begin(request, call, completion) { [self] in
            let now = time.timeOfDay()
            return state.withLock { state in Result { () throws(Errno) in try body(&state.files, now) } }
        }
    }

    /// Does a call, or finds out that it was done.
    private func once<Value: Sendable>(
        _ request: TreeRequest?,
        _ completion: @escaping Completion<Value>,
        call: String = #function,
        _ body: @escaping Body<Value>
    ) {
        begin(request, call, completion) { [self] in
            let now = time.timeOfDay()
            return state.withLock { state -> Result<Value, Errno> in
                if let request, request.isResent, let old = state.answers[request.number] as? Result<Value, Errno> {
                    state.repeated += 1
                    return old
                }
                let result = Result { () throws(Errno) in try body(&state.files, now) }
                if let request { state.answers[request.number] = result }
                return result
            }
        }
    }

    private func begin<Value: Sendable>(
        _ request: TreeRequest?,
        _ call: String,
        _ completion: @escaping Completion<Value>,
        _ perform: @escaping @Sendable () -> Result<Value, Errno>
    ) {
        let finish = { @Sendable [self] in
            let result = perform()
            _ = intervention(call, request, true)
            completion(result)
        }
        switch intervention(call, request, false) {
        case .proceed: finish()
        case .fail(let error): completion(.failure(error))
        case .wait:
            state.withLock { state in
                state.waiting[request?.number ?? 0] = { error in
                    if let error { completion(.failure(error)) } else { finish() }
                }
            }
        }
    }

    private static func entry(_ attributes: TreeAttributes) -> TreeEntry {
        TreeEntry(attributes, validUntil: .distantFuture)
    }

    // MARK: Names

    package func lookup(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<TreeLookup>
    ) {
        answer(request, completion) { (files, _) throws(Errno) in
            TreeLookup(try files.lookup(name, in: directory), validUntil: .distantFuture)
        }
    }

    package func remember(_ node: TreeNode) { state.withLock { $0.files.remember(node) } }

    package func forget(_ node: TreeNode, lookups: UInt64) { state.withLock { $0.files.forget(node, lookups) } }

    package func attributes(_ request: TreeRequest, _ node: TreeNode, _ completion: @escaping Completion<TreeEntry>) {
        answer(request, completion) { (files, _) throws(Errno) in Self.entry(try files.attributes(node)) }
    }

    package func setAttributes(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ changes: AttributeChanges,
        through handle: TreeHandle?,
        _ completion: @escaping Completion<TreeEntry>
    ) {
        answer(request, completion) { (files, now) throws(Errno) in
            if let handle { try files.check(handle) }
            return Self.entry(try files.change(node, changes, now))
        }
    }

    package func makeDirectory(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        mode: UInt16,
        _ completion: @escaping Completion<TreeEntry>
    ) {
        once(request, completion) { (files, now) throws(Errno) in
            Self.entry(try files.make(.directory, name, in: directory, mode: mode, request, now))
        }
    }

    package func makeLink(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        target: String,
        _ completion: @escaping Completion<TreeEntry>
    ) {
        once(request, completion) { (files, now) throws(Errno) in
            Self.entry(try files.make(.link, name, in: directory, mode: 0o777, target: target, request, now))
        }
    }

    package func linkTarget(_ request: TreeRequest, _ node: TreeNode, _ completion: @escaping Completion<String>) {
        answer(request, completion) { (files, _) throws(Errno) in try files.target(node) }
    }

    package func unlink(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<Void>
    ) {
        once(request, completion) { (files, now) throws(Errno) in try files.unlink(name, in: directory, now) }
    }

    package func removeDirectory(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<Void>
    ) {
        once(request, completion) { (files, now) throws(Errno) in try files.removeDirectory(name, in: directory, now) }
    }

    package func rename(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        to newName: String,
        in newDirectory: TreeNode,
        _ rule: RenameRule,
        _ completion: @escaping Completion<Void>
    ) {
        once(request, completion) { (files, now) throws(Errno) in
            try files.rename(name, in: directory, to: newName, in: newDirectory, rule, now)
        }
    }

    package func list(
        _ request: TreeRequest,
        _ directory: TreeNode,
        after cookie: UInt64,
        limit: Int,
        _ completion: @escaping Completion<TreeListing>
    ) {
        answer(request, completion) { (files, _) throws(Errno) in try files.list(directory, after: cookie, limit: limit)
        }
    }

    package func synchronizeDirectory(
        _ request: TreeRequest,
        _ directory: TreeNode,
        _ completion: @escaping Completion<Void>
    ) {
        answer(request, completion) { (files, _) throws(Errno) in _ = try files.attributes(directory) }
    }

    // MARK: Files

    package func create(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        mode: UInt16,
        open: OpenMode?,
        _ rule: CreateRule,
        _ completion: @escaping Completion<(entry: TreeEntry, file: TreeFile?)>
    ) {
        once(request, completion) { (files, now) throws(Errno) in
            var found: TreeAttributes?
            if rule != .onlyNew { found = try files.lookup(name, in: directory) }
            let node =
                if let found { found.node } else {
                    try files.make(.file, name, in: directory, mode: mode, request, now).node
                }
            if let open {
                do throws(Errno) {
                    try files.open(node, open, truncates: found != nil && rule == .openTruncated, now)
                } catch {
                    files.forget(node, 1)
                    throw error
                }
            }
            return (Self.entry(try files.attributes(node)), open.map { TreeFile(TreeHandle(node, $0)) })
        }
    }

    package func open(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ mode: OpenMode,
        truncates: Bool,
        _ completion: @escaping Completion<TreeFile>
    ) {
        once(request, completion) { (files, now) throws(Errno) in
            try files.open(node, mode, truncates: truncates, now)
            return TreeFile(TreeHandle(node, mode))
        }
    }

    package func read(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        at offset: Int,
        count: Int,
        _ completion: @escaping Completion<[UnsafeRawBufferPointer]>
    ) {
        let copy: Completion<[UInt8]> = { result in
            switch result {
            case .success(let bytes): bytes.withUnsafeBytes { completion(.success([$0])) }
            case .failure(let error): completion(.failure(error))
            }
        }
        answer(request, copy) { (files, _) throws(Errno) in try files.read(handle, at: offset, count: count) }
    }

    package func write(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        _ bytes: UnsafeRawBufferPointer,
        at offset: Int,
        _ completion: @escaping Completion<Void>
    ) {
        let copy = Array(bytes)
        answer(request, completion) { (files, now) throws(Errno) in try files.write(handle, copy, at: offset, now) }
    }

    package func flush(_ request: TreeRequest, _ handle: TreeHandle, _ completion: @escaping Completion<Void>) {
        answer(request, completion) { (files, _) throws(Errno) in try files.check(handle) }
    }

    package func synchronize(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        isDataOnly: Bool,
        _ completion: @escaping Completion<Void>
    ) {
        answer(request, completion) { (files, _) throws(Errno) in try files.check(handle) }
    }

    package func allocate(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        _ range: Range<Int>,
        growsFile: Bool,
        _ completion: @escaping Completion<Void>
    ) {
        answer(request, completion) { (files, now) throws(Errno) in
            try files.allocate(handle, range, growsFile: growsFile, now)
        }
    }

    package func release(_ request: TreeRequest?, _ handle: TreeHandle, _ completion: @escaping Completion<Void>) {
        once(request, completion) { (files, _) throws(Errno) in try files.release(handle) }
    }

    // MARK: Extended attributes

    package func extendedAttribute(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: String,
        _ completion: @escaping Completion<[UInt8]>
    ) {
        answer(request, completion) { (files, _) throws(Errno) in
            guard let value = try files.extended(node)[name] else { throw .noData }
            return value
        }
    }

    package func extendedAttributeNames(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ completion: @escaping Completion<[String]>
    ) {
        answer(request, completion) { (files, _) throws(Errno) in try files.extended(node).keys.sorted() }
    }

    package func setExtendedAttribute(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: String,
        _ value: [UInt8],
        _ rule: ExtendedAttributeRule,
        _ completion: @escaping Completion<Void>
    ) {
        once(request, completion) { (files, now) throws(Errno) in try files.setExtended(node, name, value, rule, now) }
    }

    package func removeExtendedAttribute(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: String,
        _ completion: @escaping Completion<Void>
    ) {
        once(request, completion) { (files, now) throws(Errno) in try files.setExtended(node, name, nil, .any, now) }
    }

    // MARK: The mount

    package func space(_ request: TreeRequest, _ completion: @escaping Completion<TreeSpace>) {
        answer(request, completion) { (files, _) in
            TreeSpace(totalBytes: 1 << 40, freeBytes: 1 << 39, files: files.nodeCount)
        }
    }

    package func interrupt(_ request: TreeRequest) {
        state.withLock { $0.waiting.removeValue(forKey: request.number) }?(.interrupted)
    }

    package func answered(_ request: TreeRequest) { state.withLock { $0.answers[request.number] = nil } }

    package func observe(_ observer: @escaping @Sendable (TreeChange) -> Void) {
        state.withLock { $0.observer = observer }
    }
}
