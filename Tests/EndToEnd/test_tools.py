"""The binary's own commands against a node: shell, load, stress, admin, sstable."""
import json
import unittest

from node import FLIGHTS, SAMPLES, Line, Node, tool

FLIGHT_COLUMNS = (
    "year int, month int, day int, dep_time int, sched_dep_time int, dep_delay double, arr_time int, sched_arr_time int, arr_delay double, "
    "carrier text, flight int, tailnum text, origin text, dest text, air_time double, distance double, hour int, minute int, "
    "time_hour timestamp, PRIMARY KEY ((year, month, day), carrier, flight, origin, sched_dep_time)")


class ToolsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The whole table of flights is read by a binary that was not optimized.
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

    @unittest.skipUnless((FLIGHTS / "flights.csv.xz").exists(), "the flights are not at hand")
    def test_load_flights(self):
        with Line(self.node.line) as line:
            line.do(f"CREATE TABLE t.flights ({FLIGHT_COLUMNS})")
        self.run_tool("load", FLIGHTS / "flights.csv.xz", "--into", "t.flights", "--null", "NA", *self.address())
        with Line(self.node.line) as line:
            self.assertEqual(line.rows("SELECT count(*) FROM t.flights"), [[336776]])
            self.assertEqual(line.rows("SELECT count(*) FROM t.flights WHERE year = 2013 AND month = 1 AND day = 1"), [[842]])
            self.assertEqual(
                line.rows("SELECT count(dep_time), min(dep_delay), max(dep_delay) FROM t.flights"), [[328521, -43.0, 1301.0]])

    def test_stress(self):
        run = self.run_tool("stress", "write", *self.address(), "--rows", "2000", "--connections", "2", "--in-flight", "16", "--json")
        numbers = json.loads(run.stdout.strip().split("\n")[-1])
        self.assertEqual(numbers["errors"], 0)
        self.assertGreaterEqual(numbers["operations"], 2000)

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
