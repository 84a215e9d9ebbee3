"""Random writes, flushes, compactions and kills: a node must hold the same rows as a simple model."""
import random
import time
import unittest

from node import Line, Node, tool

PARTITIONS, A, B = 6, 5, 6


class Model:
    """Rows of `t (p, a, b, s static, v, m map<int, int>)` as a dictionary; every write is newer than all before."""

    def __init__(self):
        self.rows, self.statics = {}, {}

    def row(self, key):
        return self.rows.setdefault(key, {"marker": False, "v": None, "m": {}})

    def settle(self, key):
        row = self.rows.get(key)
        if row and not row["marker"] and row["v"] is None and not row["m"]:
            del self.rows[key]

    def delete(self, keep):
        self.rows = {key: row for key, row in self.rows.items() if keep(key)}

    def select(self, p):
        """Returns the rows of a partition as the server answers `a, b, s, v, m`."""
        static = self.statics.get(p)
        found = [[a, b, static, row["v"], {str(k): v for k, v in sorted(row["m"].items())} or None]
                 for (q, a, b), row in sorted(self.rows.items(), key=lambda item: (item[0][0], item[0][1], -item[0][2])) if q == p]
        return found or ([[None, None, static, None, None]] if static is not None else [])


class ModelTest(unittest.TestCase):
    def change(self, chance, model):
        """Returns a random statement and applies it to the model."""
        p, a, b, n = chance.randrange(PARTITIONS), chance.randrange(A), chance.randrange(B), chance.randrange(1000)
        key, where = (p, a, b), f"WHERE p = {p} AND a = {a} AND b = {b}"
        kind = chance.randrange(16)
        if kind <= 4:
            model.row(key).update(marker=True, v=n)
            return f"INSERT INTO r.t (p, a, b, v) VALUES ({p}, {a}, {b}, {n})"
        if kind <= 6:
            model.row(key)["v"] = n
            return f"UPDATE r.t SET v = {n} {where}"
        if kind == 7:
            model.row(key)["v"] = None
            model.settle(key)
            return f"DELETE v FROM r.t {where}"
        if kind == 8:
            model.rows.pop(key, None)
            return f"DELETE FROM r.t {where}"
        if kind == 9:
            model.delete(lambda k: k[:2] != (p, a))
            return f"DELETE FROM r.t WHERE p = {p} AND a = {a}"
        if kind == 10:
            low, high = sorted((a, chance.randrange(A)))
            model.delete(lambda k: not (k[0] == p and low <= k[1] < high))
            return f"DELETE FROM r.t WHERE p = {p} AND a >= {low} AND a < {high}"
        if kind == 11 and chance.randrange(4) == 0:
            model.delete(lambda k: k[0] != p)
            model.statics.pop(p, None)
            return f"DELETE FROM r.t WHERE p = {p}"
        if kind == 12:
            model.statics[p] = n
            return f"UPDATE r.t SET s = {n} WHERE p = {p}"
        if kind == 13:
            model.row(key)["m"] = {b: n, a: n + 1}
            return f"UPDATE r.t SET m = {{{b}: {n}, {a}: {n + 1}}} {where}" if a != b else self.plain_map(model, key, where, b, n)
        if kind == 14:
            model.row(key)["m"][a] = n
            return f"UPDATE r.t SET m[{a}] = {n} {where}"
        model.row(key)["m"].pop(b, None)
        model.settle(key)
        return f"DELETE m[{b}] FROM r.t {where}"

    def plain_map(self, model, key, where, k, n):
        model.row(key)["m"] = {k: n}
        return f"UPDATE r.t SET m = {{{k}: {n}}} {where}"

    def check(self, line, model, seed, step):
        for p in range(PARTITIONS):
            expected = model.select(p)
            self.assertEqual(line.rows(f"SELECT a, b, s, v, m FROM r.t WHERE p = {p}"), expected, f"seed {seed}, step {step}")
            turned = [row for row in line.rows(f"SELECT a, b, s, v, m FROM r.t WHERE p = {p} ORDER BY a DESC") if row[0] is not None]
            self.assertEqual(turned, [row for row in reversed(expected) if row[0] is not None], f"seed {seed}, step {step}")
            for a in range(A):
                self.assertEqual(
                    line.rows(f"SELECT b, v FROM r.t WHERE p = {p} AND a = {a} AND b > 1 AND b <= 4"),
                    [[row[1], row[3]] for row in expected if row[0] == a and 1 < row[1] <= 4], f"seed {seed}, step {step}")
        total = sum(len(model.select(p)) for p in range(PARTITIONS))
        self.assertEqual(line.rows("SELECT count(*) FROM r.t"), [[total]], f"seed {seed}, step {step}")

    def test_random_writes(self):
        for seed in (1, int(time.time())):
            with self.subTest(seed=seed):
                self.history(seed)

    def history(self, seed):
        chance, model, node = random.Random(seed), Model(), Node()
        self.addCleanup(node.close)
        node.start()
        line = Line(node.line)
        line.do("CREATE KEYSPACE r WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        line.do("CREATE TABLE r.t (p int, a int, b int, s int static, v int, m map<int, int>, PRIMARY KEY (p, a, b)) "
                "WITH CLUSTERING ORDER BY (a ASC, b DESC)")
        for step in range(25):
            statements = [self.change(chance, model) for _ in range(25)]
            line.send(*statements)
            for statement in statements:
                self.assertTrue(line.answer()[-1].startswith("."), statement)
            event = chance.randrange(8)
            if event <= 2:
                self.assertEqual(tool("admin", "flush", "--port", node.http).returncode, 0)
            elif event == 3:
                self.assertEqual(tool("admin", "compact", "--port", node.http).returncode, 0)
            elif event == 4:
                line.close()
                node.kill() if chance.randrange(2) else node.stop()
                node.start()
                line = Line(node.line)
            self.check(line, model, seed, step)
        line.close()
