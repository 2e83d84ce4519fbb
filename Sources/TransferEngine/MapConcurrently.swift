/// Runs `body` on every item, at most `limit` at once, and gives the results in the items' order.
///
/// The first failure cancels what is still running, waits for it, and is thrown; failures that follow from that cancel
/// are not heard.
package func mapConcurrently<Item: Sendable, Value: Sendable, Failure: Error>(
    _ items: [Item],
    limit: Int,
    _ body: @escaping @Sendable (Item) async throws(Failure) -> Value
) async throws(Failure) -> [Value] {
    precondition(limit > 0)
    let outcome = await withTaskGroup(of: (Int, Result<Value, Failure>).self) { group in
        var results = [Value?](repeating: nil, count: items.count)
        var failure: Failure?
        var next = 0
        func startNext() {
            guard next < items.count else { return }
            let (index, item) = (next, items[next])
            next += 1
            group.addTask {
                do throws(Failure) { return (index, .success(try await body(item))) } catch {
                    return (index, .failure(error))
                }
            }
        }
        for _ in 0..<min(limit, items.count) { startNext() }
        while let (index, result) = await group.next() {
            switch result {
            case .success(let value):
                results[index] = value
                if failure == nil { startNext() }
            case .failure(let error):
                if failure == nil {
                    failure = error
                    group.cancelAll()
                }
            }
        }
        return failure.map { Result<[Value?], Failure>.failure($0) } ?? .success(results)
    }
    return try outcome.get().compactMap { $0 }
}
