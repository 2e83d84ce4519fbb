import Glibc

/// A compiled POSIX extended regular expression.
package final class PathPattern: @unchecked Sendable {  // regexec(3) is thread-safe on a compiled, unchanging regex_t
    package let source: String
    private let compiled: UnsafeMutablePointer<regex_t>

    /// Nil when the expression is malformed.
    package init?(_ source: String) {
        let compiled = UnsafeMutablePointer<regex_t>.allocate(capacity: 1)
        compiled.initialize(to: regex_t())
        // Before the properties are set: what fails after that runs deinit.
        guard regcomp(compiled, source, REG_EXTENDED | noSubexpressions) == 0 else {
            compiled.deallocate()
            return nil
        }
        self.source = source
        self.compiled = compiled
    }

    deinit {
        regfree(compiled)
        compiled.deallocate()
    }

    /// Whether it is found anywhere in the text.
    package func matches(_ text: String) -> Bool { regexec(compiled, text, 0, nil, 0) == 0 }
}

// REG_NOSUB of <regex.h>: a macro with a shift, which Swift does not import.
private let noSubexpressions: Int32 = 8
