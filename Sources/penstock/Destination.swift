import ArgumentParser
import Glibc
import GoogleCloudStorage
import GoogleCredentials
import HTTPEngine
import LinuxPlatform
import LocalStorage
import ObjectStorage

/// A place that a user names: `gs://bucket/prefix` or `file:///directory`.
struct Destination: ExpressibleByArgument, CustomStringConvertible {
    enum Kind {
        case bucket(name: String, prefix: ObjectPrefix)
        case directory(String)
    }

    let kind: Kind
    let description: String

    init?(argument: String) {
        description = argument
        if let rest = argument.dropping("gs://") {
            let parts = rest.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            guard let bucket = parts.first, !bucket.isEmpty else { return nil }
            var prefix = parts.count > 1 ? parts[1] : ""
            while prefix.hasSuffix("/") { prefix = prefix.dropLast() }
            if !prefix.isEmpty, (try? SafePath(String(prefix))) == nil { return nil }
            kind = .bucket(name: String(bucket), prefix: ObjectPrefix(String(prefix)))
        } else if let path = argument.dropping("file://"), path.hasPrefix("/") {
            kind = .directory(String(path))
        } else {
            return nil
        }
    }

    /// Whether a network lies between.
    var isBucket: Bool {
        if case .bucket = kind { true } else { false }
    }

    /// The part below the bucket or directory.
    var prefix: ObjectPrefix {
        if case .bucket(_, let prefix) = kind { prefix } else { ObjectPrefix("") }
    }
}

extension String {
    fileprivate func dropping(_ prefix: String) -> Substring? { hasPrefix(prefix) ? dropFirst(prefix.count) : nil }
}
