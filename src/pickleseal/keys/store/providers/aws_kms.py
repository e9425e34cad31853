"""Keys that never leave AWS KMS: HMAC keys (`HMAC_256`), used with GenerateMac and VerifyMac.

KMS gets the statement of 96 bytes, never the file. A machine whose role may only call VerifyMac can
open files and cannot forge them. Each seal and each load make two calls.
"""

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pickleseal.errors import BadSealError, KeyringError, shown
from pickleseal.keys.key import KeyLine
from pickleseal.keys.mac import TAG_SIZE

if TYPE_CHECKING:
    from botocore.client import BaseClient

NAME = "aws-kms"

_ALGORITHM = "HMAC_SHA_256"
# Not an alias, which can be moved to another key.
_ARN = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]+", re.ASCII)


class KmsHolder:
    """An HMAC key in AWS KMS."""

    __slots__ = ("_arn", "_client", "_pid", "_region")

    def __init__(self, arn: str) -> None:
        found = _ARN.fullmatch(arn)
        if found is None:
            raise KeyringError(
                f"'{shown(arn)}' is not the ARN of a key in AWS KMS, such as"
                " arn:aws:kms:eu-central-1:111122223333:key/... (not an alias, which can be"
                " moved to another key)"
            )
        self._arn = arn
        self._region = found[1]
        self._client: BaseClient | None = None
        self._pid = 0

    def mac(self, statement: bytes) -> bytes:
        """Return the tag of a statement, made by KMS."""
        tag = self._call("generate_mac", Message=statement).get("Mac")
        if not isinstance(tag, bytes) or len(tag) != TAG_SIZE:
            raise KeyringError(f"AWS KMS returned no tag for key {self._arn}")
        return tag

    def check(self, statement: bytes, tag: bytes) -> None:
        """Raise BadSealError if KMS rejects a tag."""
        answer = self._call("verify_mac", Message=statement, Mac=tag)
        if answer.get("MacValid") is not True:
            raise BadSealError("the tag does not match")

    def _call(self, operation: str, **arguments: bytes) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        try:
            call = getattr(self._connected(), operation)
            answer: dict[str, Any] = call(KeyId=self._arn, MacAlgorithm=_ALGORITHM, **arguments)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "KMSInvalidMacException":
                raise BadSealError("the tag does not match") from None
            hint = (
                ". A machine that may only verify (kms:VerifyMac) cannot seal"
                if operation == "generate_mac" and "AccessDenied" in code
                else ""
            )
            raise KeyringError(f"AWS KMS, key {self._arn}: {shown(str(error))}{hint}") from None
        except (BotoCoreError, ValueError) as error:  # ValueError: the endpoint is not a URL
            raise KeyringError(f"AWS KMS, key {self._arn}: {shown(str(error))}") from None
        return answer

    def _connected(self) -> "BaseClient":
        # A forked child must not share connections.
        if self._client is None or self._pid != os.getpid():
            from botocore.config import Config  # noqa: PLC0415 - an extra, and slow to import
            from botocore.session import get_session  # noqa: PLC0415 - as above

            limits = Config(
                connect_timeout=5, read_timeout=10, retries={"mode": "standard", "max_attempts": 3}
            )
            client = get_session().create_client("kms", self._region, config=limits)
            _check_endpoint(client.meta.endpoint_url)
            self._client, self._pid = client, os.getpid()
        return self._client


def _check_endpoint(url: str) -> None:
    """Raise KeyringError if answers could be forged on their way: plain HTTP, not to this machine.

    Nothing but the connection says that KMS found a tag valid.
    """
    from ipaddress import ip_address  # noqa: PLC0415 - few keys are in KMS
    from urllib.parse import urlsplit  # noqa: PLC0415 - as above

    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost":
        return
    with suppress(ValueError):
        if ip_address(host).is_loopback:
            return
    raise KeyringError(
        f"AWS KMS: the endpoint {shown(url)} is not https, so anyone on the network could answer"
        " that a forged tag is valid. Plain http is accepted only for this machine: see"
        " AWS_ENDPOINT_URL and endpoint_url in AWS's settings"
    )


def plain_line(place: str, key_id: str) -> KeyLine:
    """Raise KeyringError: the secret never leaves KMS."""
    raise KeyringError(
        f"key {key_id} is in AWS KMS ({shown(place)}), and its secret cannot leave it"
    )


def connect(place: str, key_id: str) -> KmsHolder:  # noqa: ARG001 - the provider's interface
    """Return the holder of the key with an ARN."""
    try:
        import botocore.session  # noqa: F401, PLC0415 - whether it is installed
    except ImportError:
        raise KeyringError(
            "AWS KMS needs the package botocore: pip install 'pickleseal[aws]'"
        ) from None
    return KmsHolder(place)
