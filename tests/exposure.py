"""What an error shows of a secret: its texts, and the variables in its tracebacks."""

import traceback
from pathlib import Path

from pickleseal.keys.key import KeyLine

_TESTS = str(Path(__file__).parent)


def secret_of(line: KeyLine) -> str:
    return line.reveal().split(".")[2]


def exposed_by(error: BaseException) -> str:
    """Return the texts of an error, its causes, and the variables in their tracebacks."""
    texts = []
    chain: BaseException | None = error
    while chain is not None:
        texts.append(f"{chain!r} {vars(chain)}")
        frames = [frame for frame, _ in traceback.walk_tb(chain.__traceback__)]
        texts.extend(
            repr(frame.f_locals)
            for frame in frames
            if not frame.f_code.co_filename.startswith(_TESTS)
        )
        chain = chain.__cause__ or chain.__context__
    return "\n".join(texts)
