"""Runs the end-to-end tests against a binary; the last line is `end-to-end: N passed, N failed, N skipped`.

usage: run.py BINARY [--jobs N] [test names]

--jobs N runs N test files in parallel, each in a process of its own; the tests mostly wait. The output of a file is
printed when it is done.
"""
import re
import subprocess
import sys
import threading
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


def run_here(names):
    """Runs tests in this process."""
    loader = unittest.TestLoader()
    if names:
        suite = loader.loadTestsFromNames(names)
    else:
        suite = loader.discover(str(Path(__file__).parent), pattern="test_*.py")
    result = unittest.TextTestRunner(resultclass=Result, verbosity=2, stream=sys.stdout).run(suite)
    return result.passed, len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses), len(result.skipped)


def run_apart(names, jobs):
    """Runs each test file, or each given name, in a process of its own, `jobs` at a time."""
    waiting = names or sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    total, lock = [0, 0, 0], threading.Lock()

    def work():
        while True:
            with lock:
                if not waiting:
                    return
                name = waiting.pop(0)
            began = time.monotonic()
            done = subprocess.run([sys.executable, "-B", __file__, str(node.BINARY), name], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace")
            counts = re.findall(r"^end-to-end: (\d+) passed, (\d+) failed, (\d+) skipped$", done.stdout, re.M)
            with lock:
                # The line with the counts is only printed for the whole run.
                print("\n".join(line for line in done.stdout.splitlines() if not line.startswith("end-to-end: ")))
                print(f"== {name}: {time.monotonic() - began:.0f} s", flush=True)
                if counts:
                    for place, count in enumerate(counts[-1]):
                        total[place] += int(count)
                else:
                    print(f"{name} ended without printing its counts: exit status {done.returncode}", flush=True)
                    total[1] += 1

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total


def main():
    words, jobs = sys.argv[1:], 1
    if "--jobs" in words:
        place = words.index("--jobs")
        if place + 1 >= len(words) or not words[place + 1].isdigit() or int(words[place + 1]) < 1:
            print("run.py: --jobs takes a number", file=sys.stderr)
            return 64
        jobs = int(words[place + 1])
        del words[place:place + 2]
    if not words:
        print(__doc__.strip(), file=sys.stderr)
        return 64
    node.BINARY = Path(words[0]).resolve()
    if not node.BINARY.exists():
        print(f"run.py: no binary at {node.BINARY}; build it first", file=sys.stderr)
        return 1
    passed, failed, skipped = run_here(words[1:]) if jobs == 1 else run_apart(words[1:], jobs)
    print(f"end-to-end: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
