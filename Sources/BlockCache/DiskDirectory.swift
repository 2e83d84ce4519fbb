import Glibc
import LinuxPlatform

/// The cache's directory as whoever evicts sees it.
enum DiskDirectory {
    struct File: Hashable {
        /// Without its suffix.
        let name: String
        /// In bytes.
        let allocated: Int
        let size: Int
        let modified: UnixTime
    }

    /// So long after its last write an incomplete file counts as being filled.
    private static let fillingSeconds: Int64 = 30
    /// A pin holds for so long after a mount last used the file: what was replaced in the bucket goes in the end.
    static let pinSeconds: Int64 = 30 * 86_400

    /// The data files. What vanishes meanwhile is left out.
    static func files(_ directory: borrowing FileDescriptor) throws(Errno) -> [File] {
        var files: [File] = []
        for entry in try directory.entries() where entry.name.hasSuffix(DiskFiles.dataSuffix) {
            guard let status = try? directory.status(of: entry.name), status.kind == .regular else { continue }
            files.append(
                File(
                    name: String(entry.name.dropLast(DiskFiles.dataSuffix.count)),
                    allocated: status.allocated,
                    size: status.size,
                    modified: status.modified
                )
            )
        }
        return files
    }

    static func candidate(
        _ file: File,
        _ directory: borrowing FileDescriptor,
        now: UnixTime
    ) -> EvictionPolicy.Candidate {
        let (use, pinnedSince) = DiskFiles.records(of: file.name, in: directory)
        let isYoung = now.seconds - file.modified.seconds < fillingSeconds
        let last = max(use?.last ?? 0, file.modified.seconds)
        return EvictionPolicy.Candidate(
            name: file.name,
            bytes: file.allocated,
            use: DiskTable.Use(last: last, isProtected: use?.isProtected ?? false),
            isFilling: isYoung && file.allocated < file.size,
            size: file.size,
            pinnedSince: now.seconds - last < pinSeconds ? pinnedSince : nil
        )
    }

    /// Removes a content's files, unless the kernel reads them for somebody: then its opening has a shared lock.
    ///
    /// - Returns: whether they are gone.
    static func remove(_ name: String, _ directory: borrowing FileDescriptor) throws(Errno) -> Bool {
        let data = name + DiskFiles.dataSuffix
        do throws(Errno) {
            let file = try FileDescriptor(path: data, flags: O_RDWR | O_NOFOLLOW, relativeTo: directory.rawValue)
            guard try file.tryLock(isExclusive: true) else { return false }
            // The table first: without it the data file is only room to be reclaimed.
            try? directory.unlink(name + DiskFiles.tableSuffix)
            try directory.unlink(data)
            return true
        } catch {
            if error == .noEntry { return true }
            throw error
        }
    }
}
