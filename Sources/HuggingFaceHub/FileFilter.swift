package import ObjectStorage

/// Which files of a repository are wanted: any include pattern matches, or there is none, and no exclude pattern does.
package struct FileFilter: Hashable, Sendable {
    package let include: [Glob]
    package let exclude: [Glob]

    /// - Throws: `HubError.invalidName` for a pattern that is too long.
    package init(include: [String] = [], exclude: [String] = []) throws(HubError) {
        var globs: [[Glob]] = []
        for patterns in [include, exclude] {
            var parsed: [Glob] = []
            for pattern in patterns {
                guard let glob = Glob(pattern) else {
                    throw HubError(
                        .invalidName,
                        "the pattern '\(printable(pattern, limit: 60))' is longer than \(Glob.maximumLength) bytes"
                    )
                }
                parsed.append(glob)
            }
            globs.append(parsed)
        }
        self.include = globs[0]
        self.exclude = globs[1]
    }

    package func admits(_ path: String) -> Bool {
        (include.isEmpty || include.contains { $0.matches(path) }) && !exclude.contains { $0.matches(path) }
    }

    /// The include patterns that match none of the paths: a typing error that should not pass in silence.
    package func unmatchedIncludes(in paths: [String]) -> [String] {
        include.filter { glob in !paths.contains { glob.matches($0) } }.map(\.pattern)
    }
}
