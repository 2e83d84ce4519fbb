import Glibc
import LinuxPlatform
import ObjectStorage

// Open files, extended attributes and the mount, as `WritableTree` has them.
extension WriteBack: WritableTree {
    func handle(_ mode: OpenMode) -> WriteBackRecord.Handle { mode.contains(.write) ? .writer : .reader }

    package func create(
        _ request: TreeRequest,
        _ name: String,
        in directory: TreeNode,
        mode: UInt16,
        open: OpenMode?,
        _ rule: CreateRule,
        _ completion: @escaping Completion<(entry: TreeEntry, file: TreeFile?)>
    ) {
        guard let parent = directory.nameNode else { return completion(.failure(.stale)) }
        let completion = rule == .onlyNew && options.isShared ? claiming(request, completion) : completion
        withListing(of: parent, request) { [self] listed in
            if case .failure(let error) = listed { return completion(.failure(error)) }
            let name = ByteName(name)
            once(
                request,
                completion,
                { (core) throws(Errno) in
                    if let found = try core.engine.state.names.tree.children(of: parent)[name] {
                        return try reopen(found, open, rule, request, &core)
                    }
                    var attributes = NodeAttributes(
                        mode: mode & 0o777,
                        user: request.user,
                        group: request.group,
                        time: time.timeOfDay()
                    )
                    attributes.inherit(from: core.engine.state.attributes[parent], isDirectory: false)
                    let handle = open.map { self.handle($0) } ?? WriteBackRecord.Handle.none
                    return try core.engine.record(
                        .created(name, in: parent, attributes, handle: handle),
                        request: request.number
                    )
                },
                reply: { (core, answer) throws(Errno) in
                    guard let node = answer.node else { throw .inputOutput }
                    return (try entry(node, core), open.map { TreeFile(TreeHandle(TreeNode(node), $0)) })
                }
            )
        }
    }

    private func reopen(
        _ node: NameNode,
        _ mode: OpenMode?,
        _ rule: CreateRule,
        _ request: TreeRequest,
        _ core: inout Core
    ) throws(Errno) -> KernelAnswer {
        if rule == .onlyNew { throw .exists }
        if core.engine.state.names.tree.isDirectory(node) { throw .isDirectory }
        if core.engine.state.attributes[node]?.link != nil { throw Errno(ELOOP) }
        if rule == .openTruncated {
            let isEmpty = core.engine.state.size(node) == 0
            try truncate(node, to: 0, &core)
            if isEmpty, var attributes = core.engine.state.attributes[node] {
                // Nothing is cut off, and yet it counts as a change.
                attributes.modified = time.timeOfDay()
                attributes.changed = attributes.modified
                try core.engine.record(.attributes(node, attributes))
            }
        }
        return try core.engine.record(
            .opened(node, mode.map { handle($0) } ?? WriteBackRecord.Handle.none),
            request: request.number
        )
    }

    package func open(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ mode: OpenMode,
        truncates: Bool,
        _ completion: @escaping Completion<TreeFile>
    ) {
        once(
            request,
            completion,
            { (core) throws(Errno) in
                let node = try self.node(node)
                return try reopen(node, mode, truncates ? .openTruncated : .open, request, &core)
            },
            reply: { (_, _) throws(Errno) in TreeFile(TreeHandle(node, mode)) }
        )
    }

