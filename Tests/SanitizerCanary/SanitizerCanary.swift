// Does one wrong thing on purpose, so that a run under a sanitizer proves that the sanitizer would report it.
import Glibc

@main
enum SanitizerCanary {
    // Safe for no one: that is the point.
    nonisolated(unsafe) private static var shared = 0

    static func main() {
        switch CommandLine.arguments.dropFirst().first {
        case "thread": race()
        case "address": useAfterFree()
        default: fatalError("say thread or address")
        }
    }

    private static func race() {
        // Two threads of its own, not a pool's: on a busy machine a pool may run both pieces on one.
        let threads = (0..<2).compactMap { _ -> pthread_t? in
            var thread = pthread_t()
            let status = pthread_create(
                &thread,
                nil,
                { _ in
                    for step in 0..<1000 { SanitizerCanary.shared = SanitizerCanary.shared &+ step }
                    return nil
                },
                nil
            )
            return status == 0 ? thread : nil
        }
        for thread in threads { pthread_join(thread, nil) }
        print(shared)
    }

    private static func useAfterFree() {
        let memory = UnsafeMutablePointer<Int>.allocate(capacity: 4)
        memory.initialize(repeating: 7, count: 4)
        memory.deallocate()
        print(memory[Int(getpid()) & 3])
    }
}
