import Fixtures
import Glibc
import LinuxPlatform
import Platform
import Testing

@Suite struct FileTests {
    @Test func parentDirectoriesAreCreated() throws {
        let system = PosixFileSystem()
        try withTemporaryDirectory { directory in
            let top = directory + "/top"
            try system.createDirectory(top + "/a/b")
            try system.createDirectory(top + "/a/b")
            #expect(system.exists(top + "/a/b"))
            #expect(try system.list(top) == ["a"])
            for path in ["/a/b", "/a", ""] { try system.removeDirectory(top + path) }
            #expect(!system.exists(top))
            #expect(throws: FileError.self) { try system.list(top) }
        }
        #expect(throws: FileError.self) { try system.createDirectory("/proc/none/x") }
    }

    @Test func lockIsHeldByOneOwner() throws {
        let system = PosixFileSystem()
        try withTemporaryDirectory { top in
            let lock = try system.lock(top + "/LOCK")
            #expect(throws: FileError("lock", path: top + "/LOCK", reason: .locked(by: getpid()))) {
                try system.lock(top + "/LOCK")
            }
            lock.close()
            try system.lock(top + "/LOCK").close()
        }
    }
}
