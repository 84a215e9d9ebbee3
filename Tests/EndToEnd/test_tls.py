"""TLS between nodes, for drivers, for cqlsh and for the commands, and the error messages of both ends."""
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import unittest
from pathlib import Path

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import RoundRobinPolicy

import node
from certificates import Authority
from node import Line, Node, tool
from test_cluster import Load, Ring, free_ports


def secured(*settings):
    arguments = []
    for setting in settings:
        arguments += ["--set", setting]
    return arguments


class LogTest(unittest.TestCase):
    def assert_says(self, one, *texts, timeout=20):
        """Waits until the node's log contains all of the texts."""
        deadline = time.monotonic() + timeout
        while True:
            log = (one.work / "errors").read_text(errors="replace")
            missing = [text for text in texts if text not in log]
            if not missing:
                return
            if time.monotonic() > deadline:
                self.fail(f"the log does not say {missing}:\n{log[-4000:]}")
            time.sleep(0.1)


class BetweenNodesTest(LogTest):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.node = cls.authority.give("node")
        cls.mutual = cls.node.between_nodes(require_client_auth="true", require_endpoint_verification="true")
        cls.foreign = Authority("foreign")

    @classmethod
    def tearDownClass(cls):
        cls.authority.close()
        cls.foreign.close()

    def ring(self, *settings):
        ring = Ring(*settings)
        self.addCleanup(ring.close)
        return ring

    def table(self, session):
        session.execute("CREATE KEYSPACE k WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 3}")
        session.execute("CREATE TABLE k.t (a int PRIMARY KEY, b text)")

    def all_up(self, ring, *numbers):
        for number in numbers:
            ring.wait_for(number, {f"127.0.0.{other}": "UN" for other in numbers})

    def try_to_join(self, ring, number, settings):
        """Starts a node and asserts that it does not serve within 6 s."""
        one = ring.nodes[number] = ring.node(number, *settings)
        with self.assertRaises(AssertionError):
            one.start(timeout=6)
        return one

    def test_three_nodes_with_certificates_of_both_ends(self):
        ring = self.ring(*self.mutual)
        ring.start(1, 2, 3)
        self.all_up(ring, 1, 2, 3)
        cluster, session = ring.driver(1, 2, 3)
        self.addCleanup(cluster.shutdown)
        self.table(session)
        insert = session.prepare("INSERT INTO k.t (a, b) VALUES (?, ?)")
        for number in range(300):
            session.execute(insert, (number, f"value {number}" * (2000 if number % 100 == 0 else 1)))
        self.assertEqual({row.a for row in session.execute("SELECT a FROM k.t")}, set(range(300)))
        ring.kill(3)
        for number in range(300, 400):
            session.execute(insert, (number, "one node is dead"))
        self.assertEqual({row.a for row in session.execute("SELECT a FROM k.t")}, set(range(400)))
        ring.start(3)
        self.all_up(ring, 1, 2, 3)
        # The internode port speaks TLS, and only with nodes that present a certificate.
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.check_hostname = False
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            with context.wrap_socket(socket.create_connection(("127.0.0.1", ring.internode), timeout=10)) as stranger:
                stranger.sendall(b"hello")
                if not stranger.recv(1):
                    raise ConnectionError("closed")
        self.assert_says(ring.nodes[1], "refused 127.0.0.1: the other end showed no certificate, and one is required here")
        context.load_cert_chain(self.node.certificate, self.node.key)
        with context.wrap_socket(socket.create_connection(("127.0.0.1", ring.internode), timeout=10)) as known:
            self.assertIn(known.version(), ("TLSv1.2", "TLSv1.3"))
        # The cluster still works after all that.
        session.execute(insert, (400, "after"))

    def test_who_is_not_welcome_is_told_and_the_others_serve_on(self):
        ring = self.ring()
        ring.start(1, 2, settings=self.mutual)
        self.all_up(ring, 1, 2)
        with ring.ask(1) as line:
            line.do("CREATE KEYSPACE k WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 2}")
            line.do("CREATE TABLE k.t (a int PRIMARY KEY)")
        first = ring.nodes[1]

        foreign = self.foreign.give("foreigner")
        one = self.try_to_join(ring, 3, foreign.between_nodes())
        self.assert_says(one, f"no TLS connection to 127.0.0.1:{ring.internode}: the other end's certificate",
                         "is not of an authority in this end's truststore")
        self.assert_says(first, "refused 127.0.0.1: the other end does not know the authority of this end's certificate")
        one.close()

        # This node trusts the others' authority, but they do not trust its own.
        half = self.foreign.give("half")
        half.authorities = self.authority.certificate
        one = self.try_to_join(ring, 3, half.between_nodes())
        self.assert_says(one, "the other end does not know the authority of this end's certificate")
        self.assert_says(first, "refused 127.0.0.1: the other end's certificate", "is not of an authority in this end's truststore")
        one.close()

        expired = self.authority.give("expired", days=-1)
        one = self.try_to_join(ring, 3, expired.between_nodes())
        self.assert_says(one, "the other end says that this end's certificate has expired; renew it")
        self.assert_says(first, "refused 127.0.0.1: the other end's certificate", "has expired; renew it")
        one.close()

        one = self.try_to_join(ring, 3, [])
        self.assert_says(one, f"127.0.0.1:{ring.internode} refused this node: this node takes only TLS connections of other nodes")
        self.assert_says(first, "refused 127.0.0.1: this node takes only TLS connections of other nodes, and this one is plain")
        one.close()

        # The new node's certificate is fine; that of the seed was issued for another address.
        elsewhere = self.authority.give("elsewhere", "IP:10.0.0.1")
        other = self.ring()
        other.start(1, settings=elsewhere.between_nodes())
        one = self.try_to_join(other, 2, self.node.between_nodes(require_endpoint_verification="true"))
        self.assert_says(one, "certificate is not valid for the name or address that was connected to")

        for number in (1, 2):
            with ring.ask(number) as line:
                line.do("\\consistency ALL")
                line.do(f"INSERT INTO k.t (a) VALUES ({number})")

    def test_tls_where_plain_is_spoken(self):
        ring = self.ring()
        ring.start(1)
        one = self.try_to_join(ring, 2, self.mutual)
        self.assert_says(one, f"no TLS connection to 127.0.0.1:{ring.internode}: the other end does not speak TLS here")
        self.assert_says(ring.nodes[1], "refused 127.0.0.1: it speaks TLS, and this node takes only plain connections")
        with ring.ask(1) as line:
            line.do("SELECT key FROM system.local")

    def test_a_cluster_is_changed_over_under_load(self):
        ring = self.ring()
        ring.start(1, 2, 3)
        self.all_up(ring, 1, 2, 3)
        cluster, session = ring.driver(1, 2, 3)
        self.addCleanup(cluster.shutdown)
        self.table(session)
        load = Load(session)
        self.addCleanup(load.stop)
        steps = [self.node.between_nodes("none", optional="true"), self.node.between_nodes("all", optional="true"), self.mutual]
        for settings in steps:
            for number in (1, 2, 3):
                ring.nodes[number].stop()
                # The same data directory with other settings.
                ring.nodes[number].arguments = ring.node(number, *settings).arguments
                ring.start(number)
                self.all_up(ring, 1, 2, 3)
        before = len(load.acknowledged)
        time.sleep(1)
        acknowledged = load.stop()
        self.assertGreater(len(acknowledged), before)
        found = {row.a for row in session.execute("SELECT a FROM k.t", timeout=60)}
        self.assertEqual([number for number in acknowledged if number not in found], [])

    def test_configurations_that_cannot_be(self):
        def refused(*settings):
            run = tool("server", "--native-port", "0", "--data-dir", str(self.authority.work / "never"), *secured(*settings), timeout=60)
            self.assertEqual(run.returncode, 1)
            return run.stderr

        self.assertIn("set keystore", refused("server_encryption_options.internode_encryption=all"))
        self.assertIn("No such file", refused(*self.node.between_nodes(), "server_encryption_options.keystore=/nonexistent.pem"))
        self.assertIn("is not that of the certificate", refused(*self.node.between_nodes(
            private_key=self.authority.give("another").key)))
        self.assertIn("holds no private key", refused(*self.node.between_nodes(private_key=self.node.certificate)))


