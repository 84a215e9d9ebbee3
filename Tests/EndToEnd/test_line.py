"""The line protocol over a socket, invalid configuration, and the lifecycle of a node."""
import json
import signal
import socket
import subprocess
import threading
import unittest
import urllib.request

import node
from node import Line, Node


class LineTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node().start()
        with Line(cls.node.line) as line:
            line.do("CREATE KEYSPACE l WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
            line.do("CREATE TABLE l.t (p int, c int, v text, PRIMARY KEY (p, c));")

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def test_answers(self):
        with Line(self.node.line) as line:
            self.assertTrue(line.do("INSERT INTO l.t (p, c, v) VALUES (1, 1, 'one')")[-1].startswith(". "))
            lines = line.do("SELECT p, c, v FROM l.t WHERE p = 1")
            self.assertEqual(json.loads(lines[0][2:]), [
                {"name": "p", "type": "int"}, {"name": "c", "type": "int"}, {"name": "v", "type": "text"}])
            self.assertEqual(json.loads(lines[1][2:]), [1, 1, "one"])
            self.assertRegex(lines[-1], r"^\. 1 row in [0-9.]+ ms$")

    def test_errors_keep_the_connection(self):
        with Line(self.node.line) as line:
            self.assertRegex(line.ask("SELECT * FROM l.nothing")[-1], r"^! 2200 Invalid: ")
            self.assertRegex(line.ask("SELEC")[-1], r"^! 2000 SyntaxError: ")
            self.assertEqual(line.rows("SELECT key FROM system.local"), [["local"]])

    def test_pipelined_answers_come_in_order(self):
        with Line(self.node.line) as line:
            count = 500
            line.send(*(f"INSERT INTO l.t (p, c, v) VALUES (2, {i}, 'v{i}')" for i in range(count)))
            for _ in range(count):
                self.assertTrue(line.answer()[-1].startswith("."))
            line.send(*(f"SELECT v FROM l.t WHERE p = 2 AND c = {i}" for i in range(count)))
            for i in range(count):
                self.assertEqual(json.loads(line.answer()[1][2:]), [f"v{i}"])

    def test_pages_and_formats(self):
        with Line(self.node.line) as line:
            for i in range(5):
                line.do(f"INSERT INTO l.t (p, c) VALUES (3, {i})")
            line.do("\\page 2")
            first = line.do("SELECT c FROM l.t WHERE p = 3")
            self.assertTrue(any(text.startswith(">") for text in first), first)
            self.assertEqual([json.loads(t[2:]) for t in first if t.startswith("R ")], [[0], [1]])
            self.assertEqual(line.rows("\\next"), [[2], [3]])
            self.assertEqual(line.rows("\\next"), [[4]])
            line.do("\\format object")
            self.assertEqual(line.rows("SELECT c, v FROM l.t WHERE p = 3 AND c = 1"), [{"c": 1, "v": None}])
            line.do("\\format tsv")
            self.assertIn("R 1\t\\N", line.do("SELECT c, v FROM l.t WHERE p = 3 AND c = 1"))

    def test_prepared(self):
        with Line(self.node.line) as line:
            line.do("\\prepare put INSERT INTO l.t (p, c, v) VALUES (4, ?, ?)")
            line.do('\\execute put [7, "seven"]')
            self.assertEqual(line.rows("SELECT c, v FROM l.t WHERE p = 4"), [[7, "seven"]])

    def test_conditional(self):
        with Line(self.node.line) as line:
            line.do("INSERT INTO l.t (p, c) VALUES (5, 1) IF NOT EXISTS")
            again = line.do("INSERT INTO l.t (p, c, v) VALUES (5, 1, 'x') IF NOT EXISTS")
            self.assertTrue(again[-1].startswith(". not applied"), again)

    def test_rubbish_and_long_lines(self):
        with socket.create_connection(("127.0.0.1", self.node.line), timeout=30) as raw:
            raw.sendall(b"\xff\xfe\x00\x01\n" + b"SELECT key FROM system.local\r\n")
            file = raw.makefile("rb")
            self.assertTrue(file.readline().startswith(b"!"))
            rest = [file.readline() for _ in range(3)]
            self.assertTrue(rest[1].startswith(b"R "), rest)
        with socket.create_connection(("127.0.0.1", self.node.line), timeout=30) as raw:
            try:
                raw.sendall(b"x" * (4 << 20) + b"\n")
                self.assertIn(raw.makefile("rb").readline()[:1], (b"!", b""))
            except (BrokenPipeError, ConnectionResetError):
                pass
        with Line(self.node.line) as line:
            self.assertEqual(line.rows("SELECT key FROM system.local"), [["local"]])

    def test_malformed_native_frames(self):
        for rubbish in (b"\x00" * 64, b"GET / HTTP/1.1\r\n\r\n", b"\x05\x00\x00\x00\x01\x7f\xff\xff\xff", bytes(range(256)) * 40,
                        b"\x04\x00\x00\x00\x07\x00\x00\x00\x04\xff\xff\xff\xff"):
            with socket.create_connection(("127.0.0.1", self.node.native), timeout=30) as raw:
                raw.sendall(rubbish)
                raw.shutdown(socket.SHUT_WR)
                try:
                    while raw.recv(4096):
                        pass
                except ConnectionResetError:
                    pass
        # Before STARTUP, an oversized frame is refused at its header and the connection is closed.
        with socket.create_connection(("127.0.0.1", self.node.native), timeout=30) as raw:
            raw.sendall(b"\x04\x00\x00\x02\x07\x0c\x80\x00\x00")
            answer = b""
            while piece := raw.recv(4096):
                answer += piece
            self.assertIn(b"Request is too big: length 209715200 exceeds maximum allowed length 16777216", answer)
        with Line(self.node.line) as line:
            self.assertEqual(line.rows("SELECT key FROM system.local"), [["local"]])

    def test_health_and_metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.node.http}/health", timeout=10) as answer:
            self.assertEqual(answer.status, 200)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.node.http}/metrics", timeout=10) as answer:
            self.assertIn("# TYPE", answer.read().decode())


