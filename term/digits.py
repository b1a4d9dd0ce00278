"""Numbers three lines high."""

from __future__ import annotations

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


def big(text: str) -> tuple[str, ...]:
    """Draw digits, points and commas; other characters are left out."""
    glyphs = [_GLYPHS[character] for character in text if character in _GLYPHS]
    return tuple(" ".join(glyph[line] for glyph in glyphs) for line in range(HEIGHT))
