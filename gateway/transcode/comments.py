"""The comments of the protos, from a descriptor set that was made with `--include_source_info`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet

# Field numbers of descriptor.proto: a comment's place is a path of them, "4, 0, 2, 3" is message 0's field 3.
_PLACES = {
    "file": {4: ("message_type", "message"), 5: ("enum_type", "enum"), 6: ("service", "service")},
    "message": {2: ("field", ""), 3: ("nested_type", "message"), 4: ("enum_type", "enum"), 8: ("oneof_decl", "")},
    "enum": {2: ("value", "")},
    "service": {2: ("method", "")},
}


def shipped_descriptors() -> bytes:
    """Return the descriptor set that lies beside the generated code."""
    return files("tickmesh.v1").joinpath("descriptors.binpb").read_bytes()


def read_comments(descriptor_set: bytes) -> dict[str, str]:
    """Return full name -> comment, for everything in the set that has one.

    Paragraphs are separated by an empty line; lines within one are joined.
    """
    return dict(_walk(FileDescriptorSet.FromString(descriptor_set)))


def _walk(descriptors: FileDescriptorSet) -> Iterator[tuple[str, str]]:
    for file in descriptors.file:
        for location in file.source_code_info.location:
            if location.leading_comments:
                name = _name(file, list(location.path))
                if name is not None:
                    yield f"{file.package}.{name}", _paragraphs(location.leading_comments)


def _name(file: Any, path: list[int]) -> str | None:
    # Any: every kind of descriptor has a name and members of its own kinds
    names: list[str] = []
    thing, kind = file, "file"
    while path:
        if len(path) == 1 or path[0] not in _PLACES.get(kind, {}):
            return None  # an option, a range, the syntax line
        attribute, kind = _PLACES[kind][path[0]]
        thing = getattr(thing, attribute)[path[1]]
        names.append(thing.name)
        path = path[2:]
    return ".".join(names) or None


def _paragraphs(comment: str) -> str:
    blocks = comment.strip().replace("\n ", "\n").split("\n\n")
    return "\n\n".join(" ".join(line.strip() for line in block.splitlines()).strip() for block in blocks)
