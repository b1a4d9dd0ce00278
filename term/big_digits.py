"""Numbers three lines high."""

from __future__ import annotations

from collections.abc import Iterable

from term.formatting import fitting_text

_GLYPHS = {
    "0": ("┏━┓", "┃ ┃", "┗━┛"),
    "1": (" ╻ ", " ┃ ", " ╹ "),
    "2": ("╺━┓", "┏━┛", "┗━╸"),
    "3": ("╺━┓", "╺━┫", "╺━┛"),
    "4": ("╻ ╻", "┗━┫", "  ╹"),
    "5": ("┏━╸", "┗━┓", "╺━┛"),
    "6": ("┏━╸", "┣━┓", "┗━┛"),
    "7": ("╺━┓", "  ┃", "  ╹"),
    "8": ("┏━┓", "┣━┫", "┗━┛"),
    "9": ("┏━┓", "┗━┫", "╺━┛"),
    ".": (" ", " ", "▪"),
    ",": (" ", " ", "╻"),
    "—": ("   ", "╺━╸", "   "),
}
HEIGHT = 3


def big(texts: Iterable[str], *, width: int) -> tuple[str, ...]:
    """Draw the first of `texts` that fits into `width` cells; when none does, leave the first that does as it is."""
    texts = tuple(texts)
    for text in texts:
        lines = _drawn(text) if _GLYPHS.keys() >= set(text) else ("",)
        if lines[0] and len(lines[0]) <= width:
            return lines
    small = fitting_text(texts, width=width)
    return " " * len(small), small, " " * len(small)


def _drawn(text: str) -> tuple[str, ...]:
    glyphs = [_GLYPHS[character] for character in text]
    return tuple(" ".join(glyph[line] for glyph in glyphs) for line in range(HEIGHT))
