import LinuxPlatform

// O_EXCL where other machines write, too: locks are taken so. Which of them was first only the bucket can tell: each puts an
// empty object there on the condition that there is none (`ifGenerationMatch=0`), and who is refused has lost.
//
// Until the answer is there, the new file stands in the tree of this mount, so a second create here loses at once. What the
// journal keeps is the create, and what the next process does with a request that comes again is to ask for its outcome anew: the
// publication goes on by itself.
extension WriteBack {
    typealias Created = (entry: TreeEntry, file: TreeFile?)

    /// A completion for a create that succeeds only when the bucket had nothing under the name.
    func claiming(_ request: TreeRequest, _ completion: @escaping Completion<Created>) -> Completion<Created> {
        { [self] result in
            switch result {
            case .success(let made):
                guard let node = made.entry.attributes.node.nameNode else { return completion(.failure(.inputOutput)) }
                let completion = waiting(request, completion)
                publish(node, request) { [self] published in settle(made, node, published, completion) }
            // A request that comes again, of a file that was taken away since others had been first.
            case .failure(.stale) where request.isResent: completion(.failure(.exists))
            case .failure: completion(result)
            }
        }
    }

    private func settle(
        _ made: Created,
        _ node: NameNode,
        _ published: Result<Void, Errno>,
        _ completion: @escaping Completion<Created>
    ) {
        let isOthers = core.withLock { $0.engine.state.names.conflicts.contains(node) }
        switch published {
        case .success where !isOthers: return completion(.success(made))
        case .success: takeAway(made, node, because: .exists, completion)
        case .failure(let error): takeAway(made, node, because: error, completion)
        }
    }

    /// As if the file had not been made: if the bucket has got it after all, it goes from there, too.
    private func takeAway(
        _ made: Created,
        _ node: NameNode,
        because error: Errno,
        _ completion: @escaping Completion<Created>
    ) {
        let now = time.timeOfDay()
        do throws(Errno) {
            let (_, position) = try change { (core) throws(Errno) in
                let tree = core.engine.state.names.tree
                if let entry = tree.entries[node], let parent = entry.parent {
                    try core.engine.record(.unlinked(entry.name, in: parent, now))
                }
                if let file = made.file { try core.engine.record(.closed(node, handle(file.handle.mode))) }
            }
            commit(position, .process) { _ in completion(.failure(error)) }
        } catch {
            completion(.failure(error))
        }
    }
}
