"""From any key line to its key: at once for a plain one, at its first use for all others.

A key behind a passphrase, or one that is held elsewhere, costs a person's answer, half a second
or a call over the network. So nothing is asked for before a key is needed.
"""

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from pickleseal.errors import KeyringError, WrongPassphraseError
from pickleseal.keys.key import (
    Form,
    Holder,
    Key,
    KeyLine,
    Outline,
    outline,
)

if TYPE_CHECKING:
    from pickleseal.keys.passphrase import Passphrase

Ask = Callable[[], str]
"""What gives a passphrase when one is needed."""


class Deferred:
    """The holder of a key that is fetched when it is first used, by one thread."""

    __slots__ = ("_fetch", "_holder", "_lock", "_pid")

    def __init__(self, fetch: Callable[[], Holder]) -> None:
        self._fetch = fetch
        self._holder: Holder | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def mac(self, statement: bytes) -> bytes:
        """Give the tag (32 bytes) of a statement of 96 bytes."""
        return self.fetched().mac(statement)

    def check(self, statement: bytes, tag: bytes) -> None:
        """Return if `tag` is that of the statement; else raise BadSealError."""
        self.fetched().check(statement, tag)

    def fetched(self) -> Holder:
        """Give the holder itself, fetched if it was not yet."""
        if self._holder is None:
            if self._pid != os.getpid():
                # A fork may have copied the lock while a thread held it that is not here.
                self._lock, self._pid = threading.Lock(), os.getpid()
            with self._lock:
                if self._holder is None:
                    self._holder = self._fetch()
        return self._holder

    def is_open(self) -> bool:
        """Tell whether it was fetched."""
        return self._holder is not None

    def put(self, holder: Holder) -> None:
        """Take a holder that came along with another key's."""
        self._holder = holder


class Opener:
    """Opens the lines of one ring, and asks for a passphrase once for all that it opens."""

    def __init__(self, ask: Ask | None = None) -> None:
        self._ask = ask
        self._wrapped: dict[str, KeyLine] = {}
        self._deferred: dict[str, Deferred] = {}

    def key(self, line: KeyLine) -> Key:
        """Give the key of a line. Raises KeyringError for a line that cannot be one.

        A key that was opened before from another line is not asked for again: its id says
        that it is the same.
        """
        found = outline(line)
        if found.form is Form.PLAIN:
            return Key.parse(line)
        known = self._deferred.get(found.id)
        if known is None or not known.is_open():
            known = self._defer(line, found)
            self._deferred[found.id] = known
        return Key.held(found.suite, found.id, known)

    def _defer(self, line: KeyLine, found: Outline) -> Deferred:
        # Imported here: most rings are plain, and each import of the package would wait for them.
        from pickleseal.keys.passphrase import check_form  # noqa: PLC0415
        from pickleseal.keys.store import providers  # noqa: PLC0415

        if found.form is Form.EXTERNAL:
            providers.reference_of(found)
            return Deferred(lambda: providers.connect(found))
        check_form(found)
        deferred = Deferred(lambda: self._unlock(found.id))
        self._deferred[found.id] = deferred
        self._wrapped[found.id] = line
        return deferred

    def plain(self, line: KeyLine, known: Iterable["Passphrase"] = ()) -> KeyLine:
        """Give the line with the secret itself, however the key is kept.

        `known`: passphrases to try first. Raises KeyringError where it cannot be had.
        """
        from pickleseal.keys.passphrase import unwrap  # noqa: PLC0415 - as below
        from pickleseal.keys.store import providers  # noqa: PLC0415 - as below

        found = outline(line)
        if found.form is Form.EXTERNAL:
            return providers.plain_line(found)
        plain = line if found.form is Form.PLAIN else unwrap(line, self.passphrase(line, known))
        Key.parse(plain)  # raises for a line that is damaged
        return plain

    def passphrase(self, line: KeyLine, known: Iterable["Passphrase"] = ()) -> "Passphrase":
        """Ask for the passphrase that a line is behind. Raises WrongPassphraseError in the end."""
        from pickleseal.keys.passphrase import unwrap  # noqa: PLC0415 - as below
        from pickleseal.keys.store import passphrases  # noqa: PLC0415 - as below

        key_id = outline(line).id
        asked = passphrases.candidates(self._ask, what=f"key {key_id}")
        wrong = None
        for passphrase in chain(known, asked):
            try:
                unwrap(line, passphrase)
            except WrongPassphraseError as error:
                wrong = error
            else:
                return passphrase
        raise wrong or WrongPassphraseError(f"no passphrase was given for key {key_id}")

    def _unlock(self, key_id: str) -> Key:
        from pickleseal.keys.passphrase import unwrap  # noqa: PLC0415 - as above

        line = self._wrapped[key_id]
        passphrase = self.passphrase(line)
        key = Key.parse(unwrap(line, passphrase))
        self._unlock_others(line, passphrase)
        return key

    def _unlock_others(self, opened: KeyLine, passphrase: "Passphrase") -> None:
        """Open what the same derivation opens, so that nobody is asked again."""
        from pickleseal.keys.passphrase import derivation_of, unwrap  # noqa: PLC0415 - as above

        # A copy: another thread may be reading a ring that was changed.
        for key_id, line in list(self._wrapped.items()):
            deferred = self._deferred[key_id]
            if deferred.is_open() or derivation_of(line) != derivation_of(opened):
                continue
            with suppress(KeyringError):
                deferred.put(Key.parse(unwrap(line, passphrase)))


def check_foreign(lines: Iterable[KeyLine]) -> None:
    """Return if lines that come from elsewhere may be taken; raise KeyringError if not.

    A line that names a command to run may not: a text from elsewhere must not decide what is
    run here.
    """
    for line in lines:
        found = outline(line)
        if found.form is not Form.EXTERNAL:
            continue
        from pickleseal.keys.store import providers  # noqa: PLC0415 - as above

        if providers.runs_a_command(found):
            raise KeyringError(
                f"the line of key {found.id} names a command to be run: if you trust it, name it"
                " yourself with pickleseal keys import --command"
            )
