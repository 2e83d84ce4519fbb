package import Manifests
package import ObjectStorage

// Everything under a prefix, sorted into what it is. One recursive listing tells a run what is published, what earlier
// runs left, and what a stranger put there.

/// What stands under a prefix.
package struct DestinationListing: Sendable {
    /// Objects outside of `.penstock/`, by path. Paths that are not safe are in `unusable`.
    package var files: [SafePath: ObjectAttributes] = [:]
    package var manifest: ObjectAttributes?
    package var intent: ObjectAttributes?
    package var lease: ObjectAttributes?
    /// Pieces of transfers, by transfer.
    package var parts: [String: [ObjectAttributes]] = [:]
    /// Saved hash states, by transfer.
    package var states: [String: [ObjectAttributes]] = [:]
    /// States of multipart uploads, by transfer.
    package var uploadStates: [String: [ObjectAttributes]] = [:]
    /// Whole files that wait to be published, by transfer.
    package var staged: [String: [ObjectAttributes]] = [:]
    /// CRC tables, by the hash of their content in hexadecimal.
    package var crcTables: [String: ObjectAttributes] = [:]
    /// Files kept aside, by the hash of their content in hexadecimal.
    package var replaced: [String: ObjectAttributes] = [:]
    /// Pieces of files that mounts write.
    package var written: [ObjectAttributes] = []
    /// Names that no file of a snapshot can have, and things of ours that are unknown.
    package var unusable: [ObjectAttributes] = []

    /// Lists everything under the prefix of `paths`.
    package init(_ store: any ObjectStore, _ paths: PenstockPaths) async throws(ObjectStoreError) {
        self.init(try await store.listAll(prefix: paths.prefix.value), paths)
    }

    package init(_ objects: [ObjectAttributes], _ paths: PenstockPaths) {
        for object in objects { sort(object, paths) }
    }

    private mutating func sort(_ object: ObjectAttributes, _ paths: PenstockPaths) {
        guard let text = paths.prefix.path(of: object.name), let path = try? SafePath(text) else {
            unusable.append(object)
            return
        }
        guard PenstockPaths.isReserved(path) else {
            files[path] = object
            return
        }
        let segments = path.segments.dropFirst().map(String.init)
        switch (segments.first, segments.count) {
        case ("manifest.json", 1): manifest = object
        case ("intent.json", 1): intent = object
        case ("lease", 1): lease = object
        case ("parts", 4): parts[segments[1], default: []].append(object)
        case ("state", 3): states[segments[1], default: []].append(object)
        case ("state", 4): uploadStates[segments[1], default: []].append(object)
        case ("staged", 3): staged[segments[1], default: []].append(object)
        case ("crc", 2): crcTables[segments[1]] = object
        case ("replaced", 2): replaced[segments[1]] = object
        case ("written", 3): written.append(object)
        default: unusable.append(object)
        }
    }
}
