"""TLS: a process' own certificate and key, and whom it trusts; read anew when the files are renewed on disk.

Between the parts of the mesh both sides show a certificate of one authority: `TLS_CERT`, `TLS_KEY`, `TLS_CA`. To
the gateway's clients only the gateway shows one: `GATEWAY_TLS_CERT`, `GATEWAY_TLS_KEY`.
"""

from __future__ import annotations

import logging
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

log = logging.getLogger("mesh.service.tls")


@dataclass(frozen=True, slots=True)
class Pem:
    """What the files held when they were read last, in the form of PEM; `ca` is empty where there is none."""

    cert: bytes
    key: bytes = field(repr=False)
    ca: bytes


class Tls:
    """The files of TLS; whoever connects or is connected to asks for `current()` each time.

    Args:
        cert: the certificate and what lies between it and its authority.
        key: of the certificate, without a passphrase.
        ca: certificates of the authorities that are trusted; None where nobody else's certificate is asked for.

    Raises:
        ValueError: they cannot be used; the text says which one and why.

    """

    def __init__(self, cert: Path, key: Path, ca: Path | None) -> None:
        self._cert, self._key, self._ca = cert, key, ca
        self._lock = Lock()  # gRPC asks from threads of its own
        self._stamps = self._stamps_now()
        self._pem = self._read()

    def current(self) -> Pem:
        """Return what the files hold: the same object until they hold something else that can be used."""
        with self._lock:
            stamps = self._stamps_now()
            if stamps != self._stamps:
                self._stamps = stamps
                try:
                    self._pem = self._read()
                except ValueError as exc:  # of two files one is written before the other
                    log.error("the certificate on disk is not taken up: %s", exc)
                else:
                    log.info("took up the renewed certificate %s", self._cert)
            return self._pem

    def server_context(self) -> ssl.SSLContext:
        """Return how to serve, each connection by what the files hold then.

        Who connects has to show a certificate where there are authorities to trust, and nobody is asked for one else.
        """
        context = self._server

        def by_the_newest(connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
            self.current()
            connection.context = self._server

        context.sni_callback = by_the_newest
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return how to connect by what the files hold: both sides show a certificate, and the name counts."""
        self.current()
        return self._client

    def _stamps_now(self) -> tuple[tuple[int, int, int], ...]:
        stamps = []
        with suppress(OSError):  # said by whoever reads it
            for path in filter(None, (self._cert, self._key, self._ca)):
                found = path.stat()
                stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
        return tuple(stamps)

    def _read(self) -> Pem:
        try:
            pem = Pem(self._cert.read_bytes(), self._key.read_bytes(), self._ca.read_bytes() if self._ca else b"")
        except OSError as exc:
            raise ValueError(f"cannot read {exc.filename}: {exc.strerror}") from None
        self._server, self._client = self._checked(pem)
        return pem

    def _checked(self, pem: Pem) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        if b"ENCRYPTED" in pem.key:
            raise ValueError(f"the key {self._key} has a passphrase, expected one without")
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        for path, text in ((self._cert, pem.cert), (self._ca, pem.ca)):
            if path is not None:
                try:
                    client.load_verify_locations(path)
                except ssl.SSLError:
                    found = "a private key" if b"PRIVATE KEY-" in text else f"{len(text)} bytes of something else"
                    raise ValueError(f"{path} holds {found}, expected certificates in the form of PEM") from None
        try:
            for context in (server, client):
                context.load_cert_chain(self._cert, self._key)
        except ssl.SSLError as exc:
            mismatch = exc.reason == "KEY_VALUES_MISMATCH"
            problem = f"is not that of the certificate {self._cert}" if mismatch else "is no private key in PEM"
            raise ValueError(f"the key {self._key} {problem}") from None
        # Nobody says better than a handshake whether a certificate is good: it is shown from both sides, in memory.
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.load_verify_locations(self._ca or self._cert)
        if self._ca is None:
            client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whoever signed it: it must not have expired
        else:
            client.load_cert_chain(self._cert, self._key)
            server.load_verify_locations(self._ca)
            server.verify_mode = ssl.CERT_REQUIRED
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        sides = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
        for side in sides * 2:
            try:
                with suppress(ssl.SSLWantReadError):
                    side.do_handshake()
            except ssl.SSLCertVerificationError as exc:
                by = f" (by {self._ca})" if self._ca else ""
                raise ValueError(f"the certificate {self._cert} is not good: {exc.verify_message}{by}") from None
        client.check_hostname = True
        return server, client
