"""Text from outside, made fit for a terminal."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    r"""Return the text with escapes in place of what would not be shown but done: `\x1b`, `\n`, `\u202e`.

    Control characters (also those of C1, which terminals obey too), line ends, characters that turn the direction of
    writing, lone surrogates and everything else that Unicode does not call printable.

    Args:
        text: from anywhere.
        keep: characters to leave as they are.

    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
