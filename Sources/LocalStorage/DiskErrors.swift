import Glibc
import LinuxPlatform
import ObjectStorage

/// Runs a call of the kernel for an object; its error says what was not done to which object.
func onDisk<Value: ~Copyable>(
    _ action: StaticString,
    _ object: String,
    _ body: () throws(Errno) -> Value
) throws(ObjectStoreError) -> Value {
    do throws(Errno) {
        return try body()
    } catch {
        throw ObjectStoreError(code(of: error), "cannot \(action) '\(object)': \(error)")
    }
}

private func code(of error: Errno) -> ObjectStoreError.Code {
    switch error {
    case .noEntry: .notFound
    case .noSpace, Errno(EDQUOT): .noSpace
    case .permission, .access, .readOnly: .forbidden
    case Errno(ENAMETOOLONG): .invalidName
    case Errno(EMFILE), Errno(ENFILE), .wouldBlock: .unavailable
    case .timedOut: .deadlineExceeded
    default: .internal
    }
}

/// A directory and a file cannot have one name.
func conflict(_ name: ObjectName) -> ObjectStoreError {
    ObjectStoreError(
        .invalidName,
        "'\(name)' cannot be stored in a directory: a file stands where the name needs a directory, or the other way "
            + "round; a bucket could keep both, so use gs:// or other names"
    )
}

func missing(_ name: ObjectName, _ generation: Generation?) -> ObjectStoreError {
    let which = generation.map { " of generation \($0)" } ?? ""
    return ObjectStoreError(.notFound, "there is no object '\(name)'\(which)")
}
