"""What may not come in: requests that a web page can have a browser send to the ports of a node."""
import http.client
import json
import socket
import unittest

from node import Line, Node


class DoorsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node().start()
        with Line(cls.node.line) as line:
            line.do("CREATE KEYSPACE d WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def request(self, method, path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.http, timeout=30)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def test_the_line_port_executes_nothing_of_an_http_request(self):
        for opening in (b"POST / HTTP/1.1\r\n", b"GET /x HTTP/1.0\n"):
            with socket.create_connection(("127.0.0.1", self.node.line), timeout=30) as raw:
                raw.sendall(opening + b"Host: 127.0.0.1\r\nContent-Type: text/plain\r\n\r\nDROP KEYSPACE d\n")
                answer = b""
                while chunk := raw.recv(4096):
                    answer += chunk
                self.assertEqual(answer.count(b"\n"), 1, answer)
                self.assertIn(b"not HTTP", answer)
        with Line(self.node.line) as line:
            self.assertEqual(len(line.rows("SELECT * FROM system_schema.keyspaces WHERE keyspace_name = 'd'")), 1)
            # Only the first line of a connection is looked at.
            self.assertIn("SyntaxError", line.ask("POST / HTTP/1.1")[-1])
            line.do("SELECT key FROM system.local")

    def test_changes_over_http_need_the_header(self):
        status, body = self.request("POST", "/admin/flush")
        self.assertEqual(status, 403, body)
        self.assertIn("Auspex-Admin", json.loads(body)["error"])
        self.assertEqual(self.request("POST", "/admin/flush", Auspex_Admin="1")[0], 200)
        self.assertEqual(self.request("GET", "/admin/flush", Auspex_Admin="1")[0], 405)

    def test_requests_of_web_pages_are_refused(self):
        for path in ("/health", "/metrics", "/admin/status"):
            self.assertEqual(self.request("GET", path)[0], 200, path)
            self.assertEqual(self.request("GET", path, Origin="http://example.com")[0], 403, path)
            self.assertEqual(self.request("GET", path, Host="example.com:9180")[0], 403, path)
            self.assertEqual(self.request("GET", path, Host=f"localhost:{self.node.http}")[0], 200, path)
        self.assertEqual(
            self.request("POST", "/admin/drain", Origin="null", Auspex_Admin="1", Content_Length="0")[0], 403)


if __name__ == "__main__":
    unittest.main()
