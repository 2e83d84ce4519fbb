import HTTPEngine
import LinuxPlatform

extension HTTPTransport {
    /// Starts a download and waits for its end; cancelling the task cancels it.
    func downloadAndWait(_ download: HTTPDownload) async -> Result<HTTPDownloadResult, HTTPFailure> {
        let pending = PendingDownload()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                pending.started(self.download(download) { continuation.resume(returning: $0) })
            }
        } onCancel: {
            pending.cancel()
        }
    }
}

/// A cancel that may come before the download has started.
private final class PendingDownload: Sendable {
    private struct State {
        var cancellation: HTTPCancellation?
        var isCancelled = false
    }
    private let state = Lock(State())

    func started(_ cancellation: HTTPCancellation) {
        let isLate = state.withLock { state in
            state.cancellation = cancellation
            return state.isCancelled
        }
        if isLate { cancellation.cancel() }
    }

    func cancel() {
        let cancellation = state.withLock { state in
            state.isCancelled = true
            return state.cancellation
        }
        cancellation?.cancel()
    }
}
