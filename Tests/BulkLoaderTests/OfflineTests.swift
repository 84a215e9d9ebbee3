import DataModel
import Fixtures
import Glibc
import LinuxPlatform
import Storage
import Testing

@testable import BulkLoader

@Suite("Loading without a server") struct OfflineTests {
    func write(_ text: String, _ path: String) throws {
        let files = PosixFileSystem()
        let slash = try #require(path.lastIndex(of: "/"))
        try files.replace(path, with: Array(text.utf8), directory: String(path[..<slash]))
    }

    func read(_ path: String) -> String? {
        (try? PosixFileSystem().readAll(path)).map { String(decoding: $0, as: UTF8.self) }
    }

    func options(_ directory: String, _ file: String) -> LoadOptions {
        var options = LoadOptions(files: [directory + "/" + file], keyspace: "k", table: "t")
        options.sstableDirectory = directory + "/out"
        options.schemaFile = directory + "/s.cql"
        return options
    }

    let schema =
        "CREATE KEYSPACE k WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3};\n"
        + "USE k; CREATE TABLE t (id int, v text, w double, s text STATIC, n int, PRIMARY KEY (id, n)); CREATE TABLE other (a int PRIMARY KEY)"

    /// Counts rows and files by reading the sstables.
    func rows(_ directory: String) throws -> (rows: Int, files: Int, statics: Int) {
        let tables = OfflineTables(system: PosixFileSystem())
        let files = try tables.files(directory: directory)
        var rows: Set<[UInt8]> = []
        var statics = 0
        for file in files {
            #expect(try SSTableVerifier(system: PosixFileSystem(), path: file).verify().isGood)
            try tables.dump(try tables.open(file)) { _ in
            } row: { key, _ in
                if KeyView(key).isStatic { statics += 1 } else { rows.insert(Array(key)) }
                return true
            }
        }
        return (rows.count, files.count, statics)
    }

    @Test("rows are in finished sstables, and records that do not fit are rejected") func load() throws {
        try withTemporaryDirectory { directory in
            try write(schema, directory + "/s.cql")
            var text = "n,id,v,w,s\n"
            for row in 0..<30_000 { text += "\(row),\(row % 100),\"value \(row)\",\(row % 3 == 0 ? "NA" : "1.5"),\n" }
            text += "1,2,x,y,\n,2,x,1,\n5,200,NA,NA,shared\n"
            try write(text, directory + "/a.csv")
            var options = options(directory, "a.csv")
            options.nulls = ["NA"]
            options.sortBytes = 1 << 20
            let report = try runLoad(options)
            #expect(report.rows == 30_001)
            #expect(report.refused == 2)
            #expect(report.sstables > 1)
            let found = try rows(directory + "/out")
            #expect(found.rows == 30_001 && found.files == report.sstables && found.statics == 1)
            let described = OfflineDirectory(system: PosixFileSystem(), path: directory + "/out")
            #expect(!described.isUnfinished)
            let table = try described.table()?.table
            #expect(table?.columns.map(\.name) == ["id", "n", "s", "v", "w"])
            #expect(try #require(read(directory + "/out/schema.cql")).contains("CREATE TABLE k.t"))
            #expect(try #require(read(directory + "/a.csv.rejected")).contains("key column n is empty"))
            #expect(read(directory + "/a.csv.auspex-load") == nil)
            // A finished directory is not extended.
            #expect(throws: LoadError.self) { _ = try runLoad(options) }
        }
    }

    @Test("an interrupted load resumes after the last finished file") func resume() throws {
        try withTemporaryDirectory { directory in
            try write(schema, directory + "/s.cql")
            var text = "id,n,v,w,s\n"
            for row in 0..<60_000 { text += "\(row),\(row),value,1.5,\n" }
            let whole = text
            // The last record has an error, and with a limit of errors the load stops there.
            try write(whole + "x,y,z,1,2\n", directory + "/a.csv")
            var options = options(directory, "a.csv")
            options.sortBytes = 1 << 20
            options.connections = 1
            options.maxErrors = 0
            #expect(throws: LoadError.tooManyErrors(1)) { _ = try runLoad(options) }
            let marker = OfflineDirectory(system: PosixFileSystem(), path: directory + "/out")
            #expect(marker.isUnfinished)
            let saved = try #require(read(directory + "/a.csv.auspex-load"))
            let state = try #require(LoadState(parsing: saved))
            #expect(state.rows > 0)
            options.maxErrors = nil
            // A schema file that differs from the interrupted load's is refused.
            try write(schema.replacing("w double", with: "w float"), directory + "/s.cql")
            #expect(throws: LoadError.self) { _ = try runLoad(options) }
            try write(schema, directory + "/s.cql")
            let report = try runLoad(options)
            #expect(report.resumed == state.rows)
            #expect(report.rows + report.resumed == 60_000)
            #expect(try rows(directory + "/out").rows == 60_000)
            #expect(!marker.isUnfinished)
        }
    }

    @Test("--create infers the table from the data") func create() throws {
        try withTemporaryDirectory { directory in
            try write("ID,v,w\n1,x,1\n2,y,NA\n3,z,2.5\n", directory + "/a.csv")
            var options = options(directory, "a.csv")
            options.schemaFile = nil
            options.creates = true
            options.key = "(v), id"
            options.nulls = ["NA"]
            options.isDryRun = true
            #expect(try runLoad(options).rows == 3)
            #expect(!PosixFileSystem().exists(directory + "/out"))
            options.isDryRun = false
            let report = try runLoad(options)
            #expect(
                report.createStatement
                    == "CREATE TABLE IF NOT EXISTS k.t (id int, v text, w double, PRIMARY KEY ((v), id))")
            #expect(try rows(directory + "/out").rows == 3)
        }
    }

    @Test(
        "a schema that does not do is refused with a reason",
        arguments: [
            ("CREATE TABLE k.x (a int PRIMARY KEY)", "does not create table k.t"),
            ("CREATE TABLE k.t (id int)", "PRIMARY KEY"),
            ("CREATE TABLE k.t (id int PRIMARY KEY, v counter)", "counter"),
            ("INSERT INTO k.t (id) VALUES (1)", "only statements"),
            ("CREATE TABLE k.t (id int PRIMARY KEY, v text) 'x", "quote"),
        ])
    func schemas(text: String, part: String) throws {
        try withTemporaryDirectory { directory in
            try write(text, directory + "/s.cql")
            try write("id,v\n1,1\n", directory + "/a.csv")
            do {
                _ = try runLoad(options(directory, "a.csv"))
                Issue.record("accepted: \(text)")
            } catch let error as LoadError {
                #expect(error.message.contains(part) || part == "quote", "\(error.message)")
            }
            #expect(!PosixFileSystem().exists(directory + "/out"))
        }
    }

    @Test("options that exclude each other") func usage() {
        var options = LoadOptions(files: ["a"], keyspace: "k", table: "t")
        options.schemaFile = "s.cql"
        #expect(options.complaint != nil)
        options.sstableDirectory = "out"
        #expect(options.complaint == nil)
        options.creates = true
        #expect(options.complaint != nil)
        options.schemaFile = nil
        #expect(options.complaint == nil)
    }
}
