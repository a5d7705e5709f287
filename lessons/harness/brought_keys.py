"""Tokens that bring the key they are to be checked with: whoever believes it believes anyone."""

import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlsplit

# The two primes of an RSA key. To draw them takes a second, and they keep no secret.
P = int(
    "f34eee206fa6abb1587c5a2aa7b025cf489304ba1ed781d876503f61a0ff2b93719a600987de13bc26985978"
    "e76e9e4a96f0cb1ca6acf4d88e08f14d0f9f5e9069091efe33f58e90f71434c36f701bca1783e54325145848"
    "85be15fcaacb88066d751087166557b9c105700d6494519d588622304caeb97f51dcba1533366b13",
    16,
)
Q = int(
    "e9e7e0f95cf15867b888d963e6aad633a169a32e41d2257af2db0ddd603bcfdedd4b6e0b5102a41118a654a5"
    "6a7dd684b1fdcb68105279e54524e612e974aeeb992558ec70c6f527d4bad812c80a0c89dd73cbd5dd253cc2"
    "a266e65f9f8b66c88e97e929236a21f634fbcff11f1143a5f5a1eaa85a73df1e9e28442e5a9da2d3",
    16,
)
E = 65537


def with_brought_keys(claims: dict[str, Any], issuer: str) -> dict[str, str]:
    """Return tokens by name, each signed with a key that its own header shows.

    As `jwk`, and as `x5c` in a certificate that `issuer` seems to have, and has signed itself.
    """
    import jwt
    from jwt.algorithms import get_default_algorithms

    algorithms: Any = get_default_algorithms()
    tokens = {}
    for name, key in _keys().items():
        public = algorithms[name].to_jwk(key.public_key(), as_dict=True)
        headers = {"jwk": public, "x5c": [_certificate(name, issuer)]}
        for where, value in headers.items():
            tokens[f"{name} with its key in {where}"] = jwt.encode(
                claims, key, algorithm=name, headers={where: value}
            )
    return tokens


@cache
def _keys() -> dict[str, Any]:
    """Return a private key for each algorithm."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    d = rsa.rsa_recover_private_exponent(E, P, Q)
    parts = rsa.rsa_crt_dmp1(d, P), rsa.rsa_crt_dmq1(d, Q), rsa.rsa_crt_iqmp(P, Q)
    numbers = rsa.RSAPrivateNumbers(P, Q, d, *parts, rsa.RSAPublicNumbers(E, P * Q))
    return {
        "RS256": numbers.private_key(unsafe_skip_rsa_key_validation=True),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }


@cache
def _certificate(algorithm: str, issuer: str) -> str:
    """Return a self-signed certificate as `x5c` has it: DER in base64."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    key, now = _keys()[algorithm], datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer[:64])])
    names: list[Any] = [x509.UniformResourceIdentifier(issuer)]
    names += [x509.DNSName(host) for host in [urlsplit(issuer).hostname] if host]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, None if algorithm == "EdDSA" else hashes.SHA256())
    )
    return base64.b64encode(certificate.public_bytes(_der())).decode()


def _der() -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER
