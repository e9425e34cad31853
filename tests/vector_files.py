"""Read the files of tests/vectors, as their README.md says, for the plain reader."""

import gzip
from pathlib import Path
from typing import NamedTuple

import plain_reader

FOLDER = Path(__file__).with_name("vectors")
FILES = sorted(file for file in FOLDER.iterdir() if file.name.startswith(("bad-", "good-")))
SECRETS = [
    plain_reader.Secret(1, bytes(range(32))),
    plain_reader.Secret(2, bytes(range(32))),
    plain_reader.Secret(2, bytes(range(0x80, 0xA0)), contexts=("fraud/*", "prices")),
    plain_reader.Secret(2, bytes(range(255, 223, -1)), revoked=True),
]
BUFFERS = (b"first", b"second buffer")


class Vector(NamedTuple):
    """A vector: all lines but those on segments, these, and the envelope."""

    name: str
    lines: dict[str, str]
    segments: list[str]
    data: bytes

    @property
    def expect(self) -> str:
        return self.lines["expect"]

    @property
    def only_loaders_refuse(self) -> bool:
        return self.lines.get("check", "").startswith("8.")

    @property
    def options(self) -> plain_reader.Options:
        """What the caller asks for."""
        pin = self.lines.get("pin", "").split()
        allow = self.lines.get("allow")
        return plain_reader.Options(
            context=self.lines.get("context"),
            stream=self.lines.get("input") == "stream",
            max_bytes=self._number("max-bytes"),
            max_age=self._number("max-age"),
            min_serial=self._number("min-serial"),
            pin=(int(pin[0]), pin[1], pin[2]) if pin else None,
            allow=None if allow is None else tuple(allow.split()),
            strict_versions=self.lines.get("versions") == "strict",
            expect=self.lines.get("expect-digest"),
            buffers=None if self.lines.get("buffers") == "none" else BUFFERS,
        )

    def _number(self, name: str) -> int | None:
        text = self.lines.get(name)
        return None if text is None else int(text)


def parse(name: str, content: bytes) -> Vector:
    head, _, data = content.partition(b"\n\n")
    pairs = [line.split(": ", 1) for line in head.decode().split("\n")]
    segments = [value for key, value in pairs if key == "segment"]
    lines = {key: value for key, value in pairs if key != "segment"}
    if lines.get("encoding") == "gzip":
        data = gzip.decompress(data)
    return Vector(name, lines, segments, data)


def read_all() -> list[Vector]:
    return [parse(file.name, file.read_bytes()) for file in FILES]
