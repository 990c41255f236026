"""What answers at the address of a tracking server, before any work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from study.errors import UsageError
from study.tracking.store import Store

Answer = Callable[[str], tuple[int, bytes]]
PAGE = b"<!doctype html><html><body>Welcome</body></html>"
EXPERIMENT = b'{"experiment": {"experiment_id": "1", "name": "study", "lifecycle_stage": "%s"}}'


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], str]]:
    """Starts a web server with these answers (status and body by path); returns its address."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    servers = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answer(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Silence."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def healthy(status: int, body: bytes) -> Answer:
    """An MLflow server that is well, and answers everything else in this way."""
    return lambda path: (200, b"OK") if path.endswith("/health") else (status, body)


def test_a_server_is_taken_if_it_is_healthy_and_speaks_of_experiments(serve: Callable[[Answer], str]) -> None:
    Store(uri=serve(healthy(200, EXPERIMENT % b"active"))).check()
    Store(uri=serve(healthy(200, EXPERIMENT % b"active")) + "/mlflow/").check()
    Store(uri=serve(healthy(404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}'))).check()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda _: (404, b""), r"answers, but not as an MLflow server does \(HTTP 404 at /health\)"),
        (lambda _: (500, PAGE), r"answers, but not as an MLflow server does \(HTTP 500 at /health\)"),
        (lambda _: (200, PAGE), r"answers, but not as an MLflow server does: is the address right\?"),
        (lambda _: (401, b"who are you?"), "refuses the login: set MLFLOW_TRACKING_USERNAME"),
        (healthy(401, b"who are you?"), "refuses the login: set MLFLOW_TRACKING_USERNAME"),
        (healthy(403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}'), "refuses the login"),
        (healthy(200, PAGE), "the server cannot be used: "),
        (healthy(500, PAGE), "the server cannot be used: "),
        (healthy(200, EXPERIMENT % b"deleted"), "tracking.experiment=study was deleted"),
    ],
)
def test_any_other_answer_is_refused_in_a_sentence(
    serve: Callable[[Answer], str], answer: Answer, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as refusal:
        Store(uri=serve(answer)).check()
    assert "\n" not in str(refusal.value) and "<html>" not in str(refusal.value)


def test_a_server_that_does_not_answer_is_refused() -> None:
    with pytest.raises(UsageError, match=r"tracking.uri=http://127.0.0.1:9 does not answer \(.*refused"):
        Store(uri="http://127.0.0.1:9").check()
