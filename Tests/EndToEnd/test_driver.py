"""The unmodified driver from PyPI, in protocol versions 4 and 5, with and without compression."""
import datetime
import decimal
import ipaddress
import random
import unittest
import uuid

from cassandra import AlreadyExists, ConsistencyLevel, InvalidRequest, Unavailable
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import TokenAwarePolicy, RoundRobinPolicy
from cassandra.query import BatchStatement, BatchType, SimpleStatement, UNSET_VALUE

from node import Node


def cluster(node, version, compression=False):
    profile = ExecutionProfile(load_balancing_policy=TokenAwarePolicy(RoundRobinPolicy()), request_timeout=60)
    return Cluster(["127.0.0.1"], port=node.native, protocol_version=version, compression=compression,
                   execution_profiles={EXEC_PROFILE_DEFAULT: profile}, connect_timeout=30)


class DriverTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node().start()
        cls.cluster = cluster(cls.node, 5)
        cls.session = cls.cluster.connect()
        cls.session.execute("CREATE KEYSPACE d WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        cls.session.set_keyspace("d")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.shutdown()
        cls.node.close()

    def test_versions_and_compression(self):
        self.session.execute("CREATE TABLE versions (id int PRIMARY KEY, v text)")
        long = "abc" * 20_000
        number = 0
        for version in (4, 5):
            for compression in (False, "lz4"):
                with self.subTest(version=version, compression=compression):
                    number += 1
                    with cluster(self.node, version, compression) as other:
                        session = other.connect("d")
                        self.assertEqual(session._protocol_version, version)
                        insert = session.prepare("INSERT INTO versions (id, v) VALUES (?, ?)")
                        session.execute(insert, (number, long))
                        self.assertEqual(session.execute("SELECT v FROM versions WHERE id = %s", (number,)).one().v, long)

    def test_negotiates_without_being_told(self):
        with Cluster(["127.0.0.1"], port=self.node.native) as other:
            session = other.connect()
            self.assertIn(session._protocol_version, (4, 5))
            self.assertEqual(session.execute("SELECT key FROM system.local").one().key, "local")

    def test_every_type(self):
        self.session.execute(
            "CREATE TABLE types (id int PRIMARY KEY, a ascii, b bigint, c blob, d boolean, e date, f decimal, g double, h duration, i float, "
            "j inet, k smallint, l text, m time, n timestamp, o timeuuid, p tinyint, q uuid, r varint, s list<int>, t set<text>, "
            "u map<text, int>, v tuple<int, text>, w frozen<map<int, frozen<list<text>>>>)")
        from cassandra.util import Date, Duration, Time, OrderedMapSerializedKey, SortedSet
        values = (
            1, "ascii", -2**63, b"\x00\xff", True, Date(datetime.date(2013, 1, 31)), decimal.Decimal("-12345678901234567890.123"), 1.5,
            Duration(1, -2 * 0 + 2, 3), 2.25, "2001:db8::1", -32768, "tëxt ✓", Time("23:59:59.123456789"),
            datetime.datetime(2013, 1, 1, 5, 15, 30, 123000), uuid.uuid1(), -128, uuid.uuid4(), -2**100, [3, 1, 3], {"b", "a"},
            {"x": 1, "y": 2}, (7, None), {1: ["p", "q"], 0: []})
        names = "id, " + ", ".join("abcdefghijklmnopqrstuvw")
        insert = self.session.prepare(f"INSERT INTO types ({names}) VALUES ({', '.join('?' * 24)})")
        self.session.execute(insert, values)
        row = self.session.execute(f"SELECT {names} FROM types WHERE id = 1").one()
        for name, expected, found in zip(row._fields, values, row):
            if isinstance(found, OrderedMapSerializedKey):
                found = {key: (list(value) if name == "w" else value) for key, value in found.items()}
            elif isinstance(found, SortedSet):
                found = set(found)
            self.assertEqual(found, expected, name)

    def test_null_unset_empty(self):
        self.session.execute("CREATE TABLE absent (id int PRIMARY KEY, v text, w int)")
        insert = self.session.prepare("INSERT INTO absent (id, v, w) VALUES (?, ?, ?)")
        self.session.execute(insert, (1, "", 5))
        self.session.execute(insert, (1, UNSET_VALUE, None))
        self.assertEqual(tuple(self.session.execute("SELECT * FROM absent").one()), (1, "", None))

    def test_paging(self):
        self.session.execute("CREATE TABLE pages (p int, c int, PRIMARY KEY (p, c))")
        insert = self.session.prepare("INSERT INTO pages (p, c) VALUES (?, ?)")
        for p in range(5):
            for c in range(50):
                self.session.execute(insert, (p, c))
        for size in (1, 7, 50, 249, 250, 251):
            statement = SimpleStatement("SELECT p, c FROM pages", fetch_size=size)
            rows = [tuple(row) for row in self.session.execute(statement)]
            self.assertEqual(len(rows), 250)
            self.assertEqual(sorted(rows), [(p, c) for p in range(5) for c in range(50)])
        result = self.session.execute(SimpleStatement("SELECT p, c FROM pages", fetch_size=100))
        state = result.paging_state
        self.assertEqual(len(result.current_rows), 100)
        with self.assertRaises(InvalidRequest):
            self.session.execute(SimpleStatement("SELECT c FROM pages", fetch_size=100), paging_state=state)
        with self.assertRaises(InvalidRequest):
            self.session.execute(SimpleStatement("SELECT p, c FROM pages", fetch_size=100), paging_state=b"nonsense")

    def test_tokens_agree(self):
        from cassandra.metadata import Murmur3Token
        self.session.execute("CREATE TABLE tokens (k blob PRIMARY KEY)")
        insert = self.session.prepare("INSERT INTO tokens (k) VALUES (?)")
        keys = [bytes((i * 37 + j * 11) % 256 for j in range(i)) for i in range(1, 60)]
        for key in keys:
            self.session.execute(insert, (key,))
        for row in self.session.execute("SELECT k, token(k) AS t FROM tokens"):
            self.assertEqual(row.t, Murmur3Token.from_key(row.k).value)

    def test_batches(self):
        self.session.execute("CREATE TABLE batched (p int, c int, v text, PRIMARY KEY (p, c))")
        insert = self.session.prepare("INSERT INTO batched (p, c, v) VALUES (?, ?, ?)")
        batch = BatchStatement(BatchType.LOGGED)
        for c in range(20):
            batch.add(insert, (1, c, "x"))
        batch.add("DELETE FROM batched WHERE p = 9")
        self.session.execute(batch)
        self.assertEqual(self.session.execute("SELECT count(*) FROM batched").one()[0], 20)
        self.session.execute(BatchStatement())
        large = BatchStatement(BatchType.UNLOGGED)
        for p in range(40):
            large.add(insert, (p + 10, 1, "y" * 200))
        future = self.session.execute_async(large)
        future.result()
        self.assertTrue(any("Unlogged batch covering 40 partitions" in w for w in future.warnings), future.warnings)
        huge = BatchStatement()
        for p in range(20):
            huge.add(insert, (p + 100, 1, "z" * 5000))
        with self.assertRaisesRegex(InvalidRequest, "Batch too large"):
            self.session.execute(huge)

    def test_conditional(self):
        self.session.execute("CREATE TABLE lwt (id int PRIMARY KEY, v int)")
        self.assertTrue(self.session.execute("INSERT INTO lwt (id, v) VALUES (1, 1) IF NOT EXISTS").was_applied)
        refused = self.session.execute("INSERT INTO lwt (id, v) VALUES (1, 2) IF NOT EXISTS")
        self.assertFalse(refused.was_applied)
        self.assertEqual(refused.one().v, 1)
        update = self.session.prepare("UPDATE lwt SET v = ? WHERE id = 1 IF v = ?")
        self.assertTrue(self.session.execute(update, (5, 1)).was_applied)
        self.assertFalse(self.session.execute(update, (6, 1)).was_applied)

    def test_errors(self):
        with self.assertRaisesRegex(InvalidRequest, "ALLOW FILTERING"):
            self.session.execute("CREATE TABLE errors (id int PRIMARY KEY, v int)")
            self.session.execute("SELECT * FROM errors WHERE v = 1")
        with self.assertRaises(AlreadyExists):
            self.session.execute("CREATE TABLE errors (id int PRIMARY KEY)")
        # The driver tries the next host, but there is none.
        with self.assertRaises(NoHostAvailable) as caught:
            self.session.execute(SimpleStatement("SELECT * FROM errors", consistency_level=ConsistencyLevel.THREE))
        unavailable, = caught.exception.errors.values()
        self.assertIsInstance(unavailable, Unavailable)
        self.assertEqual((unavailable.required_replicas, unavailable.alive_replicas), (3, 1))
        from cassandra.protocol import SyntaxException
        with self.assertRaises(SyntaxException):
            self.session.execute("SELEC")

    def test_a_request_that_is_too_big_is_refused_and_the_connection_lives(self):
        self.session.execute("CREATE TABLE big (id int PRIMARY KEY, v blob)")
        for version in (4, 5):
            for compression in (False, "lz4"):
                with self.subTest(version=version, compression=compression), cluster(self.node, version, compression) as other:
                    session = other.connect("d")
                    insert = session.prepare("INSERT INTO big (id, v) VALUES (?, ?)")
                    pool, = session.get_pools()
                    before = pool._connection
                    with self.assertRaisesRegex(InvalidRequest, "Request is too big: length .* exceeds maximum allowed length 16777216"):
                        session.execute(insert, (1, random.randbytes(20 << 20)))
                    self.assertIsNone(session.execute("SELECT v FROM big WHERE id = 1").one())
                    after = pool._connection
                    self.assertIs(before, after)
                    self.assertFalse(after.is_closed or after.is_defunct)

    def test_schema_reaches_the_driver(self):
        self.session.execute(
            "CREATE TABLE shown (p int, c timeuuid, s text static, v set<int>, PRIMARY KEY (p, c)) WITH CLUSTERING ORDER BY (c DESC)")
        table = self.cluster.metadata.keyspaces["d"].tables["shown"]
        self.assertEqual([c.name for c in table.partition_key], ["p"])
        self.assertEqual([c.name for c in table.clustering_key], ["c"])
        self.assertTrue(table.columns["s"].is_static)
        self.assertEqual(table.columns["v"].cql_type, "set<int>")
        self.assertTrue(table.columns["c"].is_reversed)
        self.session.execute("ALTER TABLE shown ADD w text")
        self.assertIn("w", self.cluster.metadata.keyspaces["d"].tables["shown"].columns)
        self.session.execute("DROP TABLE shown")
        self.assertNotIn("shown", self.cluster.metadata.keyspaces["d"].tables)

    def test_prepared_statement_survives_a_schema_change(self):
        self.session.execute("CREATE TABLE changing (id int PRIMARY KEY, a int)")
        select = self.session.prepare("SELECT * FROM changing WHERE id = ?")
        self.session.execute("INSERT INTO changing (id, a) VALUES (1, 2)")
        self.assertEqual(tuple(self.session.execute(select, (1,)).one()), (1, 2))
        self.session.execute("ALTER TABLE changing ADD b int")
        self.session.execute("UPDATE changing SET b = 3 WHERE id = 1")
        self.assertEqual(tuple(self.session.execute(select, (1,)).one()), (1, 2, 3))

    def test_tracing(self):
        result = self.session.execute("SELECT * FROM system.local", trace=True)
        trace = result.get_query_trace(max_wait_sec=10)
        self.assertGreater(trace.duration, datetime.timedelta(0))
        self.assertTrue(trace.events)
        self.assertEqual(ipaddress.ip_address(trace.coordinator), ipaddress.ip_address("127.0.0.1"))

    def test_many_requests_at_once(self):
        from cassandra.concurrent import execute_concurrent_with_args
        self.session.execute("CREATE TABLE many (id int PRIMARY KEY, v text)")
        insert = self.session.prepare("INSERT INTO many (id, v) VALUES (?, ?)")
        results = execute_concurrent_with_args(self.session, insert, [(i, "v%d" % i) for i in range(3000)], concurrency=200)
        self.assertTrue(all(ok for ok, _ in results))
        self.assertEqual(self.session.execute("SELECT count(*) FROM many").one()[0], 3000)