class ConcurrencyTest(unittest.TestCase):
    """Several clients that change the same row."""
    CLIENTS = 4

    @classmethod
    def setUpClass(cls):
        cls.node = Node().start()
        with Line(cls.node.line) as line:
            line.do("CREATE KEYSPACE c WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
            line.do("CREATE TABLE c.n (id int PRIMARY KEY, n counter)")
            line.do("CREATE TABLE c.r (id int PRIMARY KEY, v int)")

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def together(self, work):
        """Runs work(number, line) on several connections in parallel and returns the results."""
        results, failures = [None] * self.CLIENTS, []

        def run(number):
            try:
                with Line(self.node.line) as line:
                    results[number] = work(number, line)
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(self.CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        return results

    def applied(self, line, statement):
        last = line.do(statement)[-1]
        self.assertRegex(last, r"^\. (not )?applied")
        return last.startswith(". applied")

    def test_counters_add_up(self):
        def count(_, line):
            line.send(*["UPDATE c.n SET n = n + 1 WHERE id = 1"] * 250)
            for _ in range(250):
                self.assertTrue(line.answer()[-1].startswith("."))

        self.together(count)
        with Line(self.node.line) as line:
            self.assertEqual(line.rows("SELECT n FROM c.n"), [[250 * self.CLIENTS]])

    def test_of_conditional_inserts_one_wins(self):
        def insert(number, line):
            return [self.applied(line, f"INSERT INTO c.r (id, v) VALUES ({id}, {number}) IF NOT EXISTS") for id in range(100, 200)]

        wins = self.together(insert)
        for index in range(100):
            self.assertEqual(sum(client[index] for client in wins), 1, index)
        with Line(self.node.line) as line:
            found = dict(line.rows("SELECT id, v FROM c.r WHERE id > 0 ALLOW FILTERING"))
        for index in range(100):
            self.assertTrue(wins[found[100 + index]][index], index)

    def test_compare_and_set_loses_nothing(self):
        with Line(self.node.line) as line:
            line.do("INSERT INTO c.r (id, v) VALUES (1, 0)")

        def increase(_, line):
            applied = 0
            for _ in range(60):
                old = line.rows("SELECT v FROM c.r WHERE id = 1")[0][0]
                applied += self.applied(line, f"UPDATE c.r SET v = {old + 1} WHERE id = 1 IF v = {old}")
            return applied

        applied = sum(self.together(increase))
        self.assertGreaterEqual(applied, 60)
        with Line(self.node.line) as line:
            self.assertEqual(line.rows("SELECT v FROM c.r WHERE id = 1"), [[applied]])


class LifeTest(unittest.TestCase):
    def setUp(self):
        self.node = Node()
        self.addCleanup(self.node.close)

    def test_a_drained_stop_keeps_everything(self):
        self.node.start()
        with Line(self.node.line) as line:
            line.do("CREATE KEYSPACE s WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
            line.do("CREATE TABLE s.t (id int PRIMARY KEY, v text)")
            line.do("INSERT INTO s.t (id, v) VALUES (1, 'kept')")
        self.assertEqual(self.node.stop(), 0)
        self.node.start()
        with Line(self.node.line) as line:
            self.assertEqual(line.rows("SELECT v FROM s.t"), [["kept"]])
            line.do("DROP TABLE s.t")
            line.do("CREATE TABLE s.t (id int PRIMARY KEY, v text)")
            self.assertEqual(line.rows("SELECT v FROM s.t"), [])
        self.node.process.send_signal(signal.SIGINT)
        self.assertEqual(self.node.process.wait(60), 0)

    def test_a_second_server_is_refused(self):
        self.node.start()
        other = Node(data=self.node.data)
        self.addCleanup(other.close)
        with self.assertRaisesRegex(AssertionError, str(self.node.process.pid)):
            other.start()

    def test_unknown_configuration(self):
        run = subprocess.run([str(node.BINARY), "server", "--set", "chache_space=1MiB"], capture_output=True, text=True, timeout=60)
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("did you mean 'cache_space'", run.stderr)
        run = subprocess.run([str(node.BINARY), "server", "--no-such-option"], capture_output=True, text=True, timeout=60)
        self.assertEqual(run.returncode, 64)
