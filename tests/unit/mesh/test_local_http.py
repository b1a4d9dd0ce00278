"""How the runner asks the parts of the mesh: often, so it must cost little, and keep nothing of the last time."""

from __future__ import annotations

import http.server
import ssl
import threading

import pytest

from mesh.local import http as local_http


def test_each_question_has_a_connection_of_its_own_and_none_makes_certificates_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peers = []

    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # it would keep the connection

        def do_GET(self) -> None:
            peers.append(self.client_address)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/healthz"
        assert local_http.get(url, timeout_s=5).status_code == 200
        made = []
        monkeypatch.setattr(ssl, "create_default_context", lambda *args, **kwargs: made.append(args))
        assert local_http.get(url, timeout_s=5).status_code == 200
        server.shutdown()

    assert len(set(peers)) == 2
    assert not made
