/// What requests of the kernel that are done once were answered, for those that come again: the newest so many.
struct AnswerTable: Sendable {
    /// Answers that are kept: more than the kernel ever has requests under way.
    static let limit = 8192

    private var answers: [UInt64: KernelAnswer] = [:]
    /// In the order in which they were given; from `first` on.
    private var order: [UInt64] = []
    private var first = 0

    /// Nil for a request that was not done, or long ago.
    subscript(request: UInt64) -> KernelAnswer? { answers[request] }

    /// Oldest first.
    var all: [(request: UInt64, answer: KernelAnswer)] {
        order[first...].compactMap { request in answers[request].map { (request, $0) } }
    }

    mutating func keep(_ answer: KernelAnswer, of request: UInt64) {
        if answers.updateValue(answer, forKey: request) == nil { order.append(request) }
        while order.count - first > Self.limit {
            answers[order[first]] = nil
            first += 1
        }
        if first > Self.limit {
            order.removeFirst(first)
            first = 0
        }
    }

    /// The kernel has the answer. Its place in the order stays until it is the oldest.
    mutating func forget(_ request: UInt64) { answers[request] = nil }
}
