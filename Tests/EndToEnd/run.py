"""Runs the end-to-end tests against a built binary; the last line is `end-to-end: N passed, N failed, N skipped`.

usage: run.py BINARY [test names]
"""
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import node  # noqa: E402


class Result(unittest.TextTestResult):
    passed = 0

    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        self.passed += 1
        super().addSuccess(test)
        took = time.monotonic() - self.began
        if took > 5:
            self.stream.writeln(f"  ({took:.1f} s)")


def main():
    if len(sys.argv) < 2:
        print(__doc__.strip(), file=sys.stderr)
        return 64
    node.BINARY = Path(sys.argv[1]).resolve()
    if not node.BINARY.exists():
        print(f"run.py: no binary at {node.BINARY}; build it first", file=sys.stderr)
        return 1
    loader = unittest.TestLoader()
    if sys.argv[2:]:
        suite = loader.loadTestsFromNames(sys.argv[2:])
    else:
        suite = loader.discover(str(Path(__file__).parent), pattern="test_*.py")
    result = unittest.TextTestRunner(resultclass=Result, verbosity=2, stream=sys.stdout).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print(f"end-to-end: {result.passed} passed, {failed} failed, {len(result.skipped)} skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