    package func read(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        at offset: Int,
        count: Int,
        _ completion: @escaping Completion<[UnsafeRawBufferPointer]>
    ) {
        guard let node = handle.node.nameNode, offset >= 0, count >= 0,
            !offset.addingReportingOverflow(count).overflow
        else { return completion(.failure(.invalidArgument)) }
        let range = offset..<(offset + count)
        let found = core.withLock { core in Result { () throws(Errno) in try places(core, node, range) } }
        let lease = BufferLease(size: max(1, count))
        func answer(_ count: Int) {
            completion(.success([UnsafeRawBufferPointer(rebasing: lease.bytes[..<count])]))
        }
        do throws(Errno) {
            let places = try found.get()
            let (count, missing) = try Self.fill(lease.bytes, from: offset, places)
            let isThere = missing.allSatisfy { gap in
                places.standing.map { object in
                    let wanted = ByteRange(offset: gap.lowerBound, count: gap.count)
                    return reading.copyAtOnce(object, wanted, into: lease, at: gap.lowerBound - offset)
                } ?? false
            }
            if isThere { return answer(count) }
        } catch {
            return completion(.failure(error))
        }
        // The count alone: who is told of a signal is not given the bytes that come later.
        let done = asking(request) { (result: Result<Int, Errno>) in
            completion(result.map { [UnsafeRawBufferPointer(rebasing: lease.bytes[..<$0])] })
        }
        run { [self] in
            let result = await attempt { () async throws(ObjectStoreError) in
                try await self.read(node, range, into: lease, waits: true)
            }
            done(result.mapError { $0.code == .notFound ? .stale : Self.errno($0) })
        }
    }

    package func write(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        _ bytes: UnsafeRawBufferPointer,
        at offset: Int,
        _ completion: @escaping Completion<Void>
    ) {
        guard let node = handle.node.nameNode else { return completion(.failure(.stale)) }
        write(request, node, bytes, at: offset, completion)
    }

    package func flush(_ request: TreeRequest, _ handle: TreeHandle, _ completion: @escaping Completion<Void>) {
        guard let node = handle.node.nameNode else { return completion(.failure(.stale)) }
        if options.isPublishedAtClose { return publish(node, request, waiting(request, completion)) }
        // What failed is told; what waits is not waited for.
        let failure = core.withLock { $0.engine.state.staged[node]?.failure }
        completion(failure.map { .failure($0) } ?? .success(()))
    }

    package func synchronize(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        isDataOnly: Bool,
        _ completion: @escaping Completion<Void>
    ) {
        guard let node = handle.node.nameNode else { return completion(.failure(.stale)) }
        guard options.isPublishedAtSync else { return synchronize(node, completion) }
        let done = waiting(request, completion)
        synchronize(node) { [self] result in
            guard case .success = result else { return done(result) }
            publish(node, request, done)
        }
    }

    package func synchronizeDirectory(
        _ request: TreeRequest,
        _ directory: TreeNode,
        _ completion: @escaping Completion<Void>
    ) {
        guard let top = directory.nameNode else { return completion(.failure(.stale)) }
        // Files below it that were closed: their bytes are as safe as their names.
        let files = core.withLock { core in
            core.engine.state.names.tree.files(below: top)
                .filter { core.engine.state.files[$0]?.writers == 0 && core.engine.state.files[$0]?.staging != nil }
        }
        synchronize(files[...], request, options.isPublishedAtSync ? waiting(request, completion) : completion)
    }

    private func synchronize(
        _ files: ArraySlice<NameNode>,
        _ request: TreeRequest,
        _ completion: @escaping Completion<Void>
    ) {
        guard let first = files.first else {
            return pool.submit { [self] in commit(core.withLock { $0.position }, .node, completion) }
        }
        synchronize(first) { [self] result in
            // One that was dropped meanwhile is nobody's any more.
            if case .failure(let error) = result, error != .stale { return completion(result) }
            guard options.isPublishedAtSync, case .success = result else {
                return synchronize(files.dropFirst(), request, completion)
            }
            publish(first, request) { [self] result in
                if case .failure = result { return completion(result) }
                synchronize(files.dropFirst(), request, completion)
            }
        }
    }

    package func allocate(
        _ request: TreeRequest,
        _ handle: TreeHandle,
        _ range: Range<Int>,
        growsFile: Bool,
        _ completion: @escaping Completion<Void>
    ) {
        once(
            nil,
            completion,
            { (core) throws(Errno) in
                let node = try self.node(handle.node)
                guard let size = core.engine.state.size(node) else { throw .stale }
                guard range.upperBound <= Self.sizeLimit else { throw Errno(EFBIG) }
                let gaps = core.engine.state.staged[node]?.written.gaps(in: range) ?? [range]
                guard gaps.reduce(0, { $0 + $1.count }) <= core.budget.limit - core.budget.used else { throw .noSpace }
                if growsFile, range.upperBound > size { try truncate(node, to: range.upperBound, &core) }
                return KernelAnswer()
            },
            reply: { (_, _) throws(Errno) in }
        )
    }

