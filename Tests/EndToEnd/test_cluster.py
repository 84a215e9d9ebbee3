"""Clusters of real processes on 127.0.0.1, 127.0.0.2, ...: availability, membership, hints, batches, repair."""
import csv
import json
import lzma
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest
import urllib.request
from pathlib import Path

from cassandra import ConsistencyLevel, OperationTimedOut, ReadTimeout, Unavailable, WriteTimeout
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import DCAwareRoundRobinPolicy, RoundRobinPolicy, TokenAwarePolicy, WhiteListRoundRobinPolicy
from cassandra.query import SimpleStatement

import node
from test_tools import FLIGHT_COLUMNS


def free_ports(count):
    """Returns ports that are currently free on all loopback addresses."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("0.0.0.0", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Ring:
    """Nodes with the same ports on different loopback addresses."""

    def __init__(self, *settings):
        self.native, self.line, self.internode, self.http = free_ports(4)
        self.settings = settings
        self.nodes = {}

    def node(self, number, *settings):
        address = f"127.0.0.{number}"
        arguments = ["--listen-address", address, "--native-port", str(self.native), "--line-port", str(self.line),
                     "--internode-port", str(self.internode), "--http-port", str(self.http), "--seeds", f"127.0.0.1:{self.internode}"]
        for setting in (f"http_address={address}", "phi_convict_threshold=5", *self.settings, *settings):
            arguments += ["--set", setting]
        return node.Node(*arguments)

    def start(self, *numbers, settings=()):
        for number in numbers:
            if number not in self.nodes:
                self.nodes[number] = self.node(number, *settings)
            self.nodes[number].start(timeout=120)

    def kill(self, number):
        self.nodes[number].kill()

    def admin(self, number, *words):
        run = node.tool("admin", *words, "--host", f"127.0.0.{number}", "--port", self.http, "--json")
        assert run.returncode == 0, f"{words}: {run.stdout} {run.stderr}\n{self.log(number)}"
        return json.loads(run.stdout)

    def states(self, number):
        """Returns the state of every member (`UN`, `DN`, ...) by address, as seen by one node."""
        return {member["address"]: member["status"] for member in self.admin(number, "status")["nodes"]}

    def wait_for(self, number, expected, timeout=60):
        deadline = time.monotonic() + timeout
        while self.states(number) != expected:
            if time.monotonic() > deadline:
                raise AssertionError(f"node {number} sees {self.states(number)}, not {expected}\n{self.log(number)}")
            time.sleep(0.1)

    def host_id(self, number):
        return self.admin(number, "info")["host_id"]

    def ask(self, number):
        connection = node.Line.__new__(node.Line)
        connection.socket = socket.create_connection((f"127.0.0.{number}", self.line), timeout=60)
        connection.file = connection.socket.makefile("rb")
        return connection

    def log(self, number):
        return self.nodes[number].log()

    def driver(self, *numbers, consistency=ConsistencyLevel.QUORUM, policy=None):
        profile = ExecutionProfile(load_balancing_policy=policy or RoundRobinPolicy(), consistency_level=consistency, request_timeout=20)
        cluster = Cluster([f"127.0.0.{number}" for number in numbers], port=self.native, protocol_version=5,
                          execution_profiles={EXEC_PROFILE_DEFAULT: profile})
        return cluster, cluster.connect()

    def close(self):
        for one in self.nodes.values():
            one.close()


class Churn:
    """Runs a statement repeatedly in a thread, through any node, and records errors."""

    def __init__(self, step):
        self.step, self.done, self.errors, self.stopping = step, 0, [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping:
            try:
                self.step(self.done)
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
            self.done += 1

    def stop(self):
        self.stopping = True
        self.thread.join(60)


class Load:
    """Inserts rows from several threads and records which were acknowledged."""

    def __init__(self, session, table="k.t", threads=4):
        self.session = session
        self.insert = session.prepare(f"INSERT INTO {table} (a, b) VALUES (?, ?)")
        self.acknowledged = []
        self.errors = []
        self.stopping = False
        self.next = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.stopping:
            with self.lock:
                number = self.next
                self.next += 1
            try:
                self.session.execute(self.insert, (number, f"value {number}"))
                self.acknowledged.append(number)
            except (Unavailable, WriteTimeout, OperationTimedOut, NoHostAvailable, Exception) as error:
                self.errors.append(error)
                time.sleep(0.01)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()
        return self.acknowledged


class ClusterTest(unittest.TestCase):
    def setUp(self):
        self.ring = Ring()
        self.addCleanup(self.ring.close)

    def table(self, session, factor=3):
        session.execute(
            f"CREATE KEYSPACE k WITH replication = {{'class': 'NetworkTopologyStrategy', 'datacenter1': {factor}}}")
        session.execute("CREATE TABLE k.t (a int PRIMARY KEY, b text)")

    def assert_holds(self, session, numbers, consistency=ConsistencyLevel.QUORUM):
        statement = SimpleStatement("SELECT a, b FROM k.t", consistency_level=consistency, fetch_size=1000)
        found = {row.a: row.b for row in session.execute(statement, timeout=60)}
        missing = [number for number in numbers if found.get(number) != f"value {number}"]
        self.assertEqual(missing, [], f"{len(missing)} of {len(numbers)} acknowledged rows are not found")
        return found

    def held_by(self, number):
        """Returns the keys that one node holds: it reads at ONE, and the node is a replica of every row."""
        with self.ring.ask(number) as line:
            line.do("\\consistency ONE")
            return {row[0] for row in line.all_rows("SELECT a FROM k.t")}

    def assert_comes(self, number, expected, timeout=60):
        """Waits until hints have brought a node the rows it missed."""
        deadline = time.monotonic() + timeout
        while True:
            missing = set(expected) - self.held_by(number)
            if not missing:
                return
            if time.monotonic() > deadline:
                hints = {other: self.ring.admin(other, "listhints") for other, one in self.ring.nodes.items() if one.process}
                self.fail(f"{len(missing)} of {len(expected)} rows have not reached node {number}, such as {sorted(missing)[:20]}: "
                          f"{hints}\n{self.ring.log(number)}")
            time.sleep(0.2)

    def test_a_quorum_goes_on_and_hints_arrive(self):
        ring = self.ring
        ring.start(1, 2, 3)
        for number in (1, 2, 3):
            ring.wait_for(number, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "UN"})
        cluster, session = ring.driver(1, 2)
        self.addCleanup(cluster.shutdown)
        self.table(session)
        load = Load(session)
        self.addCleanup(load.stop)
        time.sleep(1)
        ring.kill(3)
        for number in (1, 2):
            ring.wait_for(number, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "DN"})
        before = len(load.acknowledged)
        time.sleep(2)
        self.assertGreater(len(load.acknowledged), before + 100, "writes at QUORUM stopped with one node dead")
        with self.assertRaises(Unavailable):
            session.execute(SimpleStatement("INSERT INTO k.t (a, b) VALUES (-1, 'x')", consistency_level=ConsistencyLevel.ALL))
        acknowledged = load.stop()
        self.assert_holds(session, acknowledged)
        session.execute("CREATE TABLE k.while_away (a int PRIMARY KEY)")
        ring.start(3)
        for number in (1, 2, 3):
            ring.wait_for(number, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "UN"})
        # The restarted node receives the table and the rows it missed.
        self.assert_comes(3, acknowledged)
        with ring.ask(3) as line:
            line.do("INSERT INTO k.while_away (a) VALUES (1)")
        session.execute(SimpleStatement("INSERT INTO k.t (a, b) VALUES (-1, 'x')", consistency_level=ConsistencyLevel.ALL))

    def test_what_only_hints_hold_survives_a_kill(self):
        ring = self.ring
        ring.start(1, 2, 3)
        for number in (1, 2, 3):
            ring.wait_for(number, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "UN"})
        cluster, session = ring.driver(1, policy=WhiteListRoundRobinPolicy(["127.0.0.1"]), consistency=ConsistencyLevel.ANY)
        self.addCleanup(cluster.shutdown)
        self.table(session, factor=1)
        ring.kill(2)
        ring.kill(3)
        ring.wait_for(1, {"127.0.0.1": "UN", "127.0.0.2": "DN", "127.0.0.3": "DN"})
        for number in range(60):
            session.execute("INSERT INTO k.t (a, b) VALUES (%s, %s)", (number, f"value {number}"))
        waiting = {hint["host_id"]: hint["bytes"] for hint in ring.admin(1, "listhints")}
        self.assertEqual(len(waiting), 2, waiting)
        # Kill immediately: only what had to be synced for the acknowledgement is on disk.
        ring.kill(1)
        ring.start(1, 2, 3)
        for number in (1, 2, 3):
            ring.wait_for(number, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "UN"})
        deadline = time.monotonic() + 60
        while True:
            found = set()
            with ring.ask(1) as line:
                line.do("\\consistency ONE")
                found = {row[0] for row in line.all_rows("SELECT a FROM k.t")}
            if found == set(range(60)):
                break
            self.assertLess(time.monotonic(), deadline, f"acknowledged rows {sorted(set(range(60)) - found)} are lost\n{ring.log(1)}")
            time.sleep(0.2)

    def test_a_sloppy_quorum_keeps_writes_for_those_that_are_down(self):
        ring = self.ring
        ring.start(1, 2, 3, 4)
        everybody = {f"127.0.0.{number}": "UN" for number in (1, 2, 3, 4)}
        for number in (1, 2, 3, 4):
            ring.wait_for(number, everybody)
        cluster, session = ring.driver(1, 2)
        self.addCleanup(cluster.shutdown)
        replication = "replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 3}"
        session.execute(f"CREATE KEYSPACE strict WITH {replication}")
        session.execute(f"CREATE KEYSPACE k WITH {replication} AND sloppy_quorum = true")
        for keyspace in ("strict", "k"):
            session.execute(f"CREATE TABLE {keyspace}.t (a int PRIMARY KEY, b text)")
        # Drivers accept the keyspace, and DESCRIBE recreates it.
        self.assertEqual(cluster.metadata.keyspaces["k"].replication_strategy.export_for_schema(),
                         cluster.metadata.keyspaces["strict"].replication_strategy.export_for_schema())
        described = session.execute("DESCRIBE KEYSPACE k").one().create_statement
        self.assertIn("AND sloppy_quorum = true", described)
        session.execute(described.replace("KEYSPACE k ", "KEYSPACE again "))
        self.assertEqual([row.sloppy_quorum for name in ("strict", "k", "again") for row in session.execute(
            f"SELECT sloppy_quorum FROM system_schema.keyspaces WHERE keyspace_name = '{name}'")], [False, True, True])
        for number in (3, 4):
            ring.kill(number)
        for number in (1, 2):
            ring.wait_for(number, everybody | {"127.0.0.3": "DN", "127.0.0.4": "DN"})
        insert = {keyspace: session.prepare(f"INSERT INTO {keyspace}.t (a, b) VALUES (?, ?)") for keyspace in ("strict", "k")}
        numbers = range(200)
        refused, kept = 0, []
        for number in numbers:
            try:
                session.execute(insert["strict"], (number, "x"))
            except Unavailable:
                refused += 1
            future = session.execute_async(insert["k"], (number, f"value {number}"))
            future.result()
            if any("sloppy_quorum" in text for text in future.warnings or []):
                kept.append(number)
        # For half of the rows, two of three replicas are down.
        self.assertEqual(len(kept), refused)
        self.assertTrue(60 < refused < 140, refused)
        with ring.ask(1) as line:
            line.do("\\consistency QUORUM")
            answers = [line.do(f"INSERT INTO k.t (a, b) VALUES ({number}, 'value {number}')") for number in range(200, 220)]
            more = [200 + place for place, answer in enumerate(answers) if answer[0].startswith("W ") and "sloppy_quorum" in answer[0]]
            self.assertTrue(more, answers)
            kept += more
            # Lightweight transactions stay strict.
            answers = [line.ask(f"UPDATE k.t SET b = 'x' WHERE a = {number} IF b = 'y'")[-1] for number in range(20)]
            self.assertTrue(any(answer.startswith("! 1000") for answer in answers), answers)
        # The nodes that store the hints may be killed as well.
        for number in (1, 2):
            ring.kill(number)
        ring.start(1, 2)
        ring.start(3, 4)
        for number in (1, 2, 3, 4):
            ring.wait_for(number, everybody)
        deadline = time.monotonic() + 90
        while waiting := [ring.admin(number, "listhints") for number in (1, 2)]:
            if not any(waiting):
                break
            self.assertLess(time.monotonic(), deadline, waiting)
            time.sleep(0.2)
        # Every write that was stored for a replica that was down is there. Other writes that nodes 3 and 4 missed may
        # have been unsynced hints, which died with nodes 1 and 2.
        for number in (1, 2):
            ring.kill(number)
        for number in (3, 4):
            ring.wait_for(number, everybody | {"127.0.0.1": "DN", "127.0.0.2": "DN"})
        with ring.ask(3) as line:
            line.do("\\consistency QUORUM")
            held = {number: line.rows(f"SELECT b FROM k.t WHERE a = {number}") for number in kept}
        self.assertEqual([number for number in kept if held[number] != [[f"value {number}"]]], [], f"of {len(kept)} writes stored as hints")

    def test_nodes_join_and_leave_under_load(self):
        ring = self.ring
        ring.start(1, 2, 3)
        cluster, session = ring.driver(1)
        self.addCleanup(cluster.shutdown)
        self.table(session)
        load = Load(session)
        self.addCleanup(load.stop)
        time.sleep(1)
        ring.start(4)
        ring.wait_for(1, {f"127.0.0.{number}": "UN" for number in (1, 2, 3, 4)})
        owned = {member["address"]: member["owns_percent"] for member in ring.admin(1, "status")["nodes"]}
        self.assertTrue(all(abs(share - 25) < 1 for share in owned.values()), owned)
        time.sleep(1)
        self.assert_holds(session, list(load.acknowledged))
        ring.admin(2, "decommission")
        ring.wait_for(1, {f"127.0.0.{number}": "UN" for number in (1, 3, 4)})
        time.sleep(1)
        acknowledged = load.stop()
        self.assertGreater(len(acknowledged), 500)
        self.assert_holds(session, acknowledged)
        # A new owner has what the previous owner had, which is enough for QUORUM. A repair brings the writes that the
        # previous owner missed.
        reports = ring.admin(1, "repair", "k")
        self.assertTrue(all(report["complete"] for report in reports), reports)
        for number in (1, 3, 4):
            self.assert_comes(number, acknowledged)
        unexpected = [error for error in load.errors if "Overloaded" not in repr(error) and "shutting down" not in repr(error)]
        self.assertLess(len(unexpected), 50, unexpected[:5])

    def test_a_dead_node_is_replaced_and_another_removed(self):
        ring = self.ring
        ring.start(1, 2, 3)
        cluster, session = ring.driver(1)
        self.addCleanup(cluster.shutdown)
        self.table(session)
        insert = session.prepare("INSERT INTO k.t (a, b) VALUES (?, ?)")
        numbers = list(range(2000))
        for number in numbers:
            session.execute(insert, (number, f"value {number}"))
        dead = ring.host_id(3)
        ring.kill(3)
        ring.wait_for(1, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "DN"})
        ring.start(4, settings=[f"replace_node={dead}"])
        ring.wait_for(1, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.4": "UN"})
        self.assert_holds(session, numbers)
        self.assertEqual(set(numbers) - self.held_by(4), set())
        dead = ring.host_id(4)
        ring.kill(4)
        ring.wait_for(1, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.4": "DN"})
        ring.admin(1, "removenode", dead)
        ring.wait_for(2, {"127.0.0.1": "UN", "127.0.0.2": "UN"})
        self.assert_holds(session, numbers)

    def test_a_repair_moves_what_is_missing(self):
        ring = self.ring
        ring.start(1, 2, 3, settings=["hinted_handoff_enabled=false"])
        cluster, session = ring.driver(1, 2)
        self.addCleanup(cluster.shutdown)
        self.table(session)
        insert = session.prepare("INSERT INTO k.t (a, b) VALUES (?, ?)")
        numbers = list(range(3000))
        # At QUORUM, node 3 may be killed before it has read the last of these writes from its connection.
        insert.consistency_level = ConsistencyLevel.ALL
        for number in numbers[:1000]:
            session.execute(insert, (number, f"value {number}"))
        insert.consistency_level = ConsistencyLevel.QUORUM
        ring.kill(3)
        ring.wait_for(1, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "DN"})
        for number in numbers[1000:]:
            session.execute(insert, (number, f"value {number}"))
        delete = session.prepare("DELETE FROM k.t WHERE a = ?")
        for number in numbers[:100]:
            session.execute(delete, (number,))
        ring.start(3)
        ring.wait_for(1, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "UN"})
        ring.wait_for(3, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "UN"})
        self.assertEqual(len(self.held_by(3)), 1000)
        preview = ring.admin(1, "repair", "k", "--preview")[0]
        self.assertEqual((preview["rows_to_send"], preview["failed"]), (2100, 0), preview)
        self.assertEqual(len(self.held_by(3)), 1000)
        report = ring.admin(1, "repair", "k")[0]
        self.assertEqual((report["rows_sent"], report["complete"]), (2100, True), report)
        self.assertEqual(report["bytes_sent"], preview["bytes_to_send"])
        self.assertEqual(self.held_by(3), set(numbers[100:]))
        again = ring.admin(3, "repair")[0]
        self.assertEqual((again["rows_sent"], again["complete"]), (0, True), again)

    @unittest.skipUnless((node.FLIGHTS / "flights.csv.xz").exists(), "the flights table is missing")
    def test_flights_load_while_one_dies_and_another_joins(self):
        rows = 60_000
        # A debug build counts slowly.
        ring = self.ring = Ring("range_request_timeout=120s", "slow_query_log_timeout=0s")
        self.addCleanup(ring.close)
        ring.start(1, 2, 3)
        with ring.ask(1) as line:
            line.do("CREATE KEYSPACE t WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}")
            line.do(f"CREATE TABLE t.flights ({FLIGHT_COLUMNS})")
        reject = ring.nodes[1].work / "rejected"
        # A debug build loads this many rows in about 15 s.
        part = ring.nodes[1].work / "flights.csv"
        with lzma.open(node.FLIGHTS / "flights.csv.xz", "rt") as lines, open(part, "w") as out:
            for line, _ in zip(lines, range(rows + 1)):
                out.write(line)
        load = subprocess.Popen(
            [str(node.BINARY), "load", str(part), "--into", "t.flights", "--null", "NA", "--consistency", "QUORUM",
             "--host", "127.0.0.1", "--port", str(ring.native), "--reject-file", str(reject)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ring.nodes[1].work)
        time.sleep(2)
        ring.kill(3)
        ring.start(4)
        output = load.communicate(timeout=600)[0]
        self.assertEqual(load.returncode, 0, output)
        ring.wait_for(1, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "DN", "127.0.0.4": "UN"})
        for number in (1, 2, 4):
            with ring.ask(number) as line:
                line.do("\\consistency QUORUM")
                self.assertEqual(line.rows("SELECT count(*) FROM t.flights"), [[rows]], f"node {number}")
        ring.start(3)
        ring.wait_for(1, {f"127.0.0.{number}": "UN" for number in (1, 2, 3, 4)})
        with ring.ask(3) as line:
            line.do("\\consistency QUORUM")
            self.assertEqual(line.rows("SELECT count(*) FROM t.flights"), [[rows]])
            with open(part) as lines:
                departed = [row["dep_time"] for row in csv.DictReader(lines) if row["dep_time"] != "NA"]
            self.assertEqual(line.rows("SELECT count(dep_time) FROM t.flights"), [[len(departed)]])

    def metric(self, number, name):
        with urllib.request.urlopen(f"http://127.0.0.{number}:{self.ring.http}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if line.split(" ")[0].endswith(name):
                    return int(line.split(" ")[1])
        self.fail(f"there is no metric {name}")

    def test_a_logged_batch_is_whole_when_a_node_is_killed(self):
        ring = self.ring
        ring.start(1, 2, 3)
        cluster, session = ring.driver(1, 2, 3, consistency=ConsistencyLevel.ONE)
        self.addCleanup(cluster.shutdown)
        # One replica per row, so that losing one node is most likely to tear a batch.
        self.table(session, factor=1)
        session.execute("CREATE TABLE k.u (a int PRIMARY KEY, b text)")
        batch = "BEGIN BATCH INSERT INTO k.t (a, b) VALUES (?, ?); INSERT INTO k.u (a, b) VALUES (?, ?); INSERT INTO k.u (a, b) VALUES (?, ?) APPLY BATCH"
        prepared = session.prepare(batch)
        lock = threading.Lock()
        begun, acknowledged, stopping = [], [], []

        def write():
            while not stopping:
                with lock:
                    number = len(begun)
                    begun.append(number)
                text = f"value {number}"
                try:
                    session.execute(prepared, (number, text, number + 1_000_000, text, number + 2_000_000, text))
                    acknowledged.append(number)
                except Exception:
                    time.sleep(0.01)

        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for killed in (3, 2):
            time.sleep(2)
            ring.kill(killed)
            time.sleep(2)
            ring.start(killed)
            ring.wait_for(1, {f"127.0.0.{number}": "UN" for number in (1, 2, 3)})
        time.sleep(1)
        stopping.append(True)
        for thread in threads:
            thread.join()
        self.assertGreater(len(acknowledged), 500)
        self.assertGreater(sum(self.metric(number, "batchlog_stored_total") for number in (1, 2, 3)), 500)

        def read(table):
            rows = session.execute(SimpleStatement(f"SELECT a FROM {table}", consistency_level=ConsistencyLevel.ALL, fetch_size=1000), timeout=60)
            return {row.a for row in rows}

        deadline = time.monotonic() + 90
        while True:
            first, others = read("k.t"), read("k.u")
            second = {number - 1_000_000 for number in others if number < 2_000_000}
            third = {number - 2_000_000 for number in others if number >= 2_000_000}
            if first == second == third:
                break
            self.assertLess(time.monotonic(), deadline, f"torn batches: {sorted(first ^ second | first ^ third)[:20]}")
            time.sleep(1)
        self.assertEqual([number for number in acknowledged if number not in first], [])
        # The nodes that hold the batchlog apply the batches that killed coordinators left unfinished.
        while any(self.metric(number, "batchlog_pending") for number in (1, 2, 3)):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(1)
        self.assertGreater(sum(self.metric(number, "batchlog_replayed_total") for number in (1, 2, 3)), 0)

    def test_a_table_is_emptied_under_load_and_stays_empty(self):
        ring = self.ring
        ring.start(1, 2, 3)
        for number in (1, 2, 3):
            ring.wait_for(number, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "UN"})
        cluster, session = ring.driver(1, 2, 3)
        self.addCleanup(cluster.shutdown)
        self.table(session)
        session.execute("CREATE TABLE k.counted (a int PRIMARY KEY, n counter)")
        before = {row.table_name: row.id for row in session.execute("SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = 'k'")}
        insert = session.prepare("INSERT INTO k.t (a, b) VALUES (?, ?)")
        select = session.prepare("SELECT b FROM k.t WHERE a = ?")
        once = session.prepare("INSERT INTO k.t (a, b) VALUES (?, ?) IF NOT EXISTS")
        count = session.prepare("UPDATE k.counted SET n = n + 1 WHERE a = ?")
        scan = SimpleStatement("SELECT a FROM k.t", fetch_size=50)
        batch = "BEGIN BATCH INSERT INTO k.t (a, b) VALUES (%s, 'x'); INSERT INTO k.t (a, b) VALUES (%s, 'x') APPLY BATCH"
        plain = [Churn(lambda i: session.execute(insert, (i % 1000, "x"))), Churn(lambda i: session.execute(select, (i % 1000,))),
                 Churn(lambda i: session.execute(batch, (1000 + i % 100, 2000 + i % 100))), Churn(lambda i: list(session.execute(scan)))]
        # Statements that are not idempotent may fail with an unknown outcome.
        unsafe = [Churn(lambda i: session.execute(once, (i % 1000, "y"))), Churn(lambda i: session.execute(count, (i % 10,)))]
        for one in plain + unsafe:
            self.addCleanup(one.stop)
        for _ in range(15):
            session.execute("TRUNCATE k.t", timeout=60)
            session.execute("TRUNCATE k.counted", timeout=60)
            time.sleep(0.1)
        for one in plain + unsafe:
            one.stop()
            self.assertGreater(one.done, 30)
        self.assertEqual([one.errors[:3] for one in plain], [[]] * len(plain))
        for one in unsafe:
            self.assertEqual([error for error in one.errors if not error.startswith(("WriteTimeout", "WriteFailure"))], [])
            self.assertLess(len(one.errors), one.done / 4)
        # While node 3 is paused, the others store hints for it. TRUNCATE must win over them as soon as it is back.
        ring.nodes[3].process.send_signal(signal.SIGSTOP)
        with ring.ask(1) as line:
            line.do("\\consistency ONE")
            for number in range(300):
                line.do(f"INSERT INTO k.t (a, b) VALUES ({number}, 'x')")
        ring.wait_for(1, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "DN"})
        with ring.ask(1) as line:
            self.assertIn("Truncate needs every node, and 1 of them is down; nothing was removed", line.ask("TRUNCATE k.t")[-1])
            ring.nodes[3].process.send_signal(signal.SIGCONT)
            deadline = time.monotonic() + 60
            while not line.ask("TRUNCATE k.t")[-1].startswith("."):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            line.do("TRUNCATE k.counted")
        time.sleep(12)  # longer than the pause before hints are sent
        for number in (1, 2, 3):
            self.assertEqual(self.held_by(number), set(), f"rows came back on node {number}")
        after = {row.table_name: row.id for row in session.execute("SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = 'k'")}
        self.assertEqual(before.keys(), after.keys())
        self.assertTrue(all(before[name] != after[name] for name in before))
        session.execute(insert, (1, "again"))
        self.assertEqual(session.execute(select, (1,)).one().b, "again")

    def test_transactions_through_one_node_take_turns(self):
        self.ring.start(1, 2, 3)
        for number in (1, 2, 3):
            self.ring.wait_for(number, {"127.0.0.1": "UN", "127.0.0.2": "UN", "127.0.0.3": "UN"})
        run = node.tool("stress", "conditional", "--host", "127.0.0.1", "--port", self.ring.native, "--rows", "4", "--connections", "4",
                        "--in-flight", "4", "--seconds", "3", "--consistency", "QUORUM", "--replication-factor", "3", "--json")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        numbers = json.loads(run.stdout.strip().splitlines()[-1])
        self.assertEqual((numbers["errors"], numbers["missing"]), (0, 0), run.stderr)
        self.assertGreater(numbers["operations"], 100)

    def test_two_creators_make_one_table(self):
        ring = self.ring
        ring.start(1, 2, 3)
        cluster, session = ring.driver(1, 2, 3)
        self.addCleanup(cluster.shutdown)
        session.execute("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}")
        answers = []

        def create(number):
            with ring.ask(number) as line:
                for table in range(8):
                    answers.append(line.ask(f"CREATE TABLE k.t{table} (a int PRIMARY KEY, from_{number} int)")[-1])

        threads = [threading.Thread(target=create, args=(number,)) for number in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        made = [answer for answer in answers if answer.startswith(". created")]
        refused = [answer for answer in answers if answer.startswith("! 2400")]
        self.assertEqual((len(made), len(refused)), (8, 16), answers)
        seen = []
        for number in (1, 2, 3):
            with ring.ask(number) as line:
                seen.append(line.rows("SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = 'k'"))
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(seen[0], seen[2])

    def test_the_driver_finds_the_replica(self):
        ring = self.ring
        ring.start(1, 2, 3)
        policy = TokenAwarePolicy(DCAwareRoundRobinPolicy("datacenter1"), shuffle_replicas=False)
        cluster, session = ring.driver(1, consistency=ConsistencyLevel.ONE, policy=policy)
        self.addCleanup(cluster.shutdown)
        self.table(session, factor=1)
        insert = session.prepare("INSERT INTO k.t (a, b) VALUES (?, ?)")
        insert.keyspace = "k"
        for number in range(200):
            session.execute(insert, (number, "x"))
        hosts = {str(host.address) for host in cluster.metadata.all_hosts()}
        self.assertEqual(hosts, {"127.0.0.1", "127.0.0.2", "127.0.0.3"})
        wrong = 0
        for number in range(200):
            bound = insert.bind((number, "x"))
            replicas = {str(host.address) for host in cluster.metadata.get_replicas("k", bound.routing_key)}
            future = session.execute_async(bound)
            future.result()
            wrong += str(future.coordinator_host.address) not in replicas
        self.assertEqual(wrong, 0)
        # The node that the driver routes to holds the row, and every node has a fair share.
        held = []
        for number in (1, 2, 3):
            ring.admin(number, "flush")
            held.append(ring.admin(number, "tablestats", "k", "t")[0]["rows_estimate"])
        self.assertEqual(sum(held), 200)
        self.assertGreater(min(held), 30, held)

    def test_a_foreign_node_and_a_copied_directory_are_refused(self):
        ring = self.ring
        ring.start(1, 2)
        stranger = ring.node(3, "cluster_name=other")
        self.addCleanup(stranger.close)
        with self.assertRaises(AssertionError) as caught:
            stranger.start(timeout=60)
        self.assertIn("cluster", str(caught.exception))
        ring.nodes[2].stop()
        copy = ring.node(4)
        self.addCleanup(copy.close)
        shutil.copytree(ring.nodes[2].data, copy.data)
        ring.start(2)
        ring.wait_for(1, {"127.0.0.1": "UN", "127.0.0.2": "UN"})
        try:
            copy.start(timeout=20)
        except AssertionError as error:
            self.assertIn("host id", str(error))
        # Whatever the copy believes, the cluster does not admit it.
        ring.wait_for(1, {"127.0.0.1": "UN", "127.0.0.2": "UN"})
        self.assertEqual([member["address"] for member in ring.admin(1, "status")["nodes"]].count("127.0.0.4"), 0)


if __name__ == "__main__":
    unittest.main()
