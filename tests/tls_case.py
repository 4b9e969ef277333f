"""The gateway between two ends, with certificates of an authority of the test's own."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates

from tests.certificates import Authority
from tests.contract.case import ContractTestCase


class TlsTestCase(ContractTestCase):
    """Tests with an authority of their own, whose certificates lie in a folder."""

    def setUp(self) -> None:
        """Make the authority."""
        self.authority = Authority()
        self.folder = self.scratch()
        super().setUp()

    def write(self, name: str, *pem: bytes) -> Path:
        """:returns: the path of a new file"""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"".join(pem))
        return path.absolute()

    def trusting(
        self,
        name: str = "localhost",
        authority: Authority | None = None,
        *,
        mine: tuple[bytes, bytes] | None = None,
    ) -> IOpenSSLClientConnectionCreator:
        """:returns: a client's side of TLS

        :param name: the name that it asks for
        :param authority: whom it trusts; ours by default
        :param mine: the certificate that it shows, and its key
        """
        root = Certificate.loadPEM((authority or self.authority).certificate)
        creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(
            name,
            trustRoot=trustRootFromCertificates([root]),
            clientCertificate=None if mine is None else PrivateCertificate.loadPEM(b"".join(mine)),
        )
        return creator
