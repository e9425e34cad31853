"""The contexts that adapters bind entries and messages to."""

import hashlib
import time
from urllib.parse import quote

from pickleseal.keys.context import MAX_CONTEXT_SIZE, context_to_seal
from pickleseal.keys.store.lookup import find_keyring


def derived_context(framework: str, *parts: str) -> str:
    """Return the context of one place in a framework, such as a cache's key.

    Each part is percent-encoded, so that two places never have the same context, and the parts are
    joined with colons. Where that takes more than 255 bytes, the SHA-256 of it follows `#`.
    """
    encoded = (quote(part, safe="/@ ", errors="surrogatepass") for part in parts)
    context = ":".join((framework, *encoded))
    if len(context) <= MAX_CONTEXT_SIZE:
        return context
    return f"{framework}#{hashlib.sha256(context.encode()).hexdigest()}"


def check_key(context: str | None = None) -> None:
    """Check that the keyring that is set up seals, before the work that is to be sealed.

    Raise NoKeyError if there is no keyring, KeyringError if it seals nothing, or not this context.
    """
    ring, now = find_keyring(), time.time()
    if context is None:
        ring.sealing_entry(now=now)
    else:
        ring.sealing_key(context=context_to_seal(context), now=now)
