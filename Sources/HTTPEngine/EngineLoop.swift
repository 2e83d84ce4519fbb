import CCurl
import Glibc
import LinuxPlatform

/// One thread with one multi handle of libcurl, and the transfers that run on it.
///
/// Others talk to it through the mailbox; everything else belongs to the thread that executes `run`.
final class EngineLoop: @unchecked Sendable {  // `mailbox` is locked; the rest belongs to the loop's thread
    private struct Mailbox {
        var started: [Transfer] = []
        var cancelled: [UInt64] = []
        /// Transfers submitted and not yet completed.
        var load = 0
        var isClosing = false
        /// The thread takes nothing any more.
        var isClosed = false
        /// Callers that are about to wake the multi handle, which therefore must stay.
        var wakers = 0
    }

    private let configuration: EngineConfiguration
    private let metrics: EngineMetrics
    private let mailbox = Lock(Mailbox())
    private let multi: UnsafeMutableRawPointer
    // Belongs to one loop, so libcurl needs no locks for it.
    private let share: UnsafeMutableRawPointer?
    let alarm = LoopAlarm()
    private let time = SystemTime()
    private var active: [UInt64: CurlEasy] = [:]
    private var idle: [CurlEasy] = []
    private let direct: DirectTransfers

    init(_ configuration: EngineConfiguration, _ metrics: EngineMetrics) {
        guard CurlLibrary.isReady, let multi = curl_multi_init() else { fatalError("libcurl cannot be initialised") }
        self.configuration = configuration
        self.metrics = metrics
        self.multi = multi
        share = curl_share_init()
        ccurl_share_set_data(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION)
        let threads = max(1, configuration.threads)
        let perHost = max(1, (configuration.maximumConnectionsPerHost + threads - 1) / threads)
        let total = max(perHost, (configuration.maximumConnections + threads - 1) / threads)
        ccurl_multi_set_long(multi, CURLMOPT_PIPELINING, Int(CURLPIPE_NOTHING))
        ccurl_multi_set_long(multi, CURLMOPT_MAX_HOST_CONNECTIONS, perHost)
        ccurl_multi_set_long(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, total)
        ccurl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, total)
        // libcurl counts the others' connections, too, and cannot close idle ones of theirs: an eighth stays its own.
        let limits = configuration.receivesInPlace ? (perHost - (perHost + 7) / 8, total - (total + 7) / 8) : (0, 0)
        let pool = ConnectionPool(perOrigin: limits.0, total: limits.1)
        direct = DirectTransfers(configuration, pool, multi: multi, share: share, alarm: alarm)
    }

    // MARK: For every thread

    /// Transfers submitted and not yet completed.
    var load: Int { mailbox.withLock { $0.load } }

    /// Takes a transfer; false when the loop is closed.
    func submit(_ transfer: Transfer) -> Bool {
        post { mailbox in
            mailbox.started.append(transfer)
            mailbox.load += 1
        }
    }

    /// Stops a transfer, if it is still there.
    func cancel(_ id: UInt64) {
        _ = post { $0.cancelled.append(id) }
    }

    /// Ends all transfers with `engineClosed`, then the thread.
    func close() {
        _ = post { $0.isClosing = true }
    }

    private func post(_ change: (inout Mailbox) -> Void) -> Bool {
        let isOpen = mailbox.withLock { mailbox in
            if mailbox.isClosed || mailbox.isClosing { return false }
            change(&mailbox)
            mailbox.wakers += 1
            return true
        }
        guard isOpen else { return false }
        curl_multi_wakeup(multi)
        mailbox.withLock { $0.wakers -= 1 }
        return true
    }

    // MARK: For the loop's thread

    /// Runs transfers until the loop is closed.
    func run() {
        while takeMail() {
            if !active.isEmpty || direct.isOpening {
                var running: Int32 = 0
                curl_multi_perform(multi, &running)
                finishDone()
            }
            direct.serve()
            takeEnded()
            checkClocks()
            direct.poll(timeout: pollTimeout())
        }
        closeDown()
    }

    /// Tells the owners of direct transfers that ended, and has libcurl carry those whose replies only it can read.
    private func takeEnded() {
        while let (transfer, end) = direct.nextEnd() {
            switch end {
            case .unframed: startWithCurl(transfer)
            case .result(let result, let isReuse):
                metrics.count(sent: 0, received: transfer.received, reusedConnection: isReuse)
                report(transfer, result)
            }
        }
    }

    /// Starts and cancels what was asked for; false when it is time to close.
    private func takeMail() -> Bool {
        let mail = mailbox.withLock { mailbox in
            let mail = (started: mailbox.started, cancelled: mailbox.cancelled, isClosing: mailbox.isClosing)
            mailbox.started.removeAll(keepingCapacity: true)
            mailbox.cancelled.removeAll(keepingCapacity: true)
            return mail
        }
        for transfer in mail.started { start(transfer) }
        for id in mail.cancelled {
            guard let transfer = active[id]?.transfer ?? direct.transfer(id) else { continue }
            abort(id, transfer.failure(.cancelled, "cancelled"))
        }
        takeEnded()
        return !mail.isClosing
    }

    private func start(_ transfer: Transfer) {
        if let failure = transfer.expired(at: time.now(), sent: 0) { return report(transfer, .failure(failure)) }
        alarm.lower(to: transfer.clock.due)
        if transfer.isDownload, direct.start(transfer) { return }
        startWithCurl(transfer)
    }

    private func startWithCurl(_ transfer: Transfer) {
        guard let easy = preparedHandle(for: transfer) else {
            return report(transfer, .failure(transfer.failure(.invalidRequest, "libcurl refuses the request")))
        }
        guard curl_multi_add_handle(multi, easy.handle) == CURLM_OK else {
            easy.clear()
            return report(transfer, .failure(transfer.failure(.connect, "libcurl takes no more requests")))
        }
        active[transfer.id] = easy
    }

    private func preparedHandle(for transfer: Transfer) -> CurlEasy? {
        if let used = idle.popLast(), used.prepare(transfer, configuration, share: share) { return used }
        guard let fresh = CurlEasy(), fresh.prepare(transfer, configuration, share: share) else { return nil }
        return fresh
    }

    private func finishDone() {
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle else { continue }
            let result = ccurl_message_result(message)
            var context: UnsafeMutableRawPointer?
            guard ccurl_get_pointer(handle, CURLINFO_PRIVATE, &context) == CURLE_OK, let context else { continue }
            // `active` holds the handle that set itself as the private pointer.
            let easy = Unmanaged<CurlEasy>.fromOpaque(context).takeUnretainedValue()
            if let connection = easy.connection {
                direct.opened(connection, result)
            } else if let transfer = easy.transfer {
                end(transfer.id, transfer.outcome(result, easy.end))
            }
        }
    }

    private func checkClocks() {
        let now = time.now()
        guard now >= alarm.next else { return }
        alarm.reset()
        var expired: [(UInt64, HTTPFailure)] = []
        func check(_ transfer: Transfer, sent: Int) {
            if transfer.clock.due > now {
                alarm.lower(to: transfer.clock.due)
            } else if let failure = transfer.expired(at: now, sent: sent) {
                expired.append((transfer.id, failure))
            }
        }
        for easy in active.values {
            if let transfer = easy.transfer { check(transfer, sent: easy.sent) }
        }
        for transfer in direct.transfers { check(transfer, sent: 0) }
        for (id, failure) in expired { abort(id, failure) }
        takeEnded()
    }

    /// Takes the finished transfer out of libcurl, then tells its owner: the buffer is the owner's again.
    private func end(_ id: UInt64, _ result: Result<HTTPDownloadResult, HTTPFailure>) {
        guard let easy = active.removeValue(forKey: id), let transfer = easy.transfer else { return }
        remove(easy, transfer)
        idle.append(easy)
        report(transfer, result)
    }

    /// The same in the middle of the transfer. The handle is not used again: it keeps a buffer, and libcurl 7.88 refuses
    /// to set the size of one that is there (CURLOPT_BUFFERSIZE fails with 43).
    private func abort(_ id: UInt64, _ failure: HTTPFailure) {
        if direct.abort(id, failure) { return }
        guard let easy = active.removeValue(forKey: id), let transfer = easy.transfer else { return }
        remove(easy, transfer)
        report(transfer, .failure(failure))
    }

    private func remove(_ easy: CurlEasy, _ transfer: Transfer) {
        let isReuse = transfer.wasConnected && easy.reusedConnection
        metrics.count(sent: easy.sent, received: transfer.received, reusedConnection: isReuse)
        curl_multi_remove_handle(multi, easy.handle)
        easy.clear()
    }

    private func report(_ transfer: Transfer, _ result: Result<HTTPDownloadResult, HTTPFailure>) {
        mailbox.withLock { $0.load -= 1 }
        metrics.count(result)
        transfer.complete(result)
    }

    private func pollTimeout() -> Int32 {
        if direct.hasMore { return 0 }
        guard alarm.next != .distantFuture else { return 60_000 }
        let wait = time.now().duration(to: alarm.next).inNanoseconds
        // Rounded up: waking a moment early would spin until the moment comes.
        return Int32(min(60_000, max(0, (wait + 999_999) / 1_000_000)))
    }

    private func closeDown() {
        for (id, easy) in active {
            guard let transfer = easy.transfer else { continue }
            abort(id, transfer.failure(.engineClosed, "the engine was shut down"))
        }
        for transfer in direct.transfers {
            abort(transfer.id, transfer.failure(.engineClosed, "the engine was shut down"))
        }
        takeEnded()
        direct.closeAll()
        mailbox.withLock { $0.isClosed = true }
        // A waker is between two instructions and one write(2) to a non-blocking descriptor.
        while mailbox.withLock({ $0.wakers > 0 }) { sched_yield() }
        idle.removeAll()
        // Here and not in deinit: closing TLS connections may raise SIGPIPE, which this thread blocks.
        curl_multi_cleanup(multi)
        curl_share_cleanup(share)
    }
}

/// The process-wide part of libcurl.
enum CurlLibrary {
    /// Initialises once, before the first handle. Source: curl_global_init(3).
    static let isReady = curl_global_init(Int(CURL_GLOBAL_ALL)) == CURLE_OK
}
