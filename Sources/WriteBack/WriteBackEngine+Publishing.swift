import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage

// From a content that is whole to a name in the bucket.
extension WriteBackEngine {
    /// Takes what the names want.
    mutating func beginNames() {
        for action in state.nextNameActions() {
            switch action {
            case .publish(let node, let content, _, _):
                let intent = WriteIntent(action: action, operation: operation(content))
                note(.began(intent))
                publications[node] = Publishing(intent: intent)
                touch(node)
            case .renameFolder(let node, _, _):
                let intent = WriteIntent(action: action, operation: operation(0))
                note(.began(intent))
                queue.append(.move(node, intent, nil))
            case .move(let node, let content, _, _, _, _), .keep(let node, let content, _, _, _):
                let intent = WriteIntent(action: action, operation: operation(content))
                note(.began(intent))
                queue.append(.move(node, intent, state.files[node]?.standing))
            case .delete(let name, let generation): queue.append(.delete(name, generation))
            }
        }
    }

    /// What a publication wants now.
    mutating func publish(_ node: NameNode) {
        guard var publishing = publications[node], !publishing.isPaused else { return }
        if publishing.isFailed {
            // Other bytes: what failed does not matter any more.
            if state.names.content(node) != publishing.intent.content { end(node, .failed) }
            return
        }
        if publishing.publication == nil {
            guard case .publish(_, let content, _, _) = publishing.intent.action,
                state.names.content(node) == content, state.staged[node] != nil, state.files[node]?.isTorn == false,
                state.names.tree.isNamed(node)
            else { return end(node, .failed) }
            if unchecked.contains(node) { return }
            make(&publishing, node, content)
        }
        if let held = publishing.held {
            publishing.held = nil
            put(&publishing, node, held)
        }
        while let actions = publishing.publication?.next(), !actions.isEmpty {
            for action in actions { put(&publishing, node, action) }
        }
        publications[node] = publishing
        if let outcome = publishing.publication?.outcome { finish(node, publishing, outcome) }
    }

    /// Makes the publication when everything for it is there.
    private mutating func make(_ publishing: inout Publishing, _ node: NameNode, _ content: Int) {
        guard let staged = state.staged[node],
            case .publish(_, _, _, let replacing) = publishing.intent.action
        else { return }
        let operation = publishing.intent.operation
        let earlier = Set(state.files[node]?.operations ?? []).subtracting([operation])
        if isSmall(node) {
            guard let crc32c = publishing.crc32c ?? staged.checksum else {
                if !publishing.isMeasuring { queue.append(.measure(node, content: content, size: staged.size)) }
                publishing.isMeasuring = true
                return
            }
            publishing.publication = FilePublication(
                size: staged.size,
                crc32c: crc32c,
                replacing: replacing,
                operation: operation,
                earlier: earlier
            )
            return
        }
        guard let stored = uploads[node]?.stored, stored.count == staged.partCount else { return }
        let parts = stored.sorted { $0.key < $1.key }.map(\.value)
        publishing.sources = Set(parts.map(\.source))
        publishing.publication = FilePublication(
            parts: parts,
            replacing: replacing,
            operation: operation,
            prefix: "\(prefix)\(node.number)-\(content)-",
            earlier: earlier
        )
    }

    private mutating func put(_ publishing: inout Publishing, _ node: NameNode, _ action: PublicationAction) {
        if case .write(let sources, _, _, let size, _) = action, sources.isEmpty {
            guard takeRoom(size, for: node) else {
                publishing.held = action
                return
            }
            publishing.bytes = size
        }
        queue.append(.publication(node, publishing.intent, action))
    }

    /// The answer to an action of the publication.
    mutating func publication(_ node: NameNode, _ operation: String, _ body: (inout FilePublication) -> Void) {
        guard publications[node]?.intent.operation == operation, var publication = publications[node]?.publication
        else { return }
        publications[node]?.publication = nil
        body(&publication)
        if publications[node]?.sources.isEmpty == true,
            state.names.content(node) != publications[node]?.intent.content
        {
            publication.giveUp()
        }
        publications[node]?.publication = publication
        publications[node]?.bytes = 0
        touch(node)
        freeRoom()
    }

    /// The whole content was read; nil when it could not be.
    mutating func measured(_ node: NameNode, _ content: Int, _ result: Result<CRC32C, ObjectStoreError>) {
        guard case .publish(_, content, _, _)? = publications[node]?.intent.action else { return }
        publications[node]?.isMeasuring = false
        touch(node)
        switch result {
        case .success(let crc32c): publications[node]?.crc32c = crc32c
        case .failure(let error):
            publications[node]?.isFailed = true
            fail(node, error)
        }
    }

