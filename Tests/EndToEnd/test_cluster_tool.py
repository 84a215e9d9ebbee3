"""`tools/cluster --namespaces`: real network partitions between real processes."""
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import WhiteListRoundRobinPolicy

import node

TOOL = Path(__file__).resolve().parents[2] / "tools" / "cluster"


def namespaces_are_allowed():
    probe = "ip netns add auspexprobe && ip link add auspexprobe0 type bridge; s=$?; ip link delete auspexprobe0; ip netns delete auspexprobe; exit $s"
    return subprocess.run(["sh", "-c", probe], capture_output=True).returncode == 0


class ClusterTool(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="auspex-cluster-")

    def tearDown(self):
        self.tool("clean")
        self.directory.cleanup()

    def tool(self, *words):
        return subprocess.run([sys.executable, str(TOOL), *words, "--dir", self.directory.name + "/cluster", "--binary", str(node.BINARY)],
                              capture_output=True, text=True, timeout=200)

    def must(self, *words):
        run = self.tool(*words)
        self.assertEqual(run.returncode, 0, f"{words}: {run.stdout} {run.stderr}")
        return run.stdout

    def session(self, number, consistency):
        address = f"10.90.0.{number}"
        profile = ExecutionProfile(load_balancing_policy=WhiteListRoundRobinPolicy([address]), consistency_level=consistency, request_timeout=10)
        cluster = Cluster([address], protocol_version=5, execution_profiles={EXEC_PROFILE_DEFAULT: profile})
        self.addCleanup(cluster.shutdown)
        return cluster.connect()

    def eventually(self, check, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                return check()
            except Exception:  # noqa: BLE001: any error may be temporary
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def test_wrong_usage_is_told(self):
        for words in (["start"], ["start", "x"], ["kill", "1"], ["partition", "1", "2"], ["nonsense"]):
            run = self.tool(*words)
            self.assertEqual(run.returncode, 64, f"{words}: {run.stdout} {run.stderr}")
            self.assertTrue(run.stderr)

    @unittest.skipUnless(namespaces_are_allowed(), "network namespaces are not permitted")
    def test_a_partition_divides_and_heals(self):
        self.must("start", "3", "--namespaces", "--set", "phi_convict_threshold=5")
        majority = self.session(1, ConsistencyLevel.QUORUM)
        majority.execute("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}")
        majority.execute("CREATE TABLE k.t (a int PRIMARY KEY, b int)")
        majority.execute("INSERT INTO k.t (a, b) VALUES (1, 1)")
        minority = self.session(3, ConsistencyLevel.ONE)
        self.eventually(lambda: self.assertEqual(minority.execute("SELECT b FROM k.t WHERE a = 1").one().b, 1))

        self.must("partition", "1,2", "3")
        self.eventually(lambda: majority.execute("UPDATE k.t SET b = 2 WHERE a = 1"))
        for a in range(2, 52):
            majority.execute("INSERT INTO k.t (a, b) VALUES (%s, 2)", (a,))
        self.assertEqual(minority.execute("SELECT b FROM k.t WHERE a = 1").one().b, 1, "at ONE the minority answers with its own data")
        strict = self.session(3, ConsistencyLevel.QUORUM)
        with self.assertRaises(Exception):
            strict.execute("SELECT b FROM k.t WHERE a = 1")
        with self.assertRaises(Exception):
            strict.execute("CREATE TABLE k.u (a int PRIMARY KEY)")

        self.must("heal")
        self.eventually(lambda: self.assertEqual(strict.execute("SELECT b FROM k.t WHERE a = 1").one().b, 2))
        self.eventually(lambda: self.assertEqual(
            sorted(row.a for row in minority.execute("SELECT a FROM k.t WHERE b = 2 ALLOW FILTERING")), list(range(1, 52)), "hints arrive"))
        self.must("kill", "2")
        self.assertIn("stopped", self.must("status"))
        self.must("start", "3")
        self.must("stop")


if __name__ == "__main__":
    unittest.main()
