"""The contexts that adapters bind entries and messages to."""

import hashlib
from urllib.parse import quote

from pickleseal.keys.context import MAX_CONTEXT_SIZE


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
