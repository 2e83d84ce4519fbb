import Checksums
import Glibc
import LinuxPlatform

/// A regular file below a directory, as stat(2) sees it.
struct WalkedFile: Sendable {
    /// Relative, parted by `/`.
    let path: String
    let absolutePath: String
    let size: Int
    /// Changes when the content may have changed: size, time of change and inode.
    let fingerprint: String
}

/// All regular files below a directory, in byte order of their paths.
///
/// Left out: what steers the emulator (`.commit`, `repo.json`) and what no Hub shows (`.git`, `.cache`), at the top only.
func walkedFiles(below root: String) -> [WalkedFile] {
    var found: [WalkedFile] = []
    var pending = [""]
    while let directory = pending.popLast() {
        for name in names(in: directory.isEmpty ? root : "\(root)/\(directory)") {
            if directory.isEmpty, [".commit", "repo.json", ".git", ".cache"].contains(name) { continue }
            let path = directory.isEmpty ? name : "\(directory)/\(name)"
            var status = stat()
            guard stat("\(root)/\(path)", &status) == 0 else { continue }
            switch status.st_mode & S_IFMT {
            case S_IFDIR: pending.append(path)
            case S_IFREG:
                let changed = "\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
                found.append(
                    WalkedFile(
                        path: path,
                        absolutePath: "\(root)/\(path)",
                        size: Int(status.st_size),
                        fingerprint: "\(status.st_size) \(changed) \(status.st_ino)"
                    )
                )
            default: break
            }
        }
    }
    return found.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
}

/// The names in a directory, without `.` and `..`; empty when it cannot be read.
func names(in directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names
}

func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}

/// A whole small file; nil when it is not there or has more than `limit` bytes.
func contents(of path: String, limit: Int = 1 << 20) -> [UInt8]? {
    guard let file = try? FileDescriptor(path: path, flags: O_RDONLY), let size = try? file.size(), size <= limit else {
        return nil
    }
    var bytes = [UInt8](repeating: 0, count: size)
    let count = bytes.withUnsafeMutableBytes { try? file.read(into: $0, at: 0) }
    return count == size ? bytes : nil
}

/// Which files a repository keeps in LFS.
///
/// The Hub forces every file above 10 MB there; below that `.gitattributes` decides, and without one the patterns that
/// the Hub puts into new repositories. An empty file is never in LFS.
struct LFSRule: Sendable {
    static let forcedAbove = 10_000_000
    private let patterns: [String]

    init(gitAttributes: [UInt8]?) {
        guard let gitAttributes else {
            patterns = [
                "*.safetensors", "*.bin", "*.gguf", "*.onnx", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack",
                "*.parquet", "*.zip",
                "*.gz", "*.tar", "*.npz", "*.npy", "*.arrow", "*.tflite", "*.model", "*.ot", "*.pb", "*.pkl",
            ]
            return
        }
        patterns = String(decoding: gitAttributes, as: UTF8.self).split(whereSeparator: \.isNewline).compactMap {
            line in
            let words = line.split(whereSeparator: \.isWhitespace)
            return words.dropFirst().contains("filter=lfs") ? words.first.map(String.init) : nil
        }
    }

    func holds(_ path: String, size: Int) -> Bool {
        if size == 0 { return false }
        if size > Self.forcedAbove { return true }
        let name = path.split(separator: "/").last.map(String.init) ?? path
        return patterns.contains { pattern in
            // gitattributes(5): a pattern without a slash is matched against the last component.
            pattern.contains("/")
                ? fnmatch(pattern, path, FNM_PATHNAME) == 0 || fnmatch(pattern, path, 0) == 0
                : fnmatch(pattern, name, 0) == 0
        }
    }
}

/// Hashes of files, remembered on disk: a large file is hashed once, however often the emulator is started.
///
/// Records stand in a directory of their own, so that the repositories stay as they were given.
final class FileHashes: Sendable {
    private let directory: String
    private let known = Lock<[String: String]>([:])

    /// - Parameter directory: made when it is missing.
    init(directory: String) {
        self.directory = directory
        makeDirectories(directory)
    }

    func sha256(of file: WalkedFile) throws(Errno) -> SHA256Digest {
        let hex = try remembered("sha256", file) { () throws(Errno) in
            var hasher = SHA256Hasher()
            try forEachPiece(of: file) { hasher.update($0) }
            return hasher.finalize().hex
        }
        guard let digest = SHA256Digest(hex: hex) else { throw .inputOutput }
        return digest
    }

    func gitBlob(of file: WalkedFile) throws(Errno) -> SHA1Digest {
        let hex = try remembered("git", file) { () throws(Errno) in
            var hasher = GitBlobHasher(size: file.size)
            try forEachPiece(of: file) { hasher.update($0) }
            return hasher.finalize().hex
        }
        guard let digest = SHA1Digest(hex: hex) else { throw .inputOutput }
        return digest
    }

    private func remembered(
        _ kind: String,
        _ file: WalkedFile,
        _ compute: () throws(Errno) -> String
    ) throws(Errno) -> String {
        let key = SHA1Digest.of(Array("\(kind) \(file.absolutePath)".utf8)).hex
        let record = "\(directory)/\(key)"
        let expected = "\(file.fingerprint) "
        if let text = known.withLock({ $0[key] }), text.hasPrefix(expected) {
            return String(text.dropFirst(expected.count))
        }
        if let bytes = contents(of: record, limit: 4096) {
            let text = String(decoding: bytes, as: UTF8.self)
            if text.hasPrefix(expected) {
                known.withLock { $0[key] = text }
                return String(text.dropFirst(expected.count))
            }
        }
        let text = expected + (try compute())
        known.withLock { $0[key] = text }
        remember(text, record)
        return String(text.dropFirst(expected.count))
    }

    /// Failure is no harm: the file is hashed again the next time.
    private func remember(_ text: String, _ record: String) {
        let temporary = "\(record).\(getpid())"
        guard let file = try? FileDescriptor(path: temporary, flags: O_WRONLY | O_CREAT | O_TRUNC) else { return }
        let written: Void? = Array(text.utf8).withUnsafeBytes { try? file.write($0, at: 0) }
        if written != nil { rename(temporary, record) } else { unlink(temporary) }
    }
}

private func forEachPiece(of file: WalkedFile, _ body: (UnsafeRawBufferPointer) -> Void) throws(Errno) {
    let descriptor = try FileDescriptor(path: file.absolutePath, flags: O_RDONLY)
    let buffer = BufferLease(size: 1 << 20)
    var offset = 0
    while offset < file.size {
        let wanted = min(buffer.count, file.size - offset)
        let count = try descriptor.read(into: .init(rebasing: buffer.bytes[..<wanted]), at: offset)
        if count != wanted { throw .inputOutput }
        body(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
        offset += count
    }
}

/// mkdir -p; what fails shows when a file is opened there.
func makeDirectories(_ path: String) {
    var made = path.hasPrefix("/") ? "" : "."
    for part in path.split(separator: "/") {
        made += "/\(part)"
        mkdir(made, 0o755)
    }
}
