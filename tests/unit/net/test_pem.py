"""Certificates and keys in PEM files; more of what is refused stands in the tests of who reads them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_PEM, dump_certificate
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import encrypted, self_signed
from tests.properties import moderately
from wsaas.net.pem import private_key, reasons, split_pem, x509_of


class CertificateTests(SynchronousTestCase):
    """What stands between BEGIN CERTIFICATE and END CERTIFICATE."""

    def test_split_pem(self) -> None:
        """Certificates only, each whole, whatever stands between them."""
        first, key = self_signed()
        second, _ = self_signed()
        self.assertEqual(
            [part.split() for part in split_pem(b"text\n" + first + key + second)], [first.split(), second.split()]
        )
        self.assertEqual(split_pem(key), [])

    def test_x509_of(self) -> None:
        """Each as it is, whatever stands around it."""
        first, key = self_signed()
        second, _ = self_signed()
        found = x509_of(key + first + b"about it\n" + second)
        self.assertEqual(
            [dump_certificate(FILETYPE_PEM, one).split() for one in found], [first.split(), second.split()]
        )

    def test_one_that_is_encrypted(self) -> None:
        """OpenSSL would ask for a passphrase."""
        begin, body = self_signed()[0].split(b"\n", 1)
        pem = b"%b\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,%b\n\n%b" % (begin, b"0123456789ABCDEF" * 2, body)
        self.assertIn("damaged", str(self.assertRaises(ValueError, x509_of, pem)))

    @moderately
    @given(st.binary(max_size=200))
    def test_anything(self, content: bytes) -> None:
        """Is read, or is a ValueError."""
        for pem in (content, b"-----BEGIN CERTIFICATE-----\n" + content + b"\n-----END CERTIFICATE-----\n"):
            self.assertRaises(ValueError, x509_of, pem)


class PrivateKeyTests(SynchronousTestCase):
    """The one in a file."""

    def test_usable(self) -> None:
        """With a certificate beside it or not."""
        certificate, key = self_signed()
        for pem in (key, certificate + key, key + certificate):
            self.assertEqual(private_key(pem).private_numbers(), private_key(key).private_numbers())  # type: ignore[union-attr]  # an EC key

    def test_with_a_passphrase(self) -> None:
        """In both forms, without a prompt."""
        _, key = self_signed()
        for traditional in (False, True):
            error = self.assertRaises(ValueError, private_key, encrypted(key, traditional=traditional))
            self.assertEqual(str(error), "its private key has a passphrase")


class ReasonsTests(SynchronousTestCase):
    """What OpenSSL says."""

    def test_words(self) -> None:
        """In words where there are any."""
        for error, said in (
            (SSL.Error([("SSL routines", "", "ee key too small")]), "ee key too small"),
            (SSL.Error([("a", "b", "one"), ("a", "b", ""), ("a", "b", "two")]), "one; two"),
            (SSL.Error([]), "[]"),
            (ValueError("bad"), "bad"),
            (ValueError(), "OpenSSL does not take it"),
        ):
            self.assertEqual(reasons(error), said)
