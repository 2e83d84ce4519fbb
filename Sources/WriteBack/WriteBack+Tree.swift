import LinuxPlatform
import ObjectStorage

// Names and attributes, as `WritableTree` has them.
extension WriteBack {
    /// Does what is done once: gives the old answer to a request that comes again, else makes the change and keeps the answer
    /// beside it. Completes when the record is in the journal.
    func once<Value: Sendable>(
        _ request: TreeRequest?,
        _ completion: @escaping @Sendable (Result<Value, Errno>) -> Void,
        _ body: (inout Core) throws(Errno) -> KernelAnswer,
        reply: (Core, KernelAnswer) throws(Errno) -> Value
    ) {
        do throws(Errno) {
            let (value, position) = try change { (core) throws(Errno) -> Value in
                if let request, request.isResent, let old = core.engine.state.answer(request.number) {
                    return try reply(core, old)
                }
                let answer = try body(&core)
                return try reply(core, answer)
            }
            commit(position, .process) { result in completion(result.map { value }) }
        } catch {
            completion(.failure(error))
        }
    }

    func node(_ node: TreeNode) throws(Errno) -> NameNode {
        guard let node = node.nameNode else { throw .stale }
        return node
    }

    func show(_ node: NameNode, _ core: Core) throws(Errno) -> TreeAttributes {
        guard let attributes = core.engine.state.attributes[node] else { throw .stale }
        let isDirectory = core.engine.state.names.tree.isDirectory(node)
        let size = attributes.link?.utf8.count ?? (isDirectory ? 0 : core.engine.state.size(node) ?? 0)
        return TreeAttributes(
            node: TreeNode(node),
            kind: isDirectory ? .directory : attributes.link != nil ? .link : .file,
            isNamed: core.engine.state.names.tree.isNamed(node),
            size: size,
            mode: attributes.mode,
            user: attributes.user,
            group: attributes.group,
            accessed: attributes.accessed ?? attributes.modified,
            modified: attributes.modified,
            changed: attributes.changed
        )
    }

    func entry(_ node: NameNode, _ core: Core) throws(Errno) -> TreeEntry {
        TreeEntry(try show(node, core), validUntil: validity(node, core))
    }

    /// What was written here is so until it is written again; what others may write is believed for a while.
    private func validity(_ node: NameNode, _ core: Core) -> MonotonicInstant {
        if core.engine.state.staged[node] != nil || core.engine.state.names.tree.isDirectory(node) {
            return .distantFuture
        }
        return core.engine.state.names.tree.entries[node]?.parent.flatMap { core.listed[$0] } ?? time.now()
    }

    /// Whether others may have taken the file away, or written it anew, since its directory was listed. Where nobody else is to write,
    /// a name that is known costs no request, and is there when the bucket is not.
    private func isDoubtful(_ node: NameNode, of directory: NameNode, _ core: Core) -> Bool {
        guard options.isShared else { return false }
        if core.engine.state.names.tree.isDirectory(node) || core.engine.state.staged[node] != nil { return false }
        return core.listed[directory].map { $0 <= time.now() } ?? true
    }

    package func lookup(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<TreeLookup>
    ) {
        guard let parent = directory.nameNode else { return completion(.failure(.stale)) }
        let name = ByteName(name)
        let known = core.withLock { core in
            Result { () throws(Errno) -> TreeLookup? in
                guard core.engine.state.names.tree.entries[parent] != nil else { throw .stale }
                guard let child = try core.engine.state.names.tree.children(of: parent)[name],
                    !isDoubtful(child, of: parent, core)
                else { return nil }
                return TreeLookup(try show(child, core), validUntil: validity(child, core))
            }
        }
        switch known {
        case .failure(let error): completion(.failure(error))
        case .success(let found?): completion(.success(found))
        case .success(nil):
            withListing(of: parent, request) { [self] listed in
                completion(
                    listed.flatMap { _ in
                        core.withLock { core in
                            Result { () throws(Errno) in
                                let child = try core.engine.state.names.tree.children(of: parent)[name]
                                let attributes = try child.map { (node) throws(Errno) in try show(node, core) }
                                return TreeLookup(attributes, validUntil: core.listed[parent] ?? time.now())
                            }
                        }
                    }
                )
            }
        }
    }

    /// Nodes live as long as they have a name or a handle: there is nothing to count.
    package func remember(_ node: TreeNode) {}

    /// As `remember`.
    package func forget(_ node: TreeNode, lookups: UInt64) {}

