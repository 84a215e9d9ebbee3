"""Certificates for tests, generated with openssl."""
import shutil
import subprocess
import tempfile
from pathlib import Path


class Authority:
    """A certificate authority in a temporary directory."""

    def __init__(self, name="authority"):
        self.work = Path(tempfile.mkdtemp(prefix="auspex-certificates-"))
        self.name = name
        self.certificate = self.work / "authority.pem"
        self.key = self.work / "authority.key"
        self.openssl("req", "-x509", *self.new_key(self.key), "-days", "10", "-subj", f"/CN={name}", "-out", self.certificate)

    @staticmethod
    def new_key(path):
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path

    @staticmethod
    def openssl(*arguments):
        run = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, f"openssl {arguments}: {run.stderr}"

    def give(self, name, alternatives="IP:127.0.0.1,IP:127.0.0.2,IP:127.0.0.3", days=10):
        """Issues a certificate for `name`; a negative `days` makes one that has already expired."""
        certificate, key = self.work / f"{name}.pem", self.work / f"{name}.key"
        request, extension = self.work / f"{name}.csr", self.work / f"{name}.ext"
        self.openssl("req", *self.new_key(key), "-subj", f"/CN={name}", "-out", request)
        extension.write_text(f"subjectAltName = {alternatives}\n")
        self.openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", days,
                     "-extfile", extension, "-out", certificate)
        return Identity(certificate, key, self.certificate)

    def close(self):
        shutil.rmtree(self.work, ignore_errors=True)


class Identity:
    """A certificate, its key and the authorities to trust, as settings of a node."""

    def __init__(self, certificate, key, authorities):
        self.certificate, self.key, self.authorities = certificate, key, authorities

    def between_nodes(self, encryption="all", **options):
        return self.settings("server_encryption_options", internode_encryption=encryption, truststore=self.authorities, **options)

    def for_clients(self, **options):
        return self.settings("client_encryption_options", enabled="true", **options)

    def settings(self, group, **options):
        options = {"keystore": self.certificate, "private_key": self.key, **options}
        return [f"{group}.{name}={value}" for name, value in options.items()]
