"""HTTPS with a certificate of our own: believed when its authority is named, and not before."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from libs.service.errors import StartupRefused
from libs.service.trust import Trust


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for this machine that it has signed itself."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    now = dt.datetime.now(dt.UTC)
    until = now + dt.timedelta(hours=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, until)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, None)
    )
    file = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@asynccontextmanager
async def answering(certificate: Path) -> AsyncIterator[str]:
    """The address of a server that answers every request over HTTPS."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def how_many(trust: Trust) -> int:
    return trust.cert_store_stats()["x509_ca"]


async def test_nothing_is_read_before_https_is_spoken_and_then_the_wellknown_authorities(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    trust = Trust(ssl.PROTOCOL_TLS_CLIENT)
    async with answering(certificate) as url, httpx.AsyncClient(verify=trust) as client:
        assert how_many(trust) == 0
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(url)
    assert how_many(trust) == how_many(httpx.create_ssl_context())  # type: ignore[arg-type]


async def test_a_server_whose_authority_is_named_is_believed(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with (
        answering(certificate) as url,
        httpx.AsyncClient(verify=Trust(ssl.PROTOCOL_TLS_CLIENT)) as client,
    ):
        assert (await client.get(url)).status_code == httpx.codes.NO_CONTENT
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(url.replace("127.0.0.1", "localhost"))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read_refuse_the_start(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(StartupRefused, match="SSL_CERT_FILE"):
        Trust(ssl.PROTOCOL_TLS_CLIENT)
