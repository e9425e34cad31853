"""The file of pins: read before a load unpickles, and written after it.

The rule is docs/reference/inventory.md, "Pins". As with keys, nobody else may be able to change
the file.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pickleseal.errors import KeyPermissionError, PinsError, shown
from pickleseal.files.atomic import is_writable, write_whole
from pickleseal.files.lock import locked
from pickleseal.keys.store import permissions, variables
from pickleseal.keys.store.directory import checked_path
from pickleseal.persistence import pins
from pickleseal.persistence.pins import Pin

_LOCK_SUFFIX = ".lock"
_MAX_SIZE = 16 << 20


class PinFile(NamedTuple):
    """The pins in one file; a missing file holds none."""

    path: Path
    """Resolved, so that the file that is checked is the one that is locked and replaced."""

    def read(self) -> dict[str, Pin]:
        """Return all pins by context. Raise PinsError if the file cannot be used."""
        try:
            # First, since read_guarded words this for a keyring's folder.
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                raise self._unusable("it is not a regular file")
            text = permissions.read_guarded(self.path, secret=False, limit=_MAX_SIZE)
        except (FileNotFoundError, NotADirectoryError):
            if not self.path.parent.is_dir():
                raise self._unusable("its folder does not exist") from None
            return {}
        except KeyPermissionError as error:
            raise self._unusable(str(error)) from None
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from None
        try:
            return pins.decode(text)
        except PinsError as error:
            raise self._unusable(str(error)) from None

    def check_writable(self) -> None:
        """Raise PinsError if a pin could not be recorded."""
        for place in (self.path.parent, self.path, self._lock()):
            if place.exists() and not is_writable(str(place)):
                raise self._unusable(f"{shown(str(place))} cannot be written to")

    def check_exists(self) -> None:
        """Raise PinsError if there is no such file: its path may be mistyped."""
        if not self.path.exists():
            raise self._unusable("no such file: no load has made it yet")

    def note(self, context: str, found: Pin) -> None:
        """Record a loaded artifact, unless another process recorded a newer one."""
        try:
            with locked(self._lock()):
                held = self.read()
                # Another process may have loaded one since the pin was read.
                pins.check_whole(found, held.get(context), context, str(self.path))
                if pins.is_newer(found, held.get(context)):
                    self._write({**held, context: found})
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from None

    def forget(self, contexts: Iterable[str]) -> list[str]:
        """Remove the pins of some contexts; return the contexts that had one."""
        with locked(self._lock()):
            held = self.read()
            gone = [context for context in dict.fromkeys(contexts) if context in held]
            if gone:
                self._write({c: pin for c, pin in held.items() if c not in gone})
        return gone

    def _lock(self) -> Path:
        return Path(f"{self.path}{_LOCK_SUFFIX}")

    def _write(self, held: dict[str, Pin]) -> None:
        text = pins.encode(held)
        if len(text) > _MAX_SIZE:
            raise self._unusable(
                "it would hold too many contexts: give each program a file of its own"
            )
        write_whole(str(self.path), text, mode=0o600)

    def _unusable(self, reason: str) -> PinsError:
        return PinsError(f"the file of pins {shown(str(self.path))} cannot be used: {reason}")


def find_pins(given: str | os.PathLike[str] | None = None) -> PinFile | None:
    """Return the file of pins: the given one, or the one that PICKLESEAL_PINS names."""
    path = variables.pins() if given is None else given
    if path is None:
        return None
    takes = "pins takes the path of a file"
    given_path = checked_path(path, takes, what="the file of pins", error=PinsError)
    try:
        return PinFile(permissions.checked_way(Path(given_path)))
    except KeyPermissionError as error:
        raise PinsError(f"the file of pins {shown(given_path)} cannot be used: {error}") from None
    except OSError:
        return PinFile(Path(given_path))  # reading says why
