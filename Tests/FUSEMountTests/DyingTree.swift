import LinuxPlatform
import TestSupport

@testable import WriteBack

/// A tree in front of `WriteBack` whose calls are done when they return, on the thread that made them, and may kill whoever
/// serves it before and after that. Of one process.
final class DyingTree: WritableTree {
    /// Called before and after each call is done; returns, when it has died, only after all is over.
    ///
    /// - Returns: whether it has died.
    typealias Intervention = @Sendable (_ call: String, _ request: TreeRequest?, _ isDone: Bool) -> Bool

    let inner: WriteBack
    private let intervention: Intervention
    private let counter = Lock(0)

    init(_ inner: WriteBack, _ intervention: @escaping Intervention) {
        self.inner = inner
        self.intervention = intervention
    }

    /// Requests that were answered as they had been before.
    var repeated: Int { counter.withLock { $0 } }

    private func pass<Value: Sendable>(
        _ request: TreeRequest?,
        _ completion: @escaping Completion<Value>,
        call: String = #function,
        _ body: (@escaping Completion<Value>) -> Void
    ) {
        if intervention(call, request, false) { return completion(.failure(.inputOutput)) }
        if let request, request.isResent, inner.core.withLock({ $0.engine.state.answer(request.number) }) != nil {
            counter.withLock { $0 += 1 }
        }
        let answer = Monitor<Result<Value, Errno>?>(nil)
        body { result in answer.withLock { $0 = result } }
        _ = answer.wait(until: .distantFuture) { $0 != nil }
        guard let result = answer.withLock({ $0 }) else { return completion(.failure(.inputOutput)) }
        _ = intervention(call, request, true)
        completion(result)
    }

    // MARK: Names

    func lookup(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<TreeLookup>
    ) {
        pass(request, completion) { inner.lookup(request, name, in: directory, $0) }
    }

    func remember(_ node: TreeNode) { inner.remember(node) }

    func forget(_ node: TreeNode, lookups: UInt64) { inner.forget(node, lookups: lookups) }

    func attributes(_ request: TreeRequest, _ node: TreeNode, _ completion: @escaping Completion<TreeEntry>) {
        pass(request, completion) { inner.attributes(request, node, $0) }
    }

    func setAttributes(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ changes: AttributeChanges,
        through handle: TreeHandle?,
        _ completion: @escaping Completion<TreeEntry>
    ) {
        pass(request, completion) { inner.setAttributes(request, node, changes, through: handle, $0) }
    }

    func makeDirectory(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        mode: UInt16,
        _ completion: @escaping Completion<TreeEntry>
    ) {
        pass(request, completion) { inner.makeDirectory(request, name, in: directory, mode: mode, $0) }
    }

    func makeLink(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        target: String,
        _ completion: @escaping Completion<TreeEntry>
    ) {
        pass(request, completion) { inner.makeLink(request, name, in: directory, target: target, $0) }
    }

    func linkTarget(_ request: TreeRequest, _ node: TreeNode, _ completion: @escaping Completion<String>) {
        pass(request, completion) { inner.linkTarget(request, node, $0) }
    }

    func unlink(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<Void>
    ) {
        pass(request, completion) { inner.unlink(request, name, in: directory, $0) }
    }

    func removeDirectory(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<Void>
    ) {
        pass(request, completion) { inner.removeDirectory(request, name, in: directory, $0) }
    }

    func rename(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        to newName: String,
        in newDirectory: TreeNode,
        _ rule: RenameRule,
        _ completion: @escaping Completion<Void>
    ) {
        pass(request, completion) {
            inner.rename(request, name, in: directory, to: newName, in: newDirectory, rule, $0)
        }
    }

    func list(
        _ request: TreeRequest,
        _ directory: TreeNode,
        after cookie: UInt64,
        limit: Int,
        _ completion: @escaping Completion<TreeListing>
    ) {
        pass(request, completion) { inner.list(request, directory, after: cookie, limit: limit, $0) }
    }

