import ObjectStorage

// Attributes that a file got after it was published: into the metadata of the object that stands there.
extension WriteBackEngine {
    /// Objects that are given attributes at a time.
    private static let patchLimit = 16

    /// What stands in the bucket under a file's name, and may be given its attributes.
    struct PatchTarget: Hashable, Sendable {
        var name: ByteName
        var generation: Generation
    }

    /// Nil while something is under way that writes or moves the object, or while the content is to be published yet: that brings
    /// the attributes along.
    func patchTarget(_ node: NameNode) -> PatchTarget? {
        let names = state.names
        guard names.isCurrent(node), let file = names.files[node], !file.isBusy, let name = file.stands,
            names.tree.path(node) == name, !names.isBusy(name), let remote = names.remotes[name]
        else { return nil }
        return PatchTarget(name: name, generation: remote.generation)
    }

    /// Whether an object has, or may have, other attributes than its file. Without a name nobody will ever see them.
    var hasPatches: Bool {
        !patching.isEmpty
            || state.unpatched.contains { state.names.isCurrent($0) && state.names.tree.isNamed($0) }
    }

    /// Begins what can be begun.
    ///
    /// - Parameter nodes: files that may have become fit for it.
    mutating func patch(_ nodes: [NameNode]) {
        for node in nodes where state.unpatched.contains(node) && !patching.contains(node) {
            if patchTarget(node) == nil {
                // What comes now, comes with its attributes: they are collected anew after it.
                duePatches.remove(node)
            } else if isDraining {
                duePatches.insert(node)
            } else if !duePatches.contains(node) {
                wait(.patch(node), options.patchGrace)
            }
        }
        while patching.count < Self.patchLimit, let node = duePatches.min() {
            duePatches.remove(node)
            guard state.unpatched.contains(node), let target = patchTarget(node) else { continue }
            patching.insert(node)
            queue.append(.patch(node, target.name, target.generation))
        }
    }

    /// The answer to a patch.
    ///
    /// - Parameter found: the object as it is now; nil when another, or none, stands under the name.
    mutating func patched(_ node: NameNode, _ name: ByteName, _ generation: Generation, _ found: ObjectAttributes?) {
        patching.remove(node)
        touch(node)
        // A move or a publication that began meanwhile may have taken the old attributes along: what it made is looked at again.
        guard patchTarget(node) == PatchTarget(name: name, generation: generation) else { return }
        if let found { compare(node, found) } else { note(.patched(node)) }
    }

    /// The object that stands under the file's name is this one now: when it says what the attributes are, nothing is left to do.
    mutating func compare(_ node: NameNode, _ object: ObjectAttributes) {
        guard state.unpatched.contains(node), let attributes = state.attributes[node],
            ObjectMetadata.changes(of: object.metadata, to: attributes).isEmpty
        else { return }
        note(.patched(node))
    }
}
