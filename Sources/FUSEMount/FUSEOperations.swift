import CFuse3
import Glibc

/// What libfuse's callbacks have in common: each finds its session, translates, and answers or parks. No decision is made
/// in them.
///
/// Source: fuse_lowlevel.h of libfuse 3.14. C calls these; nothing may throw, trap on what it was given, or wait.
enum FUSEOperations {
    /// To be filled with what a kind of session answers.
    static func table() -> fuse_lowlevel_ops {
        var table = fuse_lowlevel_ops()
        table.`init` = { context, connection in
            guard let context, let connection else { return }
            Unmanaged<FUSESession>.fromOpaque(context).takeUnretainedValue().negotiate(&connection.pointee)
        }
        return table
    }

    /// The session and a parked answer, which an interrupt answers with EINTR; nil when there is nothing left to do.
    static func park<Session: FUSESession>(_ request: fuse_req_t?, _: Session.Type) -> (Session, FUSEReply)? {
        guard let request else { return nil }
        guard let session = Session.of(request) else {
            fuse_reply_err(request, EIO)
            return nil
        }
        let number = session.activity.newNumber()
        listenForInterrupts(request, number)
        // An interrupt that came before the request. Looked for before anything can answer: after that the request is gone.
        if fuse_req_interrupted(request) != 0 {
            fuse_reply_err(request, EINTR)
            return nil
        }
        return (session, FUSEReply(request, session.activity, number: number))
    }

    /// An interrupt finds the parked answer by its number, and not by its address: it may come when that is gone.
    static func listenForInterrupts(_ request: fuse_req_t, _ number: UInt64) {
        fuse_req_interrupt_func(
            request,
            { request, context in
                guard let request, let session = FUSESession.of(request) else { return }
                session.activity.interrupt(UInt64(UInt(bitPattern: context)))
            },
            UnsafeMutableRawPointer(bitPattern: UInt(number))
        )
    }
}