class ForClientsTest(LogTest):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.identity = cls.authority.give("node", "IP:127.0.0.1,DNS:node.example")
        cls.client = cls.authority.give("client")
        cls.foreign = Authority("foreign")
        cls.node = Node(*secured(*cls.identity.for_clients())).start()
        cls.mutual = Node(*secured(*cls.identity.for_clients(require_client_auth="true", truststore=cls.authority.certificate))).start()
        cls.plain = Node().start()
        run = cls.ask_shell(cls.node, "-e", "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
                            *cls.trusting())
        assert run.returncode == 0, run.stderr

    @classmethod
    def tearDownClass(cls):
        for one in (cls.node, cls.mutual, cls.plain, cls.authority, cls.foreign):
            one.close()

    @classmethod
    def trusting(cls):
        return "--ssl", "--ssl-ca", str(cls.authority.certificate)

    @staticmethod
    def ask_shell(one, *arguments, host="127.0.0.1"):
        if "-e" not in arguments:
            arguments = (*arguments, "-e", "SELECT key FROM system.local")
        return tool("shell", "--host", host, "--port", one.native, *arguments, timeout=60)

    def context(self, identity=None):
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.check_hostname = False
        if identity:
            context.load_cert_chain(identity.certificate, identity.key)
        return context

    def driver(self, one, context, version=5, **options):
        profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=60)
        cluster = Cluster(["127.0.0.1"], port=one.native, protocol_version=version, ssl_context=context, connect_timeout=20,
                          execution_profiles={EXEC_PROFILE_DEFAULT: profile}, **options)
        self.addCleanup(cluster.shutdown)
        return cluster.connect()

    def assert_serves(self, one, *arguments):
        run = self.ask_shell(one, *arguments)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("local", run.stdout)

    def test_driver(self):
        for version in (4, 5):
            session = self.driver(self.node, self.context(), version)
            session.execute(f"CREATE TABLE k.d{version} (a int PRIMARY KEY, b blob)")
            insert = session.prepare(f"INSERT INTO k.d{version} (a, b) VALUES (?, ?)")
            big = os.urandom(3_000_000)
            session.execute(insert, (0, big))
            for future in [session.execute_async(insert, (number, b"x" * number)) for number in range(1, 500)]:
                future.result()
            self.assertEqual(session.execute(f"SELECT b FROM k.d{version} WHERE a = 0").one().b, big)
            self.assertEqual(session.execute(f"SELECT count(*) FROM k.d{version}").one()[0], 500)

    def test_driver_with_a_certificate(self):
        session = self.driver(self.mutual, self.context(self.client))
        self.assertEqual(session.execute("SELECT key FROM system.local").one().key, "local")
        with self.assertRaises(NoHostAvailable):
            self.driver(self.mutual, self.context())
        self.assert_says(self.mutual, "client at 127.0.0.1: the other end showed no certificate, and one is required here")

    def test_cqlsh(self):
        environment = {**os.environ, "SSL_CERTFILE": str(self.authority.certificate), "SSL_VALIDATE": "true"}
        run = subprocess.run(
            [str(Path(sys.executable).parent / "cqlsh"), "127.0.0.1", str(self.node.native), "--ssl", "--no-color", "--connect-timeout=30",
             "-e", "SELECT key FROM system.local"], capture_output=True, text=True, timeout=120, env=environment)
        self.assertEqual((run.returncode, run.stderr.strip()), (0, ""), run.stdout)
        self.assertIn("local", run.stdout)

    def test_commands(self):
        self.assert_serves(self.node, *self.trusting())
        self.assert_serves(self.node, *self.trusting(), "--protocol", "4")
        self.assert_serves(self.mutual, *self.trusting(), "--ssl-cert", self.client.certificate, "--ssl-key", self.client.key)
        run = tool("stress", "mixed", "--port", self.node.native, *self.trusting(), "--rows", 2000, "--seconds", 1, "--connections", 2, "--json")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(json.loads(run.stdout)["errors"], 0)
        self.assertEqual(run.stderr.count("API misuse"), 0)
        with_rows = self.node.work / "rows.csv"
        with_rows.write_text("id,v\n" + "".join(f"{number},{'v' * 500}\n" for number in range(20_000)))
        run = tool("load", with_rows, "--into", "k.loaded", "--create", "--port", self.node.native, *self.trusting())
        self.assertEqual(run.returncode, 0, run.stderr)
        run = self.ask_shell(self.node, "-e", "SELECT count(*) FROM k.loaded", *self.trusting())
        self.assertIn("20000", run.stdout)

    def test_commands_that_cannot(self):
        def fails(one, *arguments, host="127.0.0.1"):
            run = self.ask_shell(one, *arguments, host=host)
            self.assertEqual(run.returncode, 1, run.stdout)
            return run.stderr

        self.assertIn("takes only TLS connections", fails(self.node))
        self.assertIn("takes only TLS connections", fails(self.node, "--protocol", "4"))
        self.assert_says(self.node, "client at 127.0.0.1: it sent plain bytes, but this port requires TLS")
        self.assertIn("does not speak TLS", fails(self.plain, *self.trusting()))
        self.assert_says(self.plain, "client at 127.0.0.1: it speaks TLS, and this port is plain")
        self.assertIn("is not of an authority in this end's truststore",
                      fails(self.node, "--ssl", "--ssl-ca", str(self.foreign.certificate)))
        self.assert_says(self.node, "client at 127.0.0.1: the other end does not know the authority of this end's certificate")
        self.assertIn("is not of an authority", fails(self.node, "--ssl"))
        self.assertIn("wants a certificate", fails(self.mutual, *self.trusting()))
        self.assertIn("is not valid for the name", fails(self.node, *self.trusting(), host="localhost"))
        run = self.ask_shell(self.node, *self.trusting(), "--ssl-verify", "authority", host="localhost")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(tool("shell", "--ssl-ca", "x", "-e", "").returncode, 64)
        # All three nodes still serve.
        self.assert_serves(self.node, *self.trusting())
        self.assert_serves(self.plain)
        self.assert_serves(self.mutual, *self.trusting(), "--ssl-cert", self.client.certificate, "--ssl-key", self.client.key)

    def test_plain_driver_at_a_secure_port(self):
        with self.assertRaises(NoHostAvailable):
            self.driver(self.node, None)
        self.assert_serves(self.node, *self.trusting())

    def test_line_protocol(self):
        with Line(self.node.line) as line:
            answer = line.ask("SELECT key FROM system.local")
            self.assertIn("this port takes only TLS connections", answer[-1])
            self.assertEqual(answer[-1][:1], "!")
        line = Line.__new__(Line)
        line.socket = self.context().wrap_socket(socket.create_connection(("127.0.0.1", self.node.line), timeout=60))
        line.file = line.socket.makefile("rb")
        with line:
            self.assertEqual(line.rows("SELECT key FROM system.local"), [["local"]])

    def test_both_at_one_port(self):
        one = Node(*secured(*self.identity.for_clients(optional="true"))).start()
        self.addCleanup(one.close)
        self.assert_serves(one)
        self.assert_serves(one, *self.trusting())
        with Line(one.line) as line:
            self.assertEqual(line.rows("SELECT key FROM system.local"), [["local"]])
        self.assertEqual(one.stop(), 0)

    def test_a_port_of_its_own(self):
        port = free_ports(1)[0]
        one = Node(*secured(*self.identity.for_clients(), f"native_transport_port_ssl={port}")).start()
        self.addCleanup(one.close)
        self.assertEqual(one.ready["native_ssl"], port)
        self.assert_serves(one)
        run = tool("shell", "--port", port, *self.trusting(), "-e", "SELECT key FROM system.local")
        self.assertEqual(run.returncode, 0, run.stderr)

    def test_certificates_are_read_again(self):
        work = self.authority.work / "renewed"
        work.mkdir()
        old, new = self.authority.give("old"), self.authority.give("new")
        shutil.copy(old.certificate, work / "node.pem")
        shutil.copy(old.key, work / "node.key")
        old.certificate, old.key = work / "node.pem", work / "node.key"
        one = Node(*secured(*old.for_clients())).start()
        self.addCleanup(one.close)

        def shown():
            with self.context().wrap_socket(socket.create_connection(("127.0.0.1", one.native), timeout=20)) as client:
                return dict(pair[0] for pair in client.getpeercert()["subject"])["commonName"]

        self.assertEqual(shown(), "old")
        shutil.copy(new.certificate, work / "node.pem")
        one.process.send_signal(signal.SIGHUP)
        self.assert_says(one, "the previous certificates stay in use")
        self.assertEqual(shown(), "old")
        shutil.copy(new.key, work / "node.key")
        one.process.send_signal(signal.SIGHUP)
        self.assert_says(one, "certificates reloaded", "expires in ")
        self.assertEqual(shown(), "new")

    def test_strangers_do_no_harm(self):
        for opening in (b"\x16", b"\x16\x03\x01\x02\x00", b"\x16" + os.urandom(2000), b"GET / HTTP/1.1\r\n\r\n", b"", b"\x05" * 100):
            with socket.create_connection(("127.0.0.1", self.node.native), timeout=20) as stranger:
                stranger.sendall(opening)
                stranger.shutdown(socket.SHUT_WR)
                try:
                    while stranger.recv(4096):
                        pass
                except ConnectionError:
                    pass
        self.assert_serves(self.node, *self.trusting())
