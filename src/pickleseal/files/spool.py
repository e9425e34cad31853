"""What waits in a temporary file until it is written, so that it takes no memory."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_IN_MEMORY = 1 << 20
_PIECE = 1 << 20


class Spool:
    """Bytes that are appended, and read again in pieces. `size`: how many there are."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - see close
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        with _naming_folder():
            self._file.write(data)
        self.size += len(data)

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from one offset to another, in pieces of 1 MiB but for the last."""
        end = self.size if end is None else end
        with _naming_folder():
            self._file.seek(start)
        for offset in range(start, end, _PIECE):
            with _naming_folder():
                piece = self._file.read(min(_PIECE, end - offset))
            yield piece
        with _naming_folder():
            self._file.seek(self.size)

    def close(self) -> None:
        """Delete the temporary file."""
        with suppress(OSError):  # what could not be written is not needed any more
            self._file.close()


@contextmanager
def _naming_folder() -> Iterator[None]:
    """Name the folder of temporary files in an error of the system."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from None
