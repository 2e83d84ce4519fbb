import CLinux
import Glibc

/// Waits for signals on a thread of the caller's choice.
///
/// From `init` on the signals no longer do what they did; whichever thread the kernel picks only writes their number to a
/// pipe. There is one watch in a process, and it stays.
package final class SignalWatch: Sendable {
    private let reading: Int32

    /// Readable when `next` would not block: for those who wait for other things, too.
    package var descriptor: Int32 { reading }

    /// - Throws: the `errno` of pipe2(2) or sigaction(2).
    package init(_ signals: [Int32]) throws(Errno) {
        var ends: [Int32] = [-1, -1]
        _ = try retryingOnInterrupt { clinux_pipe(&ends) }
        reading = ends[0]
        let writing = ends[1]
        // A handler must not wait: when the pipe is full there is enough to be told already.
        _ = clinux_fcntl(writing, F_SETFL, Int(O_NONBLOCK))
        _ = try retryingOnInterrupt { clinux_signals_to_descriptor(writing, signals, Int32(signals.count)) }
    }

    /// Blocks the calling thread until one of the signals comes; its number.
    package func next() -> Int32 {
        var byte: UInt8 = 0
        while read(reading, &byte, 1) != 1 {}
        return Int32(byte)
    }
}
