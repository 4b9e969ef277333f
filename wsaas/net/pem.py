"""Certificates and private keys in PEM files, read without ever asking for a passphrase.

OpenSSL's own reader asks for one at the terminal or on standard input, and waits.
"""

from __future__ import annotations

import re
from ssl import PEM_cert_to_DER_cert

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL.crypto import FILETYPE_ASN1, X509, load_certificate

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)


def split_pem(pem: bytes) -> list[bytes]:
    """:returns: the certificates in a PEM file, each by itself"""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    return [begin + part.partition(end)[0] + end + b"\n" for part in pem.split(begin)[1:]]


def x509_of(pem: bytes) -> list[X509]:
    """Parse the certificates in a PEM file with OpenSSL.

    :raises ValueError: if there is none, or one is damaged
    """
    found: list[X509] = []
    for number, block in enumerate(split_pem(pem), 1):
        try:
            found.append(load_certificate(FILETYPE_ASN1, PEM_cert_to_DER_cert(block.decode("ascii"))))
        except Exception as error:  # OpenSSL raises many kinds
            raise ValueError(f"certificate {number} in it is damaged") from error
    if not found:
        raise ValueError("no certificate in it")
    return found


def private_key(pem: bytes) -> PrivateKey:
    """Read the one private key in a PEM file.

    :raises ValueError: if there is not exactly one, or it cannot be used
    """
    blocks = [match[0] for match in _KEY.finditer(pem)]
    if len(blocks) != 1:
        raise ValueError("more than one private key in it" if blocks else "no private key in it")
    try:
        key = load_pem_private_key(blocks[0], password=None)
    except TypeError as error:
        raise ValueError("its private key has a passphrase") from error
    except Exception as error:  # cryptography raises many kinds
        raise ValueError("its private key is damaged") from error
    if not isinstance(key, PrivateKey):
        raise ValueError("its private key is of a kind that cannot be used: RSA, ECDSA or EdDSA")
    return key


def reasons(error: Exception) -> str:
    """:returns: the reasons in an error of OpenSSL, as text"""
    said = [str(part[-1]) for part in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(filter(None, said)) or str(error) or "OpenSSL does not take it"
