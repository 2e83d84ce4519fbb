import LinuxPlatform
package import Manifests
package import ObjectStorage

// What stands below a run's prefix, sorted by checkpoint. One listing tells everything that needs no reading.

/// What stands under the name of one checkpoint, and what is recorded of it. Every path begins at the run's prefix.
package struct CheckpointObjects: Hashable, Sendable {
    package let name: CheckpointName
    /// The checkpoint's own files.
    package var files: [SafePath: ObjectAttributes] = [:]
    /// Objects under its name that no file can be: `..`, empty segments, control characters. For errors only.
    package var unusable: [ObjectAttributes] = []
    package var record: ObjectAttributes?
    package var removal: ObjectAttributes?
    /// Copies kept aside.
    package var kept: [ObjectAttributes] = []
    /// Shares of ranks, of every save.
    package var shares: [ObjectAttributes] = []

    package init(_ name: CheckpointName) { self.name = name }

    /// A file and no directory.
    package var isSingleFile: Bool { files.count == 1 && files[name.path] != nil }

    /// The path of a file below the checkpoint's directory; of a single file its own name.
    package func relative(_ path: SafePath) -> String {
        path == name.path ? path.value : String(path.value.utf8.dropFirst(name.path.value.utf8.count + 1)) ?? path.value
    }

    /// When the newest of its files was written, by the server's clock; of one without files, its newest other object.
    package var newest: ObjectAttributes? {
        let all = files.isEmpty ? [record, removal].compactMap(\.self) + kept + shares : Array(files.values)
        return all.max { ($0.updated?.nanoseconds ?? 0) < ($1.updated?.nanoseconds ?? 0) }
    }
}

/// What stands below a run's prefix.
package struct CheckpointListing: Sendable {
    /// Everything that may be a checkpoint, with what else is called by a directory's name.
    package private(set) var checkpoints: [CheckpointName: CheckpointObjects] = [:]
    /// Small files beside the checkpoints that name the newest one.
    package private(set) var pointers: [ObjectAttributes] = []

    package init(_ objects: [ObjectAttributes], _ paths: PenstockPaths) {
        for object in objects { sort(object, paths) }
    }

    private mutating func sort(_ object: ObjectAttributes, _ paths: PenstockPaths) {
        guard let text = paths.prefix.path(of: object.name) else { return }
        // Other tools mark directories by empty objects whose names end in a slash.
        if text.isEmpty || text.utf8.last == UInt8(ascii: "/") && object.size == 0 { return }
        guard let path = try? SafePath(text) else {
            let first = String(text.utf8.prefix { $0 != UInt8(ascii: "/") }) ?? ""
            guard let name = try? CheckpointName(first) else { return }
            checkpoints[name, default: CheckpointObjects(name)].unusable.append(object)
            return
        }
        if PenstockPaths.isReserved(path) { return sortOwn(object, path) }
        if path.segments.count == 1, TrainerNames.pointers.contains(path.value) { pointers.append(object) }
        guard let name = try? CheckpointName(String(path.segments[0])) else { return }
        checkpoints[name, default: CheckpointObjects(name)].files[path] = object
    }

    private mutating func sortOwn(_ object: ObjectAttributes, _ path: SafePath) {
        let segments = path.segments.map(String.init)
        guard segments.count >= 4, segments[1] == "checkpoints", let name = try? CheckpointName(segments[2]) else {
            return
        }
        var found = checkpoints[name] ?? CheckpointObjects(name)
        switch (segments[3], segments.count) {
        case ("record.json", 4): found.record = object
        case ("removal.json", 4): found.removal = object
        case ("kept", 5): found.kept.append(object)
        case ("shares", 6): found.shares.append(object)
        default: return
        }
        checkpoints[name] = found
    }
}
