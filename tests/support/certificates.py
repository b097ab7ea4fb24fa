"""Certificates for the tests, made on the spot."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate(
    folder: Path, name: str = "localhost", days: int = 30, host: str = "localhost"
) -> tuple[Path, Path]:
    """A certificate for `host`, signed by itself, and its key: the paths of both."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    contents = (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    # A server may be reading them just now: it finds neither half of one, nor, for long, one of the
    # two without the other.
    new = [path.with_suffix(".new") for path in paths]
    for path, content in zip(new, contents, strict=True):
        path.write_bytes(content)
    for path, beside in zip(paths, new, strict=True):
        beside.replace(path)
    return paths


def tls_options(certificate: Path, key: Path) -> list[str]:
    """What a server is told to speak TLS by, on a free port."""
    return [
        *("--tls-port", "tcp:0:interface=127.0.0.1"),
        *("--tls-certificate", str(certificate), "--tls-key", str(key)),
    ]
