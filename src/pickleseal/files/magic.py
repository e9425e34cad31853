"""A guess of the format of a file that is not an envelope, from its first bytes.

It is for messages alone: nothing is accepted or refused by it.
"""

import re
from typing import NamedTuple


class Beginning(NamedTuple):
    """What a file looks like, as a noun with its article, and what to do about it.

    `sure`: it is certain. `adoptable`: adopt may take it as it is. `stands_in`: the file was saved
    in the place of the real one: a pointer, an error page, an empty file.
    """

    what: str
    advice: str = ""
    adoptable: bool = False
    stands_in: bool = False
    sure: bool = False

    @property
    def clause(self) -> str:
        """The guess as a clause."""
        return f"it {'is' if self.sure else 'looks like'} {self.what}"


_ADOPT = (
    "if you wrote it yourself, and did not download it, seal it as it is with: pickleseal adopt"
    " FILE. If it contains several pickles, load them and save them with signed_dump instead"
)
LOAD_AND_DUMP = (
    "load it where you trust it, with the tool that wrote it, and save it with signed_dump"
)
_IF_YOURS = "if it is yours, load it where you trust it, with {}, and save it with signed_dump"
_UNPACK = "if it is sealed inside, decompress it first"
_EITHER = f"{_UNPACK}. If not, and {_ADOPT.removeprefix('if ')}"
_AGAIN = "an error message may have been saved in its place: download the file again"
_PLAIN = Beginning("a plain, unsealed pickle", _ADOPT, adoptable=True)

EXCLUDE = "if it is not meant to be a pickle, leave it out with --exclude"
INCOMPLETE = "it may have been cut off while it was written or copied: get a whole copy"
EMPTY = Beginning(
    "empty",
    INCOMPLETE,
    stands_in=True,
    sure=True,
)

_SPACE = rb"(?:\xef\xbb\xbf)?\s*"
_KNOWN = (
    # Its first pickle is this number, and there are four more and the tensors behind it.
    (
        rb"\x80[\x02-\x05](?:\x95.{8})?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.",
        Beginning("a file in torch's old format", _IF_YOURS.format("torch.load"), sure=True),
    ),
    (rb"\x80[\x02-\x05]", _PLAIN),
    # Older protocols have no mark: these beginnings are unlikely in a text.
    (rb"[\]}]q\x00|\([ldt]p0\n", _PLAIN),
    (rb"\(?[ci][\w.]+\n\w[\w.]*\n(?:[()]|p\d+\n|q[\x00-\x08])", _PLAIN),
    (rb"\x1f\x8b", Beginning("a gzip file", _EITHER, adoptable=True)),
    (
        rb"\x78[\x01\x5e\x9c\xda]",
        Beginning("a zlib-compressed joblib file", _ADOPT, adoptable=True),
    ),
    (rb"BZh", Beginning("a bzip2 file", _EITHER, adoptable=True)),
    (rb"\xfd7zXZ", Beginning("an xz file", _EITHER, adoptable=True)),
    (rb"\x04\x22\x4d\x18", Beginning("an lz4 file", _EITHER, adoptable=True)),
    (rb"\x28\xb5\x2f\xfd", Beginning("a zstd file", _UNPACK)),
    (
        rb"PK\x03\x04",
        Beginning(
            "a zip archive, such as torch and numpy write",
            _IF_YOURS.format("the tool that wrote it, such as torch.load or numpy.load"),
        ),
    ),
    (
        rb"\x93NUMPY",
        Beginning(
            "a NumPy .npy file",
            "load it with numpy.load, which runs code only with allow_pickle=True, as an array of"
            " objects needs",
        ),
    ),
    (
        rb"ZF",
        Beginning(
            "a file of joblib before 0.10, with its arrays in files next to it",
            _IF_YOURS.format("joblib.load"),
        ),
    ),
    (
        rb"version https://git-lfs\.github\.com/spec/v1",
        Beginning(
            "a Git LFS pointer, not the file itself",
            "fetch the file with: git lfs pull",
            stands_in=True,
            sure=True,
        ),
    ),
    (
        rb"/annex/objects/",
        Beginning(
            "a git-annex pointer, not the file itself",
            "fetch the file with: git annex get",
            stands_in=True,
        ),
    ),
    (
        _SPACE + rb"(?i:<!doctype\s+html|<(?:html|head|body)\b)",
        Beginning("an HTML page", _AGAIN, stands_in=True),
    ),
    (_SPACE + rb"<[?!A-Za-z]", Beginning("an XML document", _AGAIN, stands_in=True)),
    (
        _SPACE + rb'(?:\{\s*["}]|\[\s*[{"\]])',
        Beginning("a JSON document", _AGAIN, stands_in=True),
    ),
)


def beginning_of(start: bytes) -> Beginning | None:
    """Return what a file that begins with `start` looks like, or None if that is not known."""
    if not start:
        return EMPTY
    return next((known for pattern, known in _KNOWN if re.match(pattern, start, re.DOTALL)), None)
