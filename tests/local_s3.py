"""S3 on this machine: moto's server in a thread, behind a recorder that can also be a bad network.

Requests are real HTTP on loopback. `python local_s3.py` serves in a process of its own, for an
example or a benchmark, and prints its URL. With `--unchanging`, no object may be written twice.
"""

import io
import json
import os
import re
import sys
import threading
import urllib.request
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

BUCKET = "models"


class Request(NamedTuple):
    """One request: how many bytes answered it, and `sent` is all that it brought."""

    method: str
    path: str
    query: str
    range: str | None
    condition: str | None
    size: int
    sent: bytes


Answer = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Fault = Callable[[dict[str, Any]], Answer | None]


class LocalS3:
    """A server, as long as it is not stopped.

    `fault` is called with each request before it is answered. It may act, and may return an answer
    of its own.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):  # type: ignore[misc]
            protocol_version = "HTTP/1.1"

            def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
                pass

        self.requests: list[Request] = []
        self.fault: Fault | None = None
        self._client: Any = None
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request, as WSGI has it."""
        if environ["PATH_INFO"] == "/_requests":
            return self._told(start_response)
        sent = b""
        if length := int(environ.get("CONTENT_LENGTH") or 0):
            sent = environ["wsgi.input"].read(length)
            environ["wsgi.input"] = io.BytesIO(sent)
        answer = None if self.fault is None else self.fault(environ)
        body = (answer or self._moto)(environ, start_response)
        if not isinstance(body, Generator):
            body = [b"".join(body)]
        self.requests.append(
            Request(
                environ["REQUEST_METHOD"],
                environ["PATH_INFO"],
                environ.get("QUERY_STRING", ""),
                environ.get("HTTP_RANGE"),
                environ.get("HTTP_IF_MATCH") or environ.get("HTTP_IF_NONE_MATCH"),
                sum(map(len, body)) if isinstance(body, list) else 0,
                repr(environ).encode() + sent,
            )
        )
        return body

    def _told(self, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer with the size of each answer since the last time, for another process."""
        told = json.dumps([one.size for one in self.requests]).encode()
        self.requests.clear()
        start_response("200 OK", [("Content-Length", str(len(told)))])
        return [told]

    def keep(self) -> None:
        """Answer ranges from memory from now on: moto reads the whole object for each.

        What was read once must not change.
        """
        kept: dict[str, tuple[bytes, dict[str, str]]] = {}

        def ranged(environ: dict[str, Any]) -> Answer | None:
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", environ.get("HTTP_RANGE", ""))
            if environ["REQUEST_METHOD"] != "GET" or wanted is None:
                return None
            path = environ["PATH_INFO"]
            if path not in kept:
                headers: dict[str, str] = {}
                whole = {name: value for name, value in environ.items() if name != "HTTP_RANGE"}
                body = self._moto(whole, lambda _, found, *__: headers.update(found))
                data = b"".join(body)
                # Those of a whole object are no checksums of a part.
                names = [name for name in headers if "checksum" not in name.lower()]
                kept[path] = data, {name: headers[name] for name in names}
            data, headers = kept[path]
            start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(data))

            def answer(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
                told = {
                    **headers,
                    "Content-Length": str(end - start),
                    "Content-Range": f"bytes {start}-{end - 1}/{len(data)}",
                }
                start_response("206 Partial Content", list(told.items()))
                return [data[start:end]]

            return answer

        self.fault = ranged

    def variables(self) -> dict[str, str]:
        """Return the environment in which boto and s3fs talk to this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self) -> Any:
        """Return boto's client for this server, whose requests are recorded, too."""
        import boto3

        if self._client is None:
            self._client = boto3.client(
                "s3",
                endpoint_url=self.url,
                region_name="us-east-1",
                aws_access_key_id="testing",
                aws_secret_access_key="testing",
            )
        return self._client

    def stop(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def local_s3() -> Iterator[LocalS3]:
    """Run a server with the bucket `models`."""
    server = LocalS3()
    try:
        # moto keeps what it stores in this process, whichever server it came by.
        urllib.request.urlopen(f"{server.url}/moto-api/reset", b"").close()
        server.client().create_bucket(Bucket=BUCKET)
        yield server
    finally:
        server.stop()


def refusal(status: str, code: str) -> Answer:
    """Return an answer with an error of S3's."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = f"<Error><Code>{code}</Code><Message>told by a test</Message></Error>".encode()
        if environ["REQUEST_METHOD"] == "HEAD":
            body = b""
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]

    return answer


def cut_off(size: int, sent: int) -> Answer:
    """Return an answer that ends before its end, as of a connection that is lost."""

    def answer(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("206 Partial Content", [("Content-Length", str(size))])
        yield bytes(sent)
        raise ConnectionAbortedError

    return answer


if __name__ == "__main__":
    with local_s3() as server:
        if "--unchanging" in sys.argv:
            server.keep()
        print(server.url, flush=True)  # noqa: T201 - what the caller reads
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