    package func attributes(_ request: TreeRequest, _ node: TreeNode, _ completion: @escaping Completion<TreeEntry>) {
        completion(
            core.withLock { core in Result { () throws(Errno) in try entry(try self.node(node), core) } }
        )
    }

    package func setAttributes(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ changes: AttributeChanges,
        through handle: TreeHandle?,
        _ completion: @escaping Completion<TreeEntry>
    ) {
        let now = time.timeOfDay()
        func at(_ time: AttributeChanges.Time) -> UnixTime {
            switch time {
            case .now: now
            case .at(let time): time
            }
        }
        once(
            nil,
            completion,
            { (core) throws(Errno) in
                let node = try self.node(node)
                if let size = changes.size {
                    guard core.engine.state.files[node] != nil else { throw .isDirectory }
                    try truncate(node, to: size, &core)
                }
                guard var new = core.engine.state.attributes[node] else { throw .stale }
                let isDirectory = core.engine.state.names.tree.isDirectory(node)
                if let mode = changes.mode { new.mode = mode & (isDirectory ? 0o7777 : 0o777) }
                new.user = changes.user ?? new.user
                new.group = changes.group ?? new.group
                if let time = changes.accessed { new.accessed = at(time) }
                if changes.size != nil { new.modified = now }
                if let time = changes.modified { new.modified = at(time) }
                new.changed = now
                return try core.engine.record(.attributes(node, new))
            },
            reply: { (core, _) throws(Errno) in try entry(try self.node(node), core) }
        )
    }

    package func makeDirectory(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        mode: UInt16,
        _ completion: @escaping Completion<TreeEntry>
    ) {
        make(request, name, in: directory, completion) { [time] parent, above in
            var attributes = NodeAttributes(
                mode: mode & 0o7777,
                user: request.user,
                group: request.group,
                time: time.timeOfDay()
            )
            attributes.inherit(from: above, isDirectory: true)
            return .madeDirectory(ByteName(name), in: parent, attributes)
        }
    }

    package func makeLink(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        target: String,
        _ completion: @escaping Completion<TreeEntry>
    ) {
        make(request, name, in: directory, completion) { [time] parent, above in
            var attributes = NodeAttributes(
                mode: 0o777,
                user: request.user,
                group: request.group,
                time: time.timeOfDay(),
                link: target
            )
            attributes.inherit(from: above, isDirectory: false)
            return .created(ByteName(name), in: parent, attributes, handle: .none)
        }
    }

    private func make(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<TreeEntry>,
        _ event: @escaping @Sendable (NameNode, NodeAttributes?) -> WriteBackRecord.Event
    ) {
        guard let parent = directory.nameNode else { return completion(.failure(.stale)) }
        withListing(of: parent, request) { [self] listed in
            if case .failure(let error) = listed { return completion(.failure(error)) }
            once(
                request,
                completion,
                { (core) throws(Errno) in
                    let above = core.engine.state.attributes[parent]
                    let answer = try core.engine.record(event(parent, above), request: request.number)
                    if let node = answer.node, core.engine.state.names.tree.isDirectory(node) { noteMade(node, &core) }
                    return answer
                },
                reply: { (core, answer) throws(Errno) in
                    guard let node = answer.node else { throw .inputOutput }
                    return try entry(node, core)
                }
            )
        }
    }

    package func linkTarget(_ request: TreeRequest, _ node: TreeNode, _ completion: @escaping Completion<String>) {
        completion(
            core.withLock { core in
                Result { () throws(Errno) in
                    guard let attributes = core.engine.state.attributes[try self.node(node)] else { throw .stale }
                    guard let link = attributes.link else { throw .invalidArgument }
                    return link
                }
            }
        )
    }

    package func unlink(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<Void>
    ) {
        remove(request, in: directory, completion) { [time] in .unlinked(ByteName(name), in: $0, time.timeOfDay()) }
    }

    package func removeDirectory(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        _ completion: @escaping Completion<Void>
    ) {
        guard let parent = directory.nameNode else { return completion(.failure(.stale)) }
        withListing(of: parent, request) { [self] listed in
            if case .failure(let error) = listed { return completion(.failure(error)) }
            let child = core.withLock { try? $0.engine.state.names.tree.child(ByteName(name), of: parent) }
            let isDirectory = child.map { node in core.withLock { $0.engine.state.names.tree.isDirectory(node) } }
            guard let child, isDirectory == true else {
                return remove(request, in: directory, completion) { [time] in
                    .removedDirectory(ByteName(name), in: $0, time.timeOfDay())
                }
            }
            // It may hold what nobody here has seen.
            withListing(of: child, request) { [self] listed in
                if case .failure(let error) = listed { return completion(.failure(error)) }
                remove(request, in: directory, completion) { [time] in
                    .removedDirectory(ByteName(name), in: $0, time.timeOfDay())
                }
            }
        }
    }

