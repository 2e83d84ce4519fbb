import LinuxPlatform
import Manifests
import ObjectStorage
import Snapshots
import TestSupport

/// A source whose files open only when a test lets them.
final class SlowedSource: SnapshotSource {
    private let base: MemorySource
    private let gate: Gate
    private let asked = Gate()

    init(_ base: MemorySource, until gate: Gate) {
        self.base = base
        self.gate = gate
    }

    var origin: SnapshotManifest.Source { base.origin }
    var filters: SnapshotManifest.Filters { base.filters }
    var layout: SnapshotManifest.Layout { base.layout }
    var files: [SourceFile] { base.files }

    /// Returns when a file was asked for the first time.
    func waitUntilAsked() async throws { try await asked.passed() }

    func open(_ file: SourceFile) async throws(SnapshotError) -> any RangedSource {
        asked.open()
        do throws(Errno) {
            try await gate.passed()
        } catch {
            throw SnapshotError(.internal, "the gate did not open: \(error)")
        }
        return try await base.open(file)
    }
}
