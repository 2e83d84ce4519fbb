package import LinuxPlatform

/// Runs an operation that ends by itself some day, and ends it when the time is over: its task is cancelled, and it fails
/// with `deadlineExceeded`. Returns only when the operation has ended.
///
/// - Parameters:
///   - limit: from now on, however many requests and pauses the operation is made of.
///   - subject: what the error begins with.
package func within<Value: Sendable>(
    _ limit: Duration,
    of time: any TimeSource,
    _ subject: String,
    _ body: @escaping @Sendable () async throws(ObjectStoreError) -> Value
) async throws(ObjectStoreError) -> Value {
    let isOver = Lock(false)
    let work = Task { () async -> Result<Value, ObjectStoreError> in
        do throws(ObjectStoreError) {
            return .success(try await body())
        } catch {
            return .failure(error)
        }
    }
    let alarm = Task {
        guard (try? await time.sleep(for: limit)) != nil else { return }
        isOver.withLock { $0 = true }
        work.cancel()
    }
    let result = await withTaskCancellationHandler {
        await work.value
    } onCancel: {
        work.cancel()
    }
    alarm.cancel()
    if case .failure(let error) = result, error.code == .cancelled, isOver.withLock(\.self) {
        throw ObjectStoreError(.deadlineExceeded, "\(subject): no answer within \(limit.inSeconds) s")
    }
    return try result.get()
}