    private func remove(
        _ request: TreeRequest,
        in directory: TreeNode,
        _ completion: @escaping Completion<Void>,
        _ event: @escaping @Sendable (NameNode) -> WriteBackRecord.Event
    ) {
        guard let parent = directory.nameNode else { return completion(.failure(.stale)) }
        withListing(of: parent, request) { [self] listed in
            if case .failure(let error) = listed { return completion(.failure(error)) }
            once(
                request,
                completion,
                { (core) throws(Errno) in
                    let event = event(parent)
                    var directory: NameNode?
                    if case .removedDirectory(let name, _, _) = event {
                        directory = try? core.engine.state.names.tree.child(name, of: parent)
                    }
                    let answer = try core.engine.record(event, request: request.number)
                    if let directory {
                        core.listed[directory] = nil
                        core.made.remove(directory)
                    }
                    return answer
                },
                reply: { (_, _) throws(Errno) in }
            )
        }
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
        guard let source = directory.nameNode, let target = newDirectory.nameNode else {
            return completion(.failure(.stale))
        }
        let (name, newName) = (ByteName(name), ByteName(newName))
        withListing(of: source, request) { [self] listed in
            if case .failure(let error) = listed { return completion(.failure(error)) }
            withListing(of: target, request) { [self] listed in
                if case .failure(let error) = listed { return completion(.failure(error)) }
                let moved = core.withLock { try? $0.engine.state.names.tree.child(name, of: source) }
                run { [self] in
                    if let moved, core.withLock({ $0.engine.state.names.tree.isDirectory(moved) }),
                        case .failure(let error) = await adoptAll(below: moved)
                    {
                        return completion(.failure(error))
                    }
                    if let moved, options.isShared, core.withLock({ isPublished($0, below: moved) }) {
                        return completion(.failure(.crossDevice))
                    }
                    let event = WriteBackRecord.Event.renamed(
                        name,
                        in: source,
                        to: newName,
                        newDirectory: target,
                        isReplacing: rule == .replace,
                        time.timeOfDay()
                    )
                    once(
                        request,
                        completion,
                        { (core) throws(Errno) in try core.engine.record(event, request: request.number) },
                        reply: { (_, _) throws(Errno) in }
                    )
                }
            }
        }
    }

    /// Whether the bucket has something of a directory.
    private func isPublished(_ core: Core, below node: NameNode) -> Bool {
        let names = core.engine.state.names
        return names.tree.isDirectory(node) && names.tree.files(below: node).contains { names.files[$0]?.stands != nil }
    }

    package func list(
        _ request: TreeRequest,
        _ directory: TreeNode,
        after cookie: UInt64,
        limit: Int,
        _ completion: @escaping Completion<TreeListing>
    ) {
        guard let node = directory.nameNode else { return completion(.failure(.stale)) }
        withListing(of: node, request) { [self] listed in
            if case .failure(let error) = listed { return completion(.failure(error)) }
            completion(
                core.withLock { core in
                    Result { () throws(Errno) in try lines(of: node, after: cookie, limit: limit, core) }
                }
            )
        }
    }

    private func lines(
        of node: NameNode,
        after cookie: UInt64,
        limit: Int,
        _ core: Core
    ) throws(Errno) -> TreeListing {
        let tree = core.engine.state.names.tree
        guard let entry = tree.entries[node] else { throw .stale }
        let rest = try tree.children(of: node).values.compactMap { child in
            tree.entries[child].flatMap { UInt64($0.cookie) > cookie ? (node: child, entry: $0) : nil }
        }
        let lines = try rest.sorted { $0.entry.cookie < $1.entry.cookie }.prefix(max(1, limit))
            .map { (child) throws(Errno) in
                TreeListing.Line(
                    name: child.entry.name.value,
                    cookie: UInt64(child.entry.cookie),
                    attributes: try show(child.node, core)
                )
            }
        return TreeListing(
            lines: lines,
            parent: TreeNode(entry.parent ?? tree.root),
            validUntil: core.listed[node] ?? time.now()
        )
    }
}
