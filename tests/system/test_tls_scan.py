"""TLS as a scanner finds it: sslyze, which brings an OpenSSL of its own, old enough for what nobody should speak.

It wants an older ``cryptography`` than the gateway, so it is in a virtual environment of its own: ``SSLYZE`` in the
environment says where its program is, unless that is on the ``PATH``.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.utils import getProcessOutputAndValue

from bench.ports import free_port
from tests.certificates import Authority
from tests.descriptions import escaped
from tests.tls_case import TlsTestCase
from tests.waiting import reactor, within
from wsaas.net import server_tls as tls

#: Everything that it looks for, beside what its check of Mozilla's profile takes.
_MORE = ("--certinfo", "--early_data", "--resum")
_OLD = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")
_ECDSA = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
}
_RSA = {name.replace("ECDSA", "RSA") for name in _ECDSA}
_OF_1_3 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
#: Those of Mozilla's intermediate profile, of which X25519MLKEM768 is not known to the scanner.
_CURVES = {"X25519", "secp256r1", "secp384r1"}


class ScanTests(TlsTestCase):
    """Both listeners, with each kind of endpoint and of key."""

    def setUp(self) -> None:
        """Make a chain of authorities; whoever scans knows the root."""
        program = os.environ.get("SSLYZE") or shutil.which("sslyze")
        if program is None:
            self.skipTest("sslyze is not installed: it takes a virtual environment of its own, and SSLYZE")
        super().setUp()
        self.program = program
        self.issuer = Authority("Issuer", self.authority)
        self.root = self.write("root.crt", self.authority.certificate)

    def issue(self, file: str, name: str, bits: int = 0) -> Path:
        """:returns: a new file with a certificate, its key and the authority between it and the root"""
        return self.write(file, *self.issuer.issue((name,), bits=bits), self.issuer.certificate)

    async def scan(self, port: int, name: str = "localhost", *options: str) -> tuple[dict[str, Any], str]:
        """Have a port scanned.

        :param name: the host name that is asked for
        :returns: what was found of each thing, and what does not conform to Mozilla's intermediate profile
        """
        report = self.folder / "report.json"
        arguments = [f"--json_out={report}", f"--certinfo_ca_file={self.root}", f"--sni={name}", *_MORE, *options]
        arguments += ["--mozilla_config=intermediate", f"localhost:{port}"]
        output, errors, _ = await within(
            getProcessOutputAndValue(self.program, arguments, os.environ, reactor=reactor), "a scan"
        )
        said = output.decode()
        self.assertIn("CHECKING CONNECTIVITY", said, errors.decode())
        (result,) = json.loads(report.read_bytes())["server_scan_results"]
        self.assertEqual((result["connectivity_status"], result["scan_status"]), ("COMPLETED", "COMPLETED"), said)
        found = {what: scanned["result"] for what, scanned in result["scan_result"].items()}
        return found, said.partition("COMPLIANCE AGAINST")[2]

    def accepted(self, found: dict[str, Any], version: str) -> set[str]:
        """:returns: the ciphers of a version that were accepted"""
        suites = found[f"{version}_cipher_suites"]
        self.assertGreaterEqual(len(suites["accepted_cipher_suites"]) + len(suites["rejected_cipher_suites"]), 5)
        return {each["cipher_suite"]["name"] for each in suites["accepted_cipher_suites"]}

    def check(self, found: dict[str, Any], name: str, ciphers: set[str]) -> None:
        """Everything is as it should be.

        :param name: that of the certificate which is shown
        :param ciphers: of TLS 1.2
        """
        for version in _OLD:
            self.assertEqual(self.accepted(found, version), set(), version)
        self.assertEqual(self.accepted(found, "tls_1_2"), ciphers)
        self.assertEqual(self.accepted(found, "tls_1_3"), _OF_1_3)
        self.assertEqual({curve["name"] for curve in found["elliptic_curves"]["supported_curves"]}, _CURVES)
        (shown,) = found["certificate_info"]["certificate_deployments"]
        subjects = [each["subject"]["rfc4514_string"] for each in shown["received_certificate_chain"]]
        self.assertEqual(subjects, [f"CN={name}", "CN=Issuer"])
        trusted = {each["trust_store"]["name"]: each for each in shown["path_validation_results"]}["Supplied CA file"]
        self.assertTrue(trusted["was_validation_successful"], trusted["validation_error"])
        self.assertIs(shown["received_chain_has_valid_order"], True)
        self.assertIs(found["tls_compression"]["supports_compression"], False)  # CRIME
        self.assertIs(found["tls_1_3_early_data"]["supports_early_data"], False)
        self.assertIs(found["heartbleed"]["is_vulnerable_to_heartbleed"], False)
        self.assertIs(found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"], False)
        self.assertEqual(found["robot"]["robot_result"], "NOT_VULNERABLE_RSA_NOT_SUPPORTED")
        self.assertIs(found["tls_fallback_scsv"]["supports_fallback_scsv"], True)
        self.assertIs(found["tls_extended_master_secret"]["supports_ems_extension"], True)
        renegotiation = found["session_renegotiation"]
        self.assertIs(renegotiation["supports_secure_renegotiation"], True)
        self.assertIs(renegotiation["is_vulnerable_to_client_renegotiation_dos"], False)
        for kind in ("session_id", "tls_ticket"):
            self.assertEqual(found["session_resumption"][f"{kind}_resumption_result"], "NOT_SUPPORTED")

    async def test_both_listeners(self) -> None:
        """Clients' and pushers', the latter with client certificates: each name of a folder, each kind of key."""
        self.issue("tls/localhost.pem", "localhost")
        self.issue("tls/rsa.pem", "rsa.example", 2048)
        single = self.issue("single.pem", "localhost")
        pushers = Authority("Pushers")
        ca = self.write("pushers.pem", pushers.certificate)
        certificate, key = pushers.issue(("pusher",))
        mine = self.write("mine.crt", certificate), self.write("mine.key", key)
        clients, pushes = free_port(), free_port()
        await self.serve(
            WS_LISTEN=f"tls:{escaped(single.parent / 'tls')}:{clients}:interface=127.0.0.1",
            PUSH_LISTEN=f"ssl:{pushes}:privateKey={escaped(single)}:caCerts={escaped(ca)}:interface=127.0.0.1",
            WS_HOSTNAME=f"https://localhost:{pushes}",
        )
        for port, name, ciphers, options in (
            (clients, "localhost", _ECDSA, []),
            (clients, "rsa.example", _RSA, []),
            (pushes, "localhost", _ECDSA, [f"--cert={mine[0]}", f"--key={mine[1]}"]),
        ):
            found, profile = await self.scan(port, name, *options)
            self.check(found, name, ciphers)
            self.assertIn("OK - Compliant", profile)
        self.assertEqual(self.api.calls, [])
        self.assertNotRegex(self.logged(), "WARN|ERROR|Traceback|Unhandled")

    async def test_the_scanner(self) -> None:
        """Finds what it should, where it is: an endpoint that is lax on purpose."""
        self.patch(tls, "CIPHERS", b"ALL:@SECLEVEL=0")
        self.patch(SSL, "TLS1_2_VERSION", SSL.TLS1_VERSION)
        self.patch(tls, "GROUPS", (b"X25519:P-521",))
        port, path = free_port(), self.issue("tls/localhost.pem", "localhost", 2048)
        await self.serve(
            WS_LISTEN=f"tls:{escaped(path.parent)}:{port}:interface=127.0.0.1", WS_HOSTNAME=f"https://localhost:{port}"
        )
        found, profile = await self.scan(port)
        for version in ("tls_1_0", "tls_1_1"):
            self.assertIn("TLS_RSA_WITH_AES_128_CBC_SHA", self.accepted(found, version))
        self.assertEqual(self.accepted(found, "ssl_3_0"), set())
        self.assertTrue(self.accepted(found, "tls_1_2") > _RSA)
        for issue in ("tls_versions", "ciphers", "tls_curves"):
            self.assertIn(f"* {issue}: ", profile)
