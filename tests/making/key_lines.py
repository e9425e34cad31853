"""Key lines, and lines that are none."""

import base64

from making.parts import BLAKE, SECRET, SHA
from pickleseal.keys.key import Key
from pickleseal.keys.mac import Mac

Line = dict[str, str | int]


def _line(key: Key, secret: bytes) -> str:
    text = base64.urlsafe_b64encode(secret).decode().rstrip("=")
    return f"pickleseal-key-1.{key.suite.value}.{text}.{key.id}"


def key_lines() -> list[Line]:
    """Return lines with the suite and id of their key, and others with what is wrong."""
    first, second = _line(SHA, SECRET), _line(BLAKE, SECRET)
    dashed = bytes([0xFB, 0xFF, 0xBF]) * 10 + b"ab"
    with_dashes = _line(Key(BLAKE.suite, Mac(dashed)), dashed)
    equal = bytes([7]) * 32
    good: list[Line] = [
        {"line": line, "suite": suite, "id": line.rpartition(".")[2].strip()}
        for line, suite in ((first, 1), (second, 2), (with_dashes, 2), (second + "\n", 2))
    ]
    bad = {
        "": "nothing",
        second[:-1]: "cut off",
        second + "0": "an id of 33 digits",
        second + "\n\n": "two line feeds",
        second + "\r\n": "a Windows line end",
        second + " ": "a space behind it",
        " " + second: "a space before it",
        "\ufeff" + second: "a byte order mark",
        second.upper(): "in upper case",
        second[:-32] + second[-32:].upper(): "its id in upper case",
        second.replace("key-1.2", "key-1.1"): "an id of the other suite",
        second.replace("key-1.2", "key-1.3"): "a suite that does not exist",
        second.replace("key-1.2", "key-1.02"): "its suite with a zero before it",
        second.replace("key-1", "key-2"): "another version",
        second.replace("AAEC", "AAED"): "another secret",
        second[:-33] + "=" + second[-33:]: "padding behind the secret",
        second[:-34] + "9" + second[-33:]: "spare bits that are not zero",
        second[:-34] + second[-33:]: "a secret of 42 characters",
        with_dashes.replace("_", "/").replace("pickleseal/", "pickleseal_"): "plain base64",
        second.replace(".", ",", 1): "a comma",
        second + "." + second[-32:]: "five fields",
        _line(Key(BLAKE.suite, Mac(equal)), equal): "a secret of equal bytes",
    }
    return good + [{"line": line, "wrong": reason} for line, reason in bad.items()]
