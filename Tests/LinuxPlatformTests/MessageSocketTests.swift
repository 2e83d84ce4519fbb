import Glibc
import LinuxPlatform
import Testing

struct MessageSocketTests {
    @Test func messagesStayApartAndCanCarryADescriptor() throws {
        var far: FileDescriptor?
        let near = try MessageSocket(connectedTo: &far)
        guard let end = far.take() else { return #expect(Bool(false), "there are two ends") }
        let other = MessageSocket(end)
        let before = other.hasMessage
        try near.send([1, 2, 3])
        let memory = try MemoryFile(name: "passed", size: 4096)
        memory.bytes[5] = 77
        try near.send([4], passing: memory.descriptor.rawValue)
        let after = other.hasMessage
        #expect(!before && after)
        let received = try other.receive()
        let first = try #require(received)
        #expect(first.bytes == [1, 2, 3] && first.descriptor == nil)
        let next = try other.receive()
        let second = try #require(next)
        let passed = try MemoryFile(adopting: FileDescriptor(owning: try #require(second.descriptor)))
        #expect(second.bytes == [4] && passed.bytes[5] == 77)
    }

    @Test func theEndIsSeenAndNoSignalComes() throws {
        var far: FileDescriptor?
        let near = try MessageSocket(connectedTo: &far)
        far = nil
        let message = try near.receive()
        #expect(message?.bytes == nil)
        do throws(Errno) {
            try near.send([1])
            #expect(Bool(false), "nobody is there")
        } catch {
            #expect(error == Errno(EPIPE))
        }
    }
}

struct ServingProcessTests {
    @Test func aStatusOfWaitpidIsRead() {
        #expect(ProcessEnd(waitStatus: 0) == .exited(0))
        #expect(ProcessEnd(waitStatus: 5 << 8) == .exited(5))
        #expect(ProcessEnd(waitStatus: 9) == .killed(signal: 9))
        // With a core dump.
        #expect(ProcessEnd(waitStatus: 11 | 0x80) == .killed(signal: 11))
    }

    @Test func aChildHasTheDescriptorsThatItShallHaveAndItsDirectory() throws {
        var far: FileDescriptor?
        let near = try MessageSocket(connectedTo: &far)
        guard let end = far.take() else { return #expect(Bool(false), "there are two ends") }
        let socket = end.rawValue
        let script = "printf '%s %s' \"$PWD\" \"$WORD\" >&\(socket)"
        let child = try ServingProcess.start(
            .init(
                program: "/bin/bash",
                arguments: ["bash", "-c", script],
                environment: ["WORD=hello"],
                directory: "/usr",
                descriptors: [socket]
            )
        )
        _ = consume end
        let message = try near.receive()
        #expect(message?.bytes == Array("/usr hello".utf8))
        var status: Int32 = -1
        #expect(waitpid(child, &status, 0) == child && status == 0)
    }

    @Test func whatCannotBeStartedIsAnError() {
        #expect(throws: Errno.noEntry) {
            try ServingProcess.start(.init(program: "/nowhere/at/all", arguments: ["x"], environment: []))
        }
    }
}