    mutating func retryPublication(_ node: NameNode) {
        if publications[node]?.isFailed == true { end(node, .failed) }
    }

    private mutating func end(_ node: NameNode, _ outcome: NameOutcome, _ attributes: ObjectAttributes? = nil) {
        guard let publishing = publications.removeValue(forKey: node) else { return }
        freeRoom()
        if case .done = outcome { (failures[node], attempts[node]) = (nil, nil) }
        note(
            .ended(
                node,
                content: publishing.intent.content,
                outcome,
                attributes.map { ObjectIdentity($0) }
            )
        )
        guard case .done = outcome, let attributes else { return }
        calm(node)
        compare(node, attributes)
    }

    private mutating func finish(_ node: NameNode, _ publishing: Publishing, _ outcome: PublicationOutcome) {
        switch outcome {
        case .published(let attributes):
            consume(node, publishing.sources)
            end(node, .done(attributes.generation), attributes)
        case .overtaken(let attributes, let operation):
            publications[node] = nil
            freeRoom()
            overtaken(node, attributes, operation)
        case .conflict(let found): end(node, .conflict(found: found?.generation), found)
        case .notDone: end(node, .failed)
        case .partMissing:
            queue.append(.verify(node, uploads[node]?.stored ?? [:]))
            publications[node]?.publication = nil
            publications[node]?.isPaused = true
        case .failed(let error):
            // Other bytes: what failed does not matter any more.
            if state.names.content(node) != publishing.intent.content { return end(node, .failed) }
            publications[node]?.publication = nil
            publications[node]?.isFailed = true
            fail(node, error)
        }
    }

    /// An operation of an earlier process stands there: with this content, or with one that was written over since.
    private mutating func overtaken(_ node: NameNode, _ attributes: ObjectAttributes, _ operation: String) {
        let content = Self.content(ofOperation: operation) ?? 0
        note(.ended(node, content: content, .done(attributes.generation), ObjectIdentity(attributes)))
        calm(node)
        compare(node, attributes)
    }

    private mutating func consume(_ node: NameNode, _ sources: Set<ComposeSource>) {
        guard let parts = uploads[node]?.consumed(sources), !parts.isEmpty else { return }
        touchUpload(node)
        for part in parts { note(.sessionEnded(node, part: part)) }
        state.staged[node]?.withdraw(parts)
    }

    /// Which parts are not in the bucket any more.
    mutating func verified(_ node: NameNode, _ missing: [Int]) {
        for part in missing { uploads[node]?.missing(part) }
        publications[node]?.isPaused = false
        touchUpload(node)
    }

    // MARK: What earlier processes, and moves, have done

    mutating func recognised(_ node: NameNode, _ outcome: IntentOutcome) {
        guard let intent = state.intents[node] else { return }
        switch outcome {
        case .done(let attributes):
            let written = attributes.metadata[MetadataKey.operation].flatMap { Self.content(ofOperation: $0) }
            let isPublication = if case .publish = intent.action { true } else { false }
            note(
                .ended(
                    node,
                    content: isPublication ? written ?? intent.content : intent.content,
                    .done(attributes.generation),
                    ObjectIdentity(attributes)
                )
            )
            if isPublication { calm(node) }
            compare(node, attributes)
        case .notDone: note(.ended(node, content: intent.content, .failed, nil))
        case .conflict(let found):
            note(
                .ended(
                    node,
                    content: intent.content,
                    .conflict(found: found?.generation),
                    found.map { ObjectIdentity($0) }
                )
            )
        case .sourceGone: note(.ended(node, content: intent.content, .sourceGone, nil))
        case .renamedFolder(let objects): renamedFolder(node, intent, objects)
        }
    }

    /// Nobody promises that objects keep their generations in a folder that is renamed.
    private mutating func renamedFolder(_ node: NameNode, _ intent: WriteIntent, _ objects: [ObjectAttributes]) {
        guard case .renameFolder(_, let from, let to) = intent.action else { return }
        for object in objects {
            let name = ByteName(
                String(decoding: object.name.value.utf8.dropFirst(root.value.utf8.count), as: UTF8.self)
            )
            guard name.isBelow(to) else { continue }
            let old = name.moved(from: to, to: from)
            if let known = state.names.remotes[old], known.generation != object.generation {
                note(.regenerated(old, object.generation))
            }
        }
        note(.ended(node, content: 0, .done(nil), nil))
    }

    mutating func deleted(_ name: ByteName, _ generation: Generation) { note(.deleted(name, generation)) }
}

extension WriteIntent {
    /// The content that it writes.
    var content: Int {
        switch action {
        case .publish(_, let content, _, _), .move(_, let content, _, _, _, _), .keep(_, let content, _, _, _): content
        case .delete, .renameFolder: 0
        }
    }
}
