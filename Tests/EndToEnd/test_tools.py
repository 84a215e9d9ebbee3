"""The binary's commands against a node: shell, load, stress, admin, sstable."""
import json
import shutil
import subprocess
import time
import unittest
from pathlib import Path

from cassandra.cluster import Cluster

import node
from node import FLIGHTS, SAMPLES, Line, Node, tool

FLIGHT_COLUMNS = (
    "year int, month int, day int, dep_time int, sched_dep_time int, dep_delay double, arr_time int, sched_arr_time int, arr_delay double, "
    "carrier text, flight int, tailnum text, origin text, dest text, air_time double, distance double, hour int, minute int, "
    "time_hour timestamp, PRIMARY KEY ((year, month, day), carrier, flight, origin, sched_dep_time)")


class ToolsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # A debug build scans the whole flights table.
        cls.node = Node("--set", "range_request_timeout=300s").start()
        with Line(cls.node.line) as line:
            line.do("CREATE KEYSPACE t WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def address(self):
        return "--host", "127.0.0.1", "--port", str(self.node.native)

    def run_tool(self, *arguments, input=None, status=0):
        run = tool(*arguments, input=input)
        self.assertEqual(run.returncode, status, f"{arguments}\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}")
        return run

    def test_shell(self):
        run = self.run_tool("shell", *self.address(), "-e", "SELECT key, cluster_name FROM system.local")
        self.assertIn("local", run.stdout)
        self.assertIn("Auspex", run.stdout)
        run = self.run_tool("shell", *self.address(), input="SELECT key FROM system.local;\nDESCRIBE KEYSPACES;\n")
        self.assertIn("local", run.stdout)
        self.assertIn("system_schema", run.stdout)
        self.run_tool("shell", *self.address(), "-e", "SELECT * FROM t.nothing", status=1)

    def test_load_sample(self):
        with Line(self.node.line) as line:
            line.do("CREATE TABLE t.lighthouses (country text, name text, height_m int, first_lit int, range_nm double, "
                    "PRIMARY KEY (country, name))")
        self.run_tool("load", SAMPLES / "lighthouses.csv", "--into", "t.lighthouses", *self.address())
        with Line(self.node.line) as line:
            self.assertEqual(line.rows("SELECT count(*) FROM t.lighthouses"), [[20]])
            self.assertEqual(line.rows("SELECT range_nm FROM t.lighthouses WHERE country = 'Germany' AND name = 'Roter Sand'"), [[None]])
            self.assertEqual(
                line.rows("SELECT name FROM t.lighthouses WHERE country = 'United States' AND name = 'St. Simons \"Island\" Light'"),
                [['St. Simons "Island" Light']])

    def test_load_refuses_what_does_not_fit(self):
        with Line(self.node.line) as line:
            line.do("CREATE TABLE t.strict (id int PRIMARY KEY, v int)")
        bad = self.node.work / "bad.csv"
        bad.write_text("id,v\n1,1\ntwo,2\n3,three\n4,4\n")
        self.run_tool("load", bad, "--into", "t.strict", *self.address(), status=1)
        with Line(self.node.line) as line:
            self.assertEqual(line.rows("SELECT count(*) FROM t.strict"), [[2]])

    @unittest.skipUnless((FLIGHTS / "flights.csv.xz").exists(), "the flights table is missing")
    def test_load_flights(self):
        with Line(self.node.line) as line:
            line.do(f"CREATE TABLE t.flights ({FLIGHT_COLUMNS})")
        self.run_tool("load", FLIGHTS / "flights.csv.xz", "--into", "t.flights", "--null", "NA", *self.address())
        with Line(self.node.line) as line:
            self.assertEqual(line.rows("SELECT count(*) FROM t.flights"), [[336776]])
            self.assertEqual(line.rows("SELECT count(*) FROM t.flights WHERE year = 2013 AND month = 1 AND day = 1"), [[842]])
            self.assertEqual(
                line.rows("SELECT count(dep_time), min(dep_delay), max(dep_delay) FROM t.flights"), [[328521, -43.0, 1301.0]])

    def offline(self, name, text, schema, *arguments, status=0):
        """Loads `text` into sstables with --to-sstables and returns their directory."""
        source, script, out = (self.node.work / (name + end) for end in (".csv", ".cql", ".out"))
        source.write_text(text)
        script.write_text(schema)
        self.run_tool("load", source, "--into", f"t.{name}", "--to-sstables", out, "--schema", script, *arguments, status=status)
        return out

    def admin_import(self, table, directory, status=0):
        run = self.run_tool("admin", "import", table, directory, "--port", self.node.http, "--json", status=status)
        return json.loads(run.stdout) if status == 0 else run.stderr

    def driver(self):
        cluster = Cluster(["127.0.0.1"], port=self.node.native, protocol_version=4)
        self.addCleanup(cluster.shutdown)
        return cluster.connect()

    def test_load_to_sstables_and_import(self):
        schema = ("CREATE TABLE t.offline (p int, c timestamp, v text, w double, tags set<text>, shared text STATIC, PRIMARY KEY (p, c)) "
                  "WITH CLUSTERING ORDER BY (c DESC);")
        def row(i):
            tags = "\"{'a', 'b'}\"" if i % 10 else "NA"
            return f'{i % 50},2024-01-01 00:{i // 60 % 60:02}:{i % 60:02},"v, {i}",{i / 4},{tags},s{i % 50}\n'

        rows = "".join(map(row, range(3000)))
        out = self.offline("offline", "p,c,v,w,tags,shared\n" + rows, schema, "--null", "NA", "--sort-memory", "1")
        listed = [json.loads(line) for line in self.run_tool("sstable", "list", out, "--json").stdout.splitlines()]
        self.assertEqual({one["table"] for one in listed}, {"t.offline"})
        self.run_tool("sstable", "verify", out)
        self.assertIn("t.offline", self.run_tool("sstable", "describe", out).stdout)
        with Line(self.node.line) as line:
            # Columns in another order, and one more column.
            line.do("CREATE TABLE t.offline (later int, shared text STATIC, w double, p int, c timestamp, tags set<text>, v text, "
                    "PRIMARY KEY (p, c)) WITH CLUSTERING ORDER BY (c DESC)")
            line.do("INSERT INTO t.offline (p, c, v) VALUES (1, '2030-01-01', 'before')")
        answer = self.admin_import("t.offline", out)
        self.assertEqual(answer["files"], len(listed))
        self.assertEqual(answer["rows"], sum(one["rows"] for one in listed))
        session = self.driver()

        def check():
            self.assertEqual(session.execute("SELECT count(*) FROM t.offline").one()[0], 3001)
            got = list(session.execute("SELECT c, v, w, tags, shared, later FROM t.offline WHERE p = 7"))
            self.assertEqual(len(got), 60)
            self.assertEqual([row.v for row in got], [f"v, {i}" for i in range(2957, 0, -50)])
            self.assertEqual({row.w * 4 for row in got}, set(range(7, 3000, 50)))
            self.assertEqual(set(got[0].tags), {"a", "b"})
            self.assertEqual({(row.shared, row.later) for row in got}, {("s7", None)})

        check()
        # The import left the directory as it was, and the node does not need it any more.
        shutil.rmtree(out)
        self.node.kill()
        self.node.start()
        session = self.driver()
        check()

    def test_import_refuses(self):
        out = self.offline("refused", "id,v\n1,1\n2,2\n", "CREATE TABLE t.refused (id int PRIMARY KEY, v int);")
        with Line(self.node.line) as line:
            line.do("CREATE TABLE t.refused (id int PRIMARY KEY, v text)")
            line.do("CREATE TABLE t.other (id int PRIMARY KEY, v int)")
        self.assertIn("v is a regular column of type int", self.admin_import("t.refused", out, status=1))
        self.assertIn("does not fit t.other", self.admin_import("t.other", out, status=1))
        self.assertIn("no table t.none", self.admin_import("t.none", out, status=1))
        with Line(self.node.line) as line:
            line.do("DROP TABLE t.refused")
            line.do("CREATE TABLE t.refused (id int PRIMARY KEY, v int)")
        content = bytearray((out / "1.sst").read_bytes())
        content[20] ^= 1
        (out / "1.sst").write_bytes(content)
        self.assertIn("1.sst is damaged", self.admin_import("t.refused", out, status=1))
        self.assertIn("is not complete", self.unfinished_import(out))
        with Line(self.node.line) as line:
            self.assertEqual(line.rows("SELECT count(*) FROM t.refused"), [[0]])

    def unfinished_import(self, out):
        (out / "LOADING").write_text("")
        return self.admin_import("t.refused", out, status=1)

    def test_placed_by_hand(self):
        node = Node().start()
        self.addCleanup(node.close)
        out = node.work / "out"
        (node.work / "a.csv").write_text("b,id,a\nx,1,2\ny,2,3\n")
        self.run_tool("load", node.work / "a.csv", "--into", "k.t", "--to-sstables", out, "--create", "--key", "id")
        for statement in (out / "schema.cql").read_text().split(";"):
            if statement.strip():
                with Line(node.line) as line:
                    line.do(" ".join(statement.split()))
        self.assertEqual(node.stop(), 0)
        directory = next((node.data / "data" / "k").glob("t-*"))
        shutil.copytree(out, directory, dirs_exist_ok=True)
        node.start()
        with Line(node.line) as line:
            self.assertEqual(line.rows("SELECT id, a, b FROM k.t WHERE id = 2"), [[2, 3, "y"]])
            self.assertEqual(line.rows("SELECT count(*) FROM k.t"), [[2]])

    def test_killed_load_to_sstables(self):
        rows = 40000
        source, script, out = (self.node.work / name for name in ("killed.csv", "killed.cql", "killed.out"))
        source.write_text("id,v\n" + "".join(f"{i},value {i}\n" for i in range(rows)))
        script.write_text("CREATE TABLE t.killed (id int PRIMARY KEY, v text);")
        arguments = ["load", source, "--into", "t.killed", "--to-sstables", out, "--schema", script, "--sort-memory", "1", "--json"]
        process = subprocess.Popen([str(node.BINARY), *map(str, arguments)], stdout=subprocess.DEVNULL)
        while process.poll() is None and not (out / "2.sst").exists():
            time.sleep(0.002)
        process.kill()
        process.wait()
        if (out / "LOADING").exists():
            numbers = json.loads(self.run_tool(*arguments).stdout)
            self.assertEqual(numbers["refused"], 0)
            self.assertEqual(numbers["rows"] + numbers["resumed"], rows)
        with Line(self.node.line) as line:
            line.do("CREATE TABLE t.killed (id int PRIMARY KEY, v text)")
        self.admin_import("t.killed", out)
        with Line(self.node.line) as line:
            self.assertEqual(line.rows("SELECT count(*) FROM t.killed"), [[rows]])

    def test_load_counters(self):
        with Line(self.node.line) as line:
            line.do("CREATE TABLE t.counts (p int, c text, n counter, m counter, PRIMARY KEY (p, c))")
        source = self.node.work / "counts.csv"
        source.write_text("m,c,n,p\n" + "".join(f"{i},k{i % 3},1,{i % 10}\n" for i in range(3000)) + "1,k0,x,1\n,k0,-7,0\n")
        run = self.run_tool("load", source, "--into", "t.counts", *self.address(), "--json", status=1)
        numbers = json.loads(run.stdout)
        self.assertEqual((numbers["rows"], numbers["refused"], numbers["unknown"]), (3001, 1, 0))
        session = self.driver()
        got = {(row.p, row.c): (row.n, row.m) for row in session.execute("SELECT * FROM t.counts")}
        self.assertEqual(len(got), 30)
        self.assertEqual(sum(n for n, _ in got.values()), 3000 - 7)
        self.assertEqual(sum(m for _, m in got.values()), sum(range(3000)))
        self.assertEqual(got[0, "k0"][0], 100 - 7)

    def test_killed_load_of_counters(self):
        rows = 30000
        with Line(self.node.line) as line:
            line.do("CREATE TABLE t.once (id int PRIMARY KEY, n counter)")
        source = self.node.work / "once.csv"
        source.write_text("id,n\n" + "".join(f"{i},1\n" for i in range(rows)))
        arguments = ["load", source, "--into", "t.once", *self.address(), "--json", "--in-flight", "32"]
        process = subprocess.Popen([str(node.BINARY), *map(str, arguments)], stdout=subprocess.DEVNULL)
        with Line(self.node.line) as line:
            while process.poll() is None and not line.rows("SELECT n FROM t.once WHERE id = 2000"):
                time.sleep(0.002)
        process.kill()
        process.wait()
        self.assertTrue(Path(str(source) + ".auspex-load").exists(), "the load ended before it was killed")
        numbers = json.loads(self.run_tool(*arguments, status=1).stdout)
        self.assertGreater(numbers["unknown"], 0)
        self.assertEqual(numbers["rows"] + numbers["resumed"] + numbers["unknown"], rows)
        doubtful = {int(line.split("\t")[2].split(",")[0]) for line in Path(str(source) + ".rejected").read_text().splitlines()}
        self.assertEqual(len(doubtful), numbers["unknown"])
        session = self.driver()
        got = {row.id: row.n for row in session.execute("SELECT id, n FROM t.once")}
        self.assertEqual({n for n in got.values()}, {1})
        self.assertGreaterEqual(set(got), set(range(rows)) - doubtful)

    def test_copy_counters(self):
        with Line(self.node.line) as line:
            line.do("CREATE TABLE t.tally (a text, b int, n counter, m counter, PRIMARY KEY (a, b))")
            line.do("UPDATE t.tally SET n = n + 5, m = m - 2 WHERE a = 'x, y' AND b = 1")
            line.do("UPDATE t.tally SET n = n + 1 WHERE a = 'z' AND b = 2")
        target = self.node.work / "tally.csv"
        self.run_tool("shell", *self.address(), "-e", f"COPY t.tally TO '{target}' WITH HEADER = true")
        self.assertEqual(sorted(target.read_text().split()), sorted("a,b,m,n \"x, y\",1,-2,5 z,2,,1".split()))
        self.run_tool("shell", *self.address(), "-e", f"COPY t.tally FROM '{target}' WITH HEADER = true")
        with Line(self.node.line) as line:
            self.assertEqual(sorted(line.rows("SELECT a, b, n, m FROM t.tally")), [["x, y", 1, 10, -4], ["z", 2, 2, None]])

    def test_stress(self):
        run = self.run_tool("stress", "write", *self.address(), "--rows", "2000", "--connections", "2", "--in-flight", "16", "--json")
        numbers = json.loads(run.stdout.strip().split("\n")[-1])
        self.assertEqual(numbers["errors"], 0)
        self.assertGreaterEqual(numbers["operations"], 2000)
        run = self.run_tool("stress", "conditional", *self.address(), "--rows", "500", "--connections", "2", "--in-flight", "16", "--json")
        numbers = json.loads(run.stdout.strip().split("\n")[-1])
        self.assertEqual((numbers["errors"], numbers["missing"]), (0, 0))

    def test_a_snapshot_outlives_truncate_and_drop(self):
        http = "--host", "127.0.0.1", "--port", str(self.node.http)

        def listed():
            return {(one["name"], one["table"]): one["directory"]
                    for one in json.loads(self.run_tool("admin", "listsnapshots", *http, "--json").stdout)}

        with Line(self.node.line) as line:
            line.do("CREATE TABLE t.kept (id int PRIMARY KEY, v text)")
            for number in range(20):
                line.do(f"INSERT INTO t.kept (id, v) VALUES ({number}, 'value')")
            self.run_tool("admin", "snapshot", "keyspace=t", "table=kept", "name=before", *http)
            line.do("TRUNCATE t.kept")
            self.assertEqual(line.rows("SELECT count(*) FROM t.kept"), [[0]])
            directory = listed()["before", "kept"]
            self.run_tool("admin", "import", "t.kept", directory, *http)
            self.assertEqual(line.rows("SELECT count(*) FROM t.kept"), [[20]])
            self.run_tool("admin", "snapshot", "keyspace=t", "table=kept", "name=after", *http)
            line.do("DROP TABLE t.kept")
            self.assertEqual({name for name, table in listed() if table == "kept"}, {"before", "after"})
            self.run_tool("admin", "clearsnapshot", "keyspace=t", "table=kept", *http)
            self.assertFalse([table for _, table in listed() if table == "kept"])
            self.assertFalse(Path(directory).parent.parent.exists())

    def test_admin(self):
        http = "--host", "127.0.0.1", "--port", str(self.node.http)
        json.loads(self.run_tool("admin", "status", *http, "--json").stdout)
        json.loads(self.run_tool("admin", "info", *http, "--json").stdout)
        self.run_tool("admin", "flush", *http)
        with Line(self.node.line) as line:
            line.do("CREATE TABLE t.counted (id int PRIMARY KEY)")
            line.do("INSERT INTO t.counted (id) VALUES (1)")
        self.assertIn("counted", self.run_tool("admin", "tablestats", *http).stdout)

    def test_help_everywhere(self):
        for command in ("server", "shell", "load", "sstable", "admin", "stress"):
            self.assertIn("USAGE", self.run_tool(command, "--help").stdout.upper())
        self.run_tool("no-such-command", status=64)
