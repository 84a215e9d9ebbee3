"""`auspex sstable` on the files of a stopped node, and how a node reacts to a damaged sstable."""
import json
import unittest

from node import Line, Node, tool


class SSTableTest(unittest.TestCase):
    def setUp(self):
        self.node = Node().start()
        self.addCleanup(self.node.close)
        with Line(self.node.line) as line:
            line.do("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
            line.do("CREATE TABLE k.t (p int, c int, v text, PRIMARY KEY (p, c))")
        self.write("v")
        with Line(self.node.line) as line:
            line.do("DELETE FROM k.t WHERE p = 1")
        flushed = tool("admin", "flush", "--port", self.node.http)
        self.assertEqual(flushed.returncode, 0, flushed.stderr)
        self.write("w", first=100)
        self.assertEqual(self.node.stop(), 0)

    def write(self, prefix, first=0):
        with Line(self.node.line) as line:
            line.send(*(f"INSERT INTO k.t (p, c, v) VALUES ({i % 5}, {i}, '{prefix}{i}')" for i in range(first, first + 100)))
            for _ in range(100):
                self.assertTrue(line.answer()[-1].startswith("."))

    def sstable(self, command, *arguments, status=0):
        run = tool("sstable", command, self.node.data, *arguments)
        self.assertEqual(run.returncode, status, f"{command}: {run.stdout[-1000:]}\n{run.stderr[-1000:]}")
        return run.stdout

    def files(self):
        return sorted(self.node.data.rglob("*.sst"))

    def test_list_dump_verify_compact(self):
        listed = [json.loads(line) for line in self.sstable("list", "--json").splitlines()]
        self.assertEqual([(one["table"], one["rows"]) for one in listed], [("k.t", 100), ("k.t", 100)])
        dumped = [json.loads(line) for line in self.sstable("dump").splitlines()]
        self.assertEqual(sum("range_tombstone" in row for row in dumped), 1)
        self.assertEqual({row["clustering"]["c"] for row in dumped if "clustering" in row}, set(range(200)))
        self.sstable("verify")
        self.sstable("compact")
        self.assertEqual(len(self.files()), 1)
        self.sstable("verify")
        self.node.start()
        with Line(self.node.line) as line:
            self.assertEqual(line.rows("SELECT count(*) FROM k.t"), [[180]])
            self.assertEqual(line.rows("SELECT count(*) FROM k.t WHERE p = 1"), [[20]])

    def test_a_flipped_byte_is_told_and_never_served(self):
        damaged = self.files()[0]
        content = bytearray(damaged.read_bytes())
        content[40] ^= 0x10
        damaged.write_bytes(content)
        self.assertIn(damaged.name, self.sstable("verify", status=1))
        try:
            self.node.start()
        except AssertionError as refused:
            self.assertIn(damaged.name, str(refused))
            return
        with Line(self.node.line) as line:
            answer = line.ask("SELECT * FROM k.t")
            self.assertTrue(answer[-1].startswith("!"), answer[-3:])
            self.assertIn(damaged.name, answer[-1] + self.node.log())
            self.assertEqual(line.rows("SELECT key FROM system.local"), [["local"]])
