/// The kinds of files whose readers are known well enough to plan for.
package enum ModelFormat: String, Hashable, Sendable, CaseIterable {
    /// 8 bytes of length, a JSON header, then tensors back to back (safetensors: format description).
    case safetensors
    /// What torch.save writes: a zip whose members are stored, not compressed, with its directory at the end.
    case torchArchive
    /// A rank's file of a PyTorch distributed checkpoint: many small zips back to back, found through `.metadata`.
    case distributedCheckpoint
    /// Little-endian: metadata, tensor infos, then tensors, aligned (ggml: docs/gguf.md).
    case gguf

    /// By the end of a file's name, as their loaders go by it; nil for all others.
    package init?(name: String) {
        if name.hasSuffix(".safetensors") {
            self = .safetensors
        } else if name.hasSuffix(".gguf") {
            self = .gguf
        } else if name.hasSuffix(".distcp") {
            self = .distributedCheckpoint
        } else if name.hasSuffix(".pt") || name.hasSuffix(".pth") || Self.isTorchWeights(name) {
            self = .torchArchive
        } else {
            return nil
        }
    }

    /// `pytorch_model.bin` and its shards; other files in `.bin` may be anything.
    private static func isTorchWeights(_ name: String) -> Bool {
        name.hasPrefix("pytorch_model") && name.hasSuffix(".bin")
    }
}
