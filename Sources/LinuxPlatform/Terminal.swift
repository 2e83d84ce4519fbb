import CLinux
import Glibc

/// A person's screen behind a descriptor.
package enum Terminal {
    /// Whether the descriptor is one (isatty(3)).
    package static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

    /// Its columns now; nil when it is none, or does not say (ioctl_tty(2), TIOCGWINSZ).
    package static func columns(_ descriptor: Int32) -> Int? {
        var size = winsize()
        guard clinux_ioctl_pointer(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }
}
