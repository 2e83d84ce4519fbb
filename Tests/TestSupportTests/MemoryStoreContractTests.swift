import ObjectStorage
import TestSupport
import Testing

struct MemoryStoreContractTests {
    @Test("the bucket in memory keeps the promises of every store", arguments: ObjectStoreContract.checks)
    func contract(check: ContractCheck) async throws {
        try await check.run(on: MemoryObjectStore(), features: [.move, .multipart])
        var options = MemoryBucket.Options()
        options.isHierarchical = true
        options.canMove = false
        try await check.run(on: MemoryObjectStore(MemoryBucket(options)), features: [.folders, .multipart])
    }
}
