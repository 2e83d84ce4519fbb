import LinuxPlatform

/// What the cache's disk says at one moment.
package struct DiskSurvey: Sendable {
    /// What the files of the directory take.
    package fileprivate(set) var usedBytes: Int
    /// By all who share it, whole files counted.
    package fileprivate(set) var pinnedBytes = 0
    /// The disk has answered. If not, this is what the process knows without it.
    package fileprivate(set) var responds = false
    fileprivate var residencies: [String: DiskResidency] = [:]

    /// How much of a content is there; for the identities that were asked for.
    package func residency(_ identity: DiskIdentity) -> DiskResidency {
        residencies[identity.name] ?? DiskResidency(bytes: 0, isProven: false, isPinned: false)
    }
}

extension DiskCache {
    /// Questions to a disk that does not answer, at most: whoever asks then gets what is known.
    static let maximumSurveys = 4

    /// Looks into the directory on a thread of its own, for whoever must not wait for a disk that hangs.
    ///
    /// - Parameters:
    ///   - identities: contents whose residency is wanted.
    ///   - patience: after this the disk counts as one that does not answer.
    ///   - completion: called once, from any thread; at once when the disk is left alone or others wait for it already.
    package func survey(
        _ identities: [DiskIdentity],
        patience: Duration = .seconds(2),
        _ completion: @escaping @Sendable (DiskSurvey) -> Void
    ) {
        let known = knownSurvey(identities)
        guard mayRead, beginSurvey() else { return completion(known) }
        let isOver = Lock(false)
        let finish: @Sendable (DiskSurvey) -> Void = { survey in
            let isFirst = isOver.withLock { isOver in
                defer { isOver = true }
                return !isOver
            }
            if isFirst { completion(survey) }
        }
        let alarm = Task {
            guard (try? await time.sleep(for: patience)) != nil else { return }
            finish(known)
        }
        lookers.submit { [self] in
            let found = lookedUp(identities, known)
            endSurvey()
            alarm.cancel()
            finish(found)
        }
    }

    private func knownSurvey(_ identities: [DiskIdentity]) -> DiskSurvey {
        var survey = DiskSurvey(usedBytes: usedBytes)
        for identity in identities { survey.residencies[identity.name] = knownResidency(identity) }
        return survey
    }

    private func lookedUp(_ identities: [DiskIdentity], _ known: DiskSurvey) -> DiskSurvey {
        var survey = known
        guard let used = try? measuredBytes(), let room = try? pinRoom() else { return known }
        survey.usedBytes = used
        survey.pinnedBytes = room.pinned
        for identity in identities where survey.residencies[identity.name] == nil {
            survey.residencies[identity.name] = residency(identity)
        }
        survey.responds = true
        return survey
    }
}
