"""Killed under load, the node finds every acknowledged write again."""
import subprocess
import sys
import unittest

import node


class CrashTest(unittest.TestCase):
    def test_fifty_kills(self):
        run = subprocess.run([sys.executable, str(node.ROOT / "tools" / "crash-loop"), "50", str(node.BINARY)],
                             capture_output=True, text=True, timeout=900)
        self.assertEqual(run.returncode, 0, f"{run.stdout}\n{run.stderr}")
        self.assertIn(", 0 lost", run.stdout)
