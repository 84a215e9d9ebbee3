"""A node killed under load finds every acknowledged write after its restart."""
import subprocess
import sys
import unittest

import node


class CrashTest(unittest.TestCase):
    def loop(self, kills, *settings):
        run = subprocess.run([sys.executable, str(node.ROOT / "tools" / "crash-loop"), str(kills), str(node.BINARY), *settings],
                             capture_output=True, text=True, timeout=900)
        self.assertEqual(run.returncode, 0, f"{run.stdout}\n{run.stderr}")
        self.assertIn(", 0 lost", run.stdout)

    def test_fifty_kills(self):
        self.loop(50)

    def test_kills_when_every_write_is_synced(self):
        self.loop(5, "--set", "commitlog_sync=batch")
        self.loop(5, "--set", "commitlog_sync=group")
