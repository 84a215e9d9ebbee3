"""cqlsh from PyPI, used as a person would use it."""
import subprocess
import sys
import unittest
from pathlib import Path

from node import SAMPLES, Node


class CqlshTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node().start()
        cls.cqlsh(
            "CREATE KEYSPACE demo WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}; "
            "CREATE TABLE demo.lighthouses (country text, name text, height_m int, first_lit int, range_nm double, "
            "PRIMARY KEY (country, name)) WITH CLUSTERING ORDER BY (name ASC) AND comment = 'by country'")

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    @classmethod
    def cqlsh(cls, statements, check=True):
        run = subprocess.run(
            [str(Path(sys.executable).parent / "cqlsh"), "127.0.0.1", str(cls.node.native), "--no-color", "--request-timeout=60",
             "--connect-timeout=30", "-e", statements],
            capture_output=True, text=True, timeout=180)
        if check:
            assert run.returncode == 0 and not run.stderr.strip(), f"{statements}: {run.returncode}\n{run.stdout}\n{run.stderr}"
        return run

    def test_no_warning_about_the_release(self):
        output = self.cqlsh("SELECT cluster_name FROM system.local")
        self.assertNotIn("WARNING", output.stdout + output.stderr)
        self.assertIn("(1 rows)", output.stdout)

    def test_describe(self):
        self.assertIn("demo", self.cqlsh("DESCRIBE KEYSPACES").stdout)
        self.assertIn("lighthouses", self.cqlsh("DESCRIBE TABLES").stdout)
        table = self.cqlsh("DESCRIBE TABLE demo.lighthouses").stdout
        self.assertIn("CREATE TABLE demo.lighthouses (", table)
        self.assertIn("PRIMARY KEY (country, name)", table)
        self.assertIn("AND comment = 'by country'", table)
        self.assertIn("Murmur3Partitioner", self.cqlsh("DESCRIBE CLUSTER").stdout)
        self.assertIn("CREATE KEYSPACE demo", self.cqlsh("DESCRIBE SCHEMA").stdout)
        self.assertIn("system_schema", self.cqlsh("DESCRIBE FULL SCHEMA").stdout)
        # The output of DESCRIBE recreates the table.
        again = table.replace("demo.lighthouses", "demo.again").strip().rstrip(";")
        self.cqlsh(again)
        self.assertEqual(self.cqlsh("DESCRIBE TABLE demo.again").stdout.replace("demo.again", "demo.lighthouses"), table)

    def test_copy_from_and_to(self):
        sample = SAMPLES / "lighthouses.csv"
        output = self.cqlsh(
            f"COPY demo.lighthouses (country, name, height_m, first_lit, range_nm) FROM '{sample}' WITH HEADER = true AND ESCAPE = '\"'", check=False)
        self.assertIn("20 rows imported", output.stdout, output.stderr)
        rows = self.cqlsh("SELECT name, height_m FROM demo.lighthouses WHERE country = 'France'").stdout
        self.assertIn("Kéréon", rows)
        self.assertIn("(5 rows)", rows)
        copy = self.node.work / "copy.csv"
        output = self.cqlsh(
            f"COPY demo.lighthouses (country, name, height_m, first_lit, range_nm) TO '{copy}' WITH HEADER = true AND ESCAPE = '\"'", check=False)
        self.assertIn("20 rows exported", output.stdout, output.stderr)
        import csv
        with open(sample, encoding="utf-8", newline="") as left, open(copy, encoding="utf-8", newline="") as right:
            def normal(rows):
                return sorted([row[:4] + [str(float(row[4])) if row[4] else ""] for row in rows])
            original, exported = list(csv.reader(left)), list(csv.reader(right))
            self.assertEqual(original[0], exported[0])
            self.assertEqual(normal(original[1:]), normal(exported[1:]))

    def test_tracing(self):
        output = self.cqlsh("TRACING ON; SELECT * FROM demo.lighthouses LIMIT 1").stdout
        self.assertIn("Tracing session:", output)
        self.assertIn("Request complete", output)

    def test_errors_reach_the_person(self):
        run = self.cqlsh("SELECT * FROM demo.nothing", check=False)
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("nothing", run.stderr)

    def test_counters_and_collections_print(self):
        self.cqlsh("CREATE TABLE demo.hits (page text PRIMARY KEY, n counter)")
        self.cqlsh("UPDATE demo.hits SET n = n + 3 WHERE page = 'home'")
        self.assertRegex(self.cqlsh("SELECT * FROM demo.hits").stdout, r"home \| 3")
        self.cqlsh("CREATE TABLE demo.bag (id int PRIMARY KEY, s set<text>, m map<text, int>, l list<double>)")
        self.cqlsh("INSERT INTO demo.bag (id, s, m, l) VALUES (1, {'b', 'a'}, {'x': 1}, [1.5])")
        self.assertRegex(self.cqlsh("SELECT id, s, m, l FROM demo.bag").stdout, r"1 \| \{'a', 'b'\} \| \{'x': 1\} \| \[1\.5\]")
