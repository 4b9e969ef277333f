"""Attacks on TLS, with certificates of an authority of the test's own."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates

from tests.attacks.attack import AttackTestCase
from tests.certificates import Authority


class TlsAttackTestCase(AttackTestCase):
    """Attacks with an authority of the test's own."""

    def setUp(self) -> None:
        """Make the authority."""
        self.authority = Authority()
        self.folder = self.scratch()
        super().setUp()

    def write(self, name: str, *pem: bytes) -> Path:
        """:returns: the path of a new file"""
        path = self.folder / name
        path.write_bytes(b"".join(pem))
        return path.absolute()

    def trusting(self, mine: tuple[bytes, bytes] | None = None) -> IOpenSSLClientConnectionCreator:
        """:returns: an honest client's side of TLS

        :param mine: the certificate that it shows
        """
        creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(
            "localhost",
            trustRoot=trustRootFromCertificates([Certificate.loadPEM(self.authority.certificate)]),
            clientCertificate=None if mine is None else PrivateCertificate.loadPEM(b"".join(mine)),
        )
        return creator
