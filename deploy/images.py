"""The public images, from one place (`deploy/images.txt`) into every file that names them.

    deploy/images.py write     put them there
    deploy/images.py pin       ask the registry for their digests, write those into images.txt, and then as above

Needs Docker with buildx, and a registry that can be reached, for `pin` alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "deploy" / "images.txt"
PLACES = (
    "compose.yaml",
    "compose.cluster.yaml",
    "Dockerfile",
    "deploy/k8s/one/nats.yaml",
    "deploy/k8s/cluster/nats.yaml",
    "deploy/k8s/one/timescaledb.yaml",
    "deploy/docker/standins.sh",
)
REFERENCE = re.compile(r"(?P<name>[a-z0-9][a-z0-9./-]*):(?P<tag>[A-Za-z0-9_][\w.-]*)(?P<digest>@sha256:[0-9a-f]{64})?")
_TO_DIGEST = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}"]


def read(text: str) -> dict[str, str]:
    """Return what each image is, by our word for it. Raises: ValueError: a line is none of name, tag and digest."""
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line and not line.startswith("#"):
            word, _, reference = line.partition(" ")
            if not REFERENCE.fullmatch(reference.strip()):
                raise ValueError(f"line {number} is {line!r}, expected `word name:tag` or `word name:tag@sha256:...`")
            found[word] = reference.strip()
    return found


def written(text: str, images: dict[str, str]) -> str:
    """Return a file's text with every one of these images as it is now, whatever tag and digest stood there."""
    for reference in images.values():
        name = re.escape(reference.partition(":")[0])
        text = re.sub(rf"(?<=[\s=]){name}:[\w.-]+(?:@sha256:[0-9a-f]*)?(?=\s|$)", reference, text)
    return text


def pinned(text: str, images: dict[str, str], digests: dict[str, str]) -> str:
    """Return the text of images.txt with the digests the registry has told. Raises: ValueError: one is no digest."""
    for word, reference in images.items():
        tagged = reference.partition("@")[0]
        now = f"{tagged}@{digests[word]}"
        if not REFERENCE.fullmatch(now):
            raise ValueError(f"the registry tells {digests[word]!r} of {tagged}, expected sha256: and 64 hex digits")
        text = re.sub(rf"^({word} +)\S+$", rf"\g<1>{now}", text, flags=re.MULTILINE)
    return text


def main(word: str) -> int:
    """Do what the command line asks for and return the exit code."""
    text = IMAGES.read_text()
    images = read(text)
    if word == "pin":
        digests = {}
        for name, reference in images.items():
            tagged = reference.partition("@")[0]
            try:
                told = subprocess.run([*_TO_DIGEST, tagged], capture_output=True, text=True, check=False)  # noqa: S603 - ours
            except OSError as exc:
                print(f"nothing is pinned: docker, which asks the registry, cannot be run: {exc}", file=sys.stderr)  # noqa: T201 - a tool
                return 1
            if told.returncode:
                print(f"nothing is pinned: {tagged}: {told.stderr.strip()}", file=sys.stderr)  # noqa: T201 - a tool
                return 1
            digests[name] = told.stdout.strip()
        text = pinned(text, images, digests)
        IMAGES.write_text(text)
        images = read(text)
    for place in PLACES:
        path = ROOT / place
        path.write_text(written(path.read_text(), images))
    return 0


if __name__ == "__main__":
    if sys.argv[1:] not in (["write"], ["pin"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
