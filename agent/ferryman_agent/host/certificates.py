"""A fresh key and the request to certify it. Made by a process of its own where an agent is to stay small:

the library takes more memory than all the rest of an idle agent has, and is needed once in days.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from ferryman_agent.errors import IdentityError

_END = "-----END PRIVATE KEY-----\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAndRequest:
    """Both PEM. The key is ECDSA P-256; it has never left this machine."""

    private_key: str
    request: str


def make(name: str) -> KeyAndRequest:
    """Returns a new key and a signing request for it; `name` is for people, the coordinator names the identity."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64] or "ferryman-agent")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    private_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KeyAndRequest(
        private_key=private_key.decode("ascii"),
        request=request.public_bytes(serialization.Encoding.PEM).decode("ascii"),
    )


async def make_apart(name: str) -> KeyAndRequest:
    """Does what `make` does in a child process. Raises IdentityError."""
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            # Without it modules of the directory that the agent was started in come first, whoever put them there.
            "-P",
            "-m",
            __name__,
            name,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise IdentityError(
            f"cannot make a key: no child process can be started: {error.strerror}"
        ) from error
    output, errors = await child.communicate()
    private_key, end, request = output.decode(errors="replace").partition(_END)
    if child.returncode != 0 or not request:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise IdentityError(f"cannot make a key: {last or f'the child ended with {child.returncode}'}")
    return KeyAndRequest(private_key=private_key + end, request=request)


if __name__ == "__main__":
    made = make(sys.argv[1])
    sys.stdout.write(made.private_key + made.request)
