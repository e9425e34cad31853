"""AWS KMS on this machine: moto's server as a process of its own, with a recorder before it.

moto checks signatures and the actions of IAM policies, and not their resources. It refuses in a
form of its own; the recorder puts such a refusal into the form that KMS has.
"""

import base64
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

REGION = "eu-central-1"
_START_LIMIT = 120


class Credentials(NamedTuple):
    """What a machine proves to AWS with who it is."""

    access_key: str
    secret_key: str


class Call(NamedTuple):
    """One call of KMS: the operation, and the message that was sent with it."""

    operation: str
    message: bytes


ROOT = Credentials("testing", "testing")


class LocalKms:
    """A KMS, as long as it is not stopped."""

    def __init__(self, folder: Path) -> None:
        """Start it; `folder` is for its log, and is the home of what calls it."""
        self.calls: list[Call] = []
        self._home = folder
        self._clients: dict[str, Any] = {}
        log = folder / "moto.log"
        with log.open("wb") as output:
            self._moto = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-p", "0"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "HOME": str(folder), "NO_COLOR": "1"},
            )
        self._server = _server(self, self._address(log))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _address(self, log: Path) -> str:
        for _ in range(_START_LIMIT * 20):
            found = re.search(r"Running on http://(\S+:\d+)", log.read_text(errors="replace"))
            if found:
                return found[1]
            if self._moto.poll() is not None:
                break
            time.sleep(0.05)
        self._moto.kill()
        self._moto.wait()
        raise RuntimeError(f"moto did not start: {log.read_text(errors='replace')}")

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._moto.send_signal(signal.SIGTERM)
        self._moto.wait()

    def environment(self, who: Credentials = ROOT) -> dict[str, str]:
        """Return the variables by which botocore finds this KMS, and nothing else of AWS."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": who.access_key,
            "AWS_SECRET_ACCESS_KEY": who.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self._home / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self._home / "none"),
            "NO_PROXY": "127.0.0.1",
        }

    def client(self, service: str) -> Any:
        """Return a client for those who look after this KMS."""
        from botocore.session import Session

        if service not in self._clients:
            session = Session()
            session.set_credentials(*ROOT)
            made = session.create_client(service, REGION, endpoint_url=self.url)
            self._clients[service] = made
        return self._clients[service]

    def key(self, spec: str = "HMAC_256", usage: str = "GENERATE_VERIFY_MAC") -> str:
        """Make a key and give its ARN."""
        made = self.client("kms").create_key(KeySpec=spec, KeyUsage=usage)
        arn: str = made["KeyMetadata"]["Arn"]
        return arn

    def user(self, name: str, policy: dict[str, Any]) -> Credentials:
        """Make an IAM user whose one policy this is."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        # moto holds no resource against a policy: only one for all of them allows anything.
        statements = [{**statement, "Resource": "*"} for statement in policy["Statement"]]
        document = json.dumps({**policy, "Statement": statements})
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=document)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return Credentials(made["AccessKeyId"], made["SecretAccessKey"])

    @contextmanager
    def enforcing(self) -> Iterator[None]:
        """Check who calls, and whether the caller's policy allows it; else nobody is checked."""
        self._skip_checks("0")
        try:
            yield
        finally:
            self._skip_checks("inf")

    def _skip_checks(self, how_often: str) -> None:
        request = urllib.request.Request(
            f"{self.url}/moto-api/reset-auth",
            data=how_often.encode(),
            headers={"Content-Type": "text/plain"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request).close()


def _server(kms: LocalKms, address: str) -> ThreadingHTTPServer:
    """Return a server that passes all on to moto, and keeps what was said to KMS."""

    class Recorder(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            target = self.headers.get("X-Amz-Target", "")
            if target.endswith("Mac"):
                message = base64.b64decode(json.loads(body)["Message"])
                kms.calls.append(Call(target.split(".")[1], message))
            to = urlsplit(f"//{address}")
            moto = http.client.HTTPConnection(to.hostname or "", to.port)
            try:
                # The headers as they are: the caller has signed them, Host included.
                moto.putrequest("POST", self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    moto.putheader(name, value)
                moto.endheaders(body)
                answer = moto.getresponse()
                status, kind, text = answer.status, answer.headers["Content-Type"], answer.read()
            finally:
                moto.close()
            denied = re.search(rb"<Code>AccessDenied</Code><Message>(.*?)</Message>", text)
            if denied:
                status, kind = 400, "application/x-amz-json-1.1"
                said = {"__type": "AccessDeniedException", "Message": denied[1].decode()}
                text = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Recorder)


def become(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables of an environment."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
