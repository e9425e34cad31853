"""From key lines to keys: at once for plain lines, at their first use for all others.

An encrypted key costs a person's answer and half a second, an external one a call over the network.
"""

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from pickleseal.errors import KeyringError, WrongPassphraseError
from pickleseal.keys.key import Form, Holder, Key, KeyLine, Outline, outline

if TYPE_CHECKING:
    from pickleseal.keys.passphrase import Passphrase

Ask = Callable[[], str]
"""A function that returns a passphrase."""


class Deferred:
    """A holder that is fetched at its first use, by one thread.

    `holder` is None until then, or until another key's passphrase opened it.
    """

    __slots__ = ("_fetch", "_lock", "_pid", "holder")

    def __init__(self, fetch: Callable[[], Holder]) -> None:
        self._fetch = fetch
        self.holder: Holder | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def mac(self, statement: bytes) -> bytes:
        """Return the tag (32 bytes) of a statement of 96 bytes."""
        return self.fetched().mac(statement)

    def check(self, statement: bytes, tag: bytes) -> None:
        """Raise BadSealError if `tag` is not that of the statement."""
        self.fetched().check(statement, tag)

    def fetched(self) -> Holder:
        """Return the holder, fetched if necessary."""
        if self.holder is None:
            if self._pid != os.getpid():
                # The fork may have copied a lock that a thread of the parent holds.
                self._lock, self._pid = threading.Lock(), os.getpid()
            with self._lock:
                if self.holder is None:
                    self.holder = self._fetch()
        return self.holder


class Opener:
    """Opens the lines of one ring, and asks for each passphrase once."""

    def __init__(self, ask: Ask | None = None) -> None:
        self._ask = ask
        self._wrapped: dict[str, KeyLine] = {}
        self._deferred: dict[str, Deferred] = {}
        self._if_lost: dict[str, str] = {}

    def key(self, line: KeyLine, *, if_lost: str = "") -> Key:
        """Return the key of a line, or raise KeyringError.

        A key that was opened from another line before is reused: its id proves that it is the same.
        `if_lost`: what to do if its passphrase is lost, for messages.
        """
        found = outline(line)
        if found.form is Form.PLAIN:
            return Key.parse(line)
        self._if_lost[found.id] = if_lost
        known = self._deferred.get(found.id)
        if known is None or known.holder is None:
            known = self._defer(line, found)
            self._deferred[found.id] = known
        return Key.held(found.suite, found.id, known)

    def _defer(self, line: KeyLine, found: Outline) -> Deferred:
        # Imported here: most rings are plain.
        from pickleseal.keys.passphrase import derivation_of  # noqa: PLC0415
        from pickleseal.keys.store import providers  # noqa: PLC0415

        if found.form is Form.EXTERNAL:
            providers.reference_of(found)
            return Deferred(lambda: providers.connect(found))
        derivation_of(line)  # raises for a malformed one
        deferred = Deferred(lambda: self._unlock(found.id))
        self._deferred[found.id] = deferred  # before the line, by which another thread finds it
        self._wrapped[found.id] = line
        return deferred

    def plain(self, line: KeyLine, known: Iterable["Passphrase"] = ()) -> KeyLine:
        """Return the plain line of a key, or raise KeyringError.

        `known`: passphrases to try first.
        """
        from pickleseal.keys.passphrase import unwrap  # noqa: PLC0415 - as below
        from pickleseal.keys.store import providers  # noqa: PLC0415 - as below

        found = outline(line)
        if found.form is Form.EXTERNAL:
            return providers.plain_line(found)
        plain = line if found.form is Form.PLAIN else unwrap(line, self.passphrase(line, known))
        Key.parse(plain)  # raises for a damaged line
        return plain

    def passphrase(self, line: KeyLine, known: Iterable["Passphrase"] = ()) -> "Passphrase":
        """Return the passphrase of a line, or raise WrongPassphraseError."""
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
        advice = f". Try the one that was chosen for this key{self._if_lost.get(key_id, '')}"
        raise WrongPassphraseError(f"{wrong}{advice}")

    def _unlock(self, key_id: str) -> Key:
        from pickleseal.keys.passphrase import unwrap  # noqa: PLC0415 - as above

        line = self._wrapped[key_id]
        passphrase = self.passphrase(line)
        key = Key.parse(unwrap(line, passphrase))
        self._unlock_others(line, passphrase)
        return key

    def _unlock_others(self, opened: KeyLine, passphrase: "Passphrase") -> None:
        """Open the other lines of the same derivation, without another question."""
        from pickleseal.keys.passphrase import derivation_of, unwrap  # noqa: PLC0415 - as above

        # A copy: another thread may add lines.
        for key_id, line in list(self._wrapped.items()):
            if derivation_of(line) == derivation_of(opened):
                with suppress(KeyringError):
                    self._deferred[key_id].holder = Key.parse(unwrap(line, passphrase))


def check_foreign(lines: Iterable[KeyLine]) -> None:
    """Raise KeyringError if a line from elsewhere names a command to run.

    Such a line must not decide what is run here.
    """
    for line in lines:
        found = outline(line)
        if found.form is not Form.EXTERNAL:
            continue
        from pickleseal.keys.store import providers  # noqa: PLC0415 - as above

        if providers.runs_a_command(found):
            raise KeyringError(
                f"the line of key {found.id} names a command to run: if you trust the command,"
                " use `pickleseal keys import --command COMMAND`"
            )