    func synchronizeDirectory(
        _ request: TreeRequest,
        _ directory: TreeNode,
        _ completion: @escaping Completion<Void>
    ) {
        pass(request, completion) { inner.synchronizeDirectory(request, directory, $0) }
    }

    // MARK: Files

    func create(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        mode: UInt16,
        open: OpenMode?,
        _ rule: CreateRule,
        _ completion: @escaping Completion<(entry: TreeEntry, file: TreeFile?)>
    ) {
        pass(request, completion) { inner.create(request, name, in: directory, mode: mode, open: open, rule, $0) }
    }

    func open(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ mode: OpenMode,
        truncates: Bool,
        _ completion: @escaping Completion<TreeFile>
    ) {
        pass(request, completion) { inner.open(request, node, mode, truncates: truncates, $0) }
    }

    func read(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        at offset: Int,
        count: Int,
        _ completion: @escaping Completion<[UnsafeRawBufferPointer]>
    ) {
        let answer: Completion<[UInt8]> = { result in
            switch result {
            case .success(let bytes): bytes.withUnsafeBytes { completion(.success([$0])) }
            case .failure(let error): completion(.failure(error))
            }
        }
        pass(request, answer) { done in
            inner.read(request, handle, at: offset, count: count) { result in
                // They are valid until this returns.
                done(result.map { pieces in pieces.flatMap { Array($0) } })
            }
        }
    }

    func write(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        _ bytes: UnsafeRawBufferPointer,
        at offset: Int,
        _ completion: @escaping Completion<Void>
    ) {
        pass(request, completion) { inner.write(request, handle, bytes, at: offset, $0) }
    }

    func flush(_ request: TreeRequest, _ handle: TreeHandle, _ completion: @escaping Completion<Void>) {
        pass(request, completion) { inner.flush(request, handle, $0) }
    }

    func synchronize(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        isDataOnly: Bool,
        _ completion: @escaping Completion<Void>
    ) {
        pass(request, completion) { inner.synchronize(request, handle, isDataOnly: isDataOnly, $0) }
    }

    func allocate(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        _ range: Range<Int>,
        growsFile: Bool,
        _ completion: @escaping Completion<Void>
    ) {
        pass(request, completion) { inner.allocate(request, handle, range, growsFile: growsFile, $0) }
    }

    func release(_ request: TreeRequest?, _ handle: TreeHandle, _ completion: @escaping Completion<Void>) {
        pass(request, completion) { inner.release(request, handle, $0) }
    }

    // MARK: Extended attributes

    func extendedAttribute(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: String,
        _ completion: @escaping Completion<[UInt8]>
    ) {
        pass(request, completion) { inner.extendedAttribute(request, node, name, $0) }
    }

    func extendedAttributeNames(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ completion: @escaping Completion<[String]>
    ) {
        pass(request, completion) { inner.extendedAttributeNames(request, node, $0) }
    }

    func setExtendedAttribute(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: String,
        _ value: [UInt8],
        _ rule: ExtendedAttributeRule,
        _ completion: @escaping Completion<Void>
    ) {
        pass(request, completion) { inner.setExtendedAttribute(request, node, name, value, rule, $0) }
    }

    func removeExtendedAttribute(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: String,
        _ completion: @escaping Completion<Void>
    ) {
        pass(request, completion) { inner.removeExtendedAttribute(request, node, name, $0) }
    }

    // MARK: The mount

    func space(_ request: TreeRequest, _ completion: @escaping Completion<TreeSpace>) {
        pass(request, completion) { inner.space(request, $0) }
    }

    func interrupt(_ request: TreeRequest) { inner.interrupt(request) }

    func answered(_ request: TreeRequest) { inner.answered(request) }

    func observe(_ observer: @escaping @Sendable (TreeChange) -> Void) { inner.observe(observer) }
}
