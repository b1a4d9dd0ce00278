"""Write into nats.conf what each user may do where instances share partitions.

That is with the streams of a partition what it may with RAW and PROCESSED, and with each instance's durables of CONTROL
and its status what it may with those of one.

    python deploy/nats/permissions.py

Run by `make gen`. The server knows wildcards for whole parts of a subject only, so each name has to be there.
"""

from __future__ import annotations

import re
from pathlib import Path

from mesh.bus.leases import MAX_INSTANCES
from mesh.bus.partitions import MAX_PARTITIONS, partitions

CONFIG = Path(__file__).with_name("nats.conf")
_BEGIN = "          # The same for each partition and instance, by `make gen`:\n"
_ALLOWED = re.compile(rf"(publish: \{{ allow: \[\n)(.*?)(?:{_BEGIN}.*?)?(        \] \}}\n)", re.DOTALL)


def with_partitions(config: str) -> str:
    """Return the text of nats.conf with the permissions for partitions and instances made anew of the others."""
    return _ALLOWED.sub(lambda found: found[1] + found[2] + _of_partitions(found[2]) + found[3], config)


def _of_partitions(allowed: str) -> str:
    line = ", ".join(re.findall(r'"[^"]*\.(?:RAW|PROCESSED)(?:\.[^"]*)?"', allowed))
    lines = [re.sub(r"\b(RAW|PROCESSED)\b", partition.name(r"\1"), line) for partition in partitions(MAX_PARTITIONS)]
    line = ", ".join(re.findall(r'"(?:control\.status\.|[^"]*\.control-)[^"]*"', allowed))
    own = re.compile(r"(control\.status\.[a-z]+|\.control-[a-z-]+)")
    lines += [own.sub(rf"\1-{number}", line) for number in range(MAX_INSTANCES)]
    return _BEGIN + "".join(f"          {line}\n" for line in lines)


if __name__ == "__main__":
    CONFIG.write_text(with_partitions(CONFIG.read_text()))
