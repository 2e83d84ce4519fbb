/// Names that trainers rename as soon as they are done.
///
/// Held back until then, a checkpoint is uploaded under way and published once, under its last name; a rename costs no request.
/// Only names that no one keeps: what is held back and never renamed would never be published. Sources: orbax 0.12 (its temporary
/// directories), HF Trainer before 4.37, torch's distributed checkpoints (the metadata file).
package enum TemporaryNames {
    /// Whether a file of this name says, as long as it is there, that a save goes on. Source: HF Trainer 5, which writes it when
    /// SIGTERM begins a save, and unlinks it after its marker.
    static func isSign(_ name: ByteName) -> Bool { name == "checkpoint-is-incomplete.txt" }

    /// Whether a path holds such a name.
    package static func isHeldBack(_ path: String) -> Bool {
        let names = ByteName(path).segments
        if names.last == ".metadata.tmp" { return true }
        return names.dropLast().contains { name in
            name.value.contains(".orbax-checkpoint-tmp") || name.value.hasPrefix("tmp-checkpoint-")
        }
    }
}
