"""The page: its own tests, run by Node, what the gateway does with its files, and what becomes of `/` without them."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sysconfig
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from gateway import page
from gateway.resource import Resource

WEB = Path(page.__file__).parent / "web"
NODE = Path(sysconfig.get_path("scripts")) / "node"
built = pytest.mark.skipif(not page.BUILT.exists(), reason="the page is not built: `make page` needs the npm registry")


def asking(folder: Path) -> httpx.AsyncClient:
    routes = [Route(path, Resource(path, {"GET": answer})) for path, answer in page.answers(folder)]
    transport = httpx.ASGITransport(app=Starlette(routes=routes))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


def test_the_pages_own_tests_pass() -> None:
    tests = sorted(map(str, (WEB / "tests").glob("*.test.ts")))
    done = subprocess.run([NODE, "--test", *tests], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"tests (\d+)", done.stdout)[0]) >= 20


async def test_a_page_that_is_not_built_says_why_and_what_to_do(tmp_path: Path) -> None:
    answer = await asking(tmp_path).get("/")
    assert answer.status_code == 503
    assert "it was not built" in answer.text
    assert "run `make page`" in answer.text


@built
async def test_everything_the_page_names_is_served_and_nothing_is_fetched_from_elsewhere() -> None:
    client = asking(page.BUILT)
    html = await client.get("/")
    named = re.findall(r'(?:src|href)="(page/[^"]+)"', html.text)
    assert len(named) == 3
    for path in named:
        answer = await client.get("/" + path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
        assert not re.search(r"""(?:src|url|import|fetch)\s*\(?["'(]https?:""", answer.text)
    assert html.headers["cache-control"] == "no-store"
    assert "TradingView" in (await client.get("/page/licences.txt")).text


@built
def test_the_whole_page_is_small_on_the_wire() -> None:
    assert sum(len(gzip.compress(path.read_bytes())) for path in page.BUILT.iterdir()) < 150_000


@built
async def test_a_client_that_takes_gzip_gets_gzip() -> None:
    client = asking(page.BUILT)
    packed = await client.get("/", headers={"Accept-Encoding": "gzip"})
    plain = await client.get("/", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text


@pytest.mark.parametrize("folder", [WEB, WEB.parents[1] / "tests" / "asyncapi"], ids=["page", "asyncapi"])
def test_the_lock_names_no_registry_and_has_a_hash_of_every_package(folder: Path) -> None:
    lock = json.loads((folder / "package-lock.json").read_text())
    packages = [one for name, one in lock["packages"].items() if name]
    assert all("integrity" in one and "resolved" not in one for one in packages)
    assert len(packages) > 5
