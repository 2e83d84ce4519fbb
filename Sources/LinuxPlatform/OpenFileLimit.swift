import Glibc

/// How many files this process may have open (getrlimit(2)).
package enum OpenFileLimit {
    /// Raises it as far as the administrator allows: shells start programs with a limit made for select(2).
    ///
    /// - Returns: the limit now.
    @discardableResult
    package static func raise() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
        let before = limit.rlim_cur
        limit.rlim_cur = limit.rlim_max
        let isRaised = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
        return Int(clamping: isRaised ? limit.rlim_cur : before)
    }
}