    package func release(_ request: TreeRequest?, _ handle: TreeHandle, _ completion: @escaping Completion<Void>) {
        once(
            request,
            completion,
            { (core) throws(Errno) in
                let node = try self.node(handle.node)
                return try core.engine.record(.closed(node, self.handle(handle.mode)), request: request?.number ?? 0)
            },
            reply: { (_, _) throws(Errno) in }
        )
    }

    package func extendedAttribute(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: String,
        _ completion: @escaping Completion<[UInt8]>
    ) {
        let name = ByteName(name)
        completion(
            core.withLock { core in
                Result { () throws(Errno) in
                    guard let attributes = core.engine.state.attributes[try self.node(node)] else { throw .stale }
                    if let shown = options.shown[name] { return shown }
                    guard let found = attributes.extended.first(where: { $0.name == name }) else { throw .noData }
                    return found.value
                }
            }
        )
    }

    package func extendedAttributeNames(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ completion: @escaping Completion<[String]>
    ) {
        completion(
            core.withLock { core in
                Result { () throws(Errno) in
                    guard let attributes = core.engine.state.attributes[try self.node(node)] else { throw .stale }
                    return (attributes.extended.map(\.name) + options.shown.keys.sorted()).map(\.value)
                }
            }
        )
    }

    package func setExtendedAttribute(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: String,
        _ value: [UInt8],
        _ rule: ExtendedAttributeRule,
        _ completion: @escaping Completion<Void>
    ) {
        let name = ByteName(name)
        changeExtended(request, node, name, completion) { (attributes: inout [NodeAttributes.Extended]) throws(Errno) in
            let index = attributes.firstIndex { $0.name == name }
            if rule == .create, index != nil { throw .exists }
            if rule == .replace, index == nil { throw .noData }
            if let index { attributes.remove(at: index) }
            let bytes = attributes.reduce(name.value.utf8.count + value.count) {
                $0 + $1.name.value.utf8.count + $1.value.count
            }
            guard bytes <= NodeAttributes.textLimit, attributes.count < NodeAttributes.extendedLimit else {
                throw .noSpace
            }
            attributes.append(.init(name: name, value: value))
            attributes.sort { $0.name < $1.name }
        }
    }

    package func removeExtendedAttribute(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: String,
        _ completion: @escaping Completion<Void>
    ) {
        let name = ByteName(name)
        changeExtended(request, node, name, completion) { (attributes: inout [NodeAttributes.Extended]) throws(Errno) in
            guard let index = attributes.firstIndex(where: { $0.name == name }) else { throw .noData }
            attributes.remove(at: index)
        }
    }

    private func changeExtended(
        _ request: TreeRequest,
        _ node: TreeNode,
        _ name: ByteName,
        _ completion: @escaping Completion<Void>,
        _ body: (inout [NodeAttributes.Extended]) throws(Errno) -> Void
    ) {
        if options.shown[name] != nil { return completion(.failure(.permission)) }
        once(
            request,
            completion,
            { (core) throws(Errno) in
                let node = try self.node(node)
                guard var attributes = core.engine.state.attributes[node] else { throw .stale }
                try body(&attributes.extended)
                attributes.changed = time.timeOfDay()
                return try core.engine.record(.attributes(node, attributes), request: request.number)
            },
            reply: { (_, _) throws(Errno) in }
        )
    }

    package func space(_ request: TreeRequest, _ completion: @escaping Completion<TreeSpace>) {
        let (used, files) = core.withLock { ($0.budget.used, $0.engine.state.files.contents.count) }
        let limit = options.stagingLimit
        completion(.success(TreeSpace(totalBytes: limit, freeBytes: max(0, limit - used), files: files)))
    }

    package func answered(_ request: TreeRequest) {
        core.withLock { $0.engine.state.forgetAnswer(request.number) }
    }

    package func observe(_ observer: @escaping @Sendable (TreeChange) -> Void) {
        core.withLock { $0.observer = observer }
    }
}
