"""The site is built without a warning, is whole, and asks nobody outside for anything."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from tests.patience import PATIENCE
from zg_core import errors
from zg_core.cli.app import cli
from zg_core.frameworks.fields import ClientFields

ROOT = Path(__file__).resolve().parents[2]


@cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_of_zerog", ROOT / ".ci/site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(made)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return made


class Loaded(HTMLParser):
    """What a page loads, and where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(given.get("href", ""))
        elif tag in ("script", "img", "iframe", "source", "video", "audio", "embed", "object"):
            self.loaded += [given[name] for name in ("src", "data") if name in given]
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.loaded.append(given.get("href", ""))


def test_no_page_loads_anything_from_outside(site: Path) -> None:
    html = list(site.rglob("*.html"))
    assert len(html) >= 15
    for page in html:
        outside = [url for url in Loaded(page.read_text(encoding="utf-8")).loaded if re.match(r"(https?:)?//", url)]
        assert not outside, f"{page.relative_to(site)} loads {outside}"
        assert 'class="mermaid"' not in page.read_text(encoding="utf-8"), "the theme would fetch its program"
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", sheet.read_text(encoding="utf-8")), (
            sheet
        )


def test_every_page_can_be_reached_from_the_first(site: Path) -> None:
    seen, left = set(), [site / "index.html"]
    while left:
        page = left.pop()
        if page in seen:
            continue
        seen.add(page)
        for link in Loaded(page.read_text(encoding="utf-8")).links:
            target = link.partition("#")[0]
            if target.endswith(".html") and not re.match(r"\w+:", target):
                left.append((page.parent / target).resolve())
    every = {page for page in site.rglob("*.html") if page.name != "404.html"}
    assert {page.relative_to(site) for page in every - seen} == set()


def test_search_needs_no_server(site: Path) -> None:
    index = site / "search" / "search_index.js"
    assert "ZEROG_KEYSTORE_PASSWORD" in index.read_text(encoding="utf-8")


def test_every_command_every_setting_and_every_class_of_errors_has_its_place() -> None:
    pages = generator().pages()

    def commands(command, path=""):  # type: ignore[no-untyped-def]
        for name, inner in command.commands.items():
            if hasattr(inner, "commands"):
                yield from commands(inner, f"{path} {name}")
            else:
                yield f"zerog{path} {name}"

    for line in commands(get_command(cli)):
        assert f"## {line}\n" in pages["reference/cli.md"]
    for name in ClientFields.model_fields:
        assert f"| `{name}` |" in pages["reference/settings.md"], name
    for name in errors.__all__:
        kind = getattr(errors, name)
        if hasattr(kind, "default_code"):
            assert f"## {kind.default_code}\n" in pages["reference/errors.md"], name


def test_codes_of_errors_are_found_where_they_are_made() -> None:
    found = generator().raised()
    by_code = {each.code for each in found}
    assert {"no_wallet", "budget_unpriced", "bad_private_key"} <= by_code
    assert len(by_code) > 100
    shown = next(each for each in found if each.code == "bad_settings")
    assert shown.message == "{path} does not name a network"
    assert shown.hint == "`zerog network NAME` writes it again"


@pytest.mark.parametrize("name", ["llms.txt", "AGENTS.md", "README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_the_files_at_the_top_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)[^)]*\)", (ROOT / name).read_text(encoding="utf-8"))
    assert links or name == "SECURITY.md"
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_page_is_listed_for_language_models() -> None:
    listed = (ROOT / "llms.txt").read_text(encoding="utf-8")
    pages = {page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert sorted(page for page in pages - {"docs/index.md"} if f"({page})" not in listed) == []


def test_every_page_says_for_which_backends_it_holds() -> None:
    docs = ROOT / "docs"
    written = {page.relative_to(docs).as_posix(): page.read_text(encoding="utf-8") for page in docs.rglob("*.md")}
    backends = ("all backends", "0G Direct", "0G Router", "OpenGradient", "names the backend")
    silent = []
    for name, text in {**written, **generator().pages()}.items():
        said = text.split("\n\n")[1].replace("\n", " ")
        if not (said.startswith(("*Holds for", "*Each section names")) and any(each in said for each in backends)):
            silent.append(name)
    assert silent == [], "the second paragraph of a page says for which backends it holds"


def test_every_field_of_a_receipt_has_its_row() -> None:
    schema = json.loads((ROOT / "zg_core/receipts/schema-v2.json").read_text(encoding="utf-8"))
    page = generator().pages()["reference/receipt.md"]
    assert [name for name in schema["properties"] if f"| `{name}` |" not in page] == []
    assert "| `payment.fee` |" in page


def test_the_readme_is_a_screen_and_a_half() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 118
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert all(block.count("\n") <= 12 for _, block in blocks)
    # What is shown in other languages is run where it stands on its page (tests/interop/test_serve.py).
    guide = (ROOT / "docs/guides/openai.md").read_text(encoding="utf-8")
    foreign = [block for language, block in blocks if language in ("js", "ts")]
    assert len(foreign) == 2
    assert all(block in guide for block in foreign)


@pytest.mark.requires("chromium")
def test_a_reader_without_a_network_searches_from_a_folder(site: Path, chromium: str | None) -> None:
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=PATIENCE * 1000)
        try:
            page = browser.new_page(viewport={"width": 1300, "height": 800})
            page.set_default_timeout(PATIENCE * 1000)
            page.on("request", lambda request: asked.append(request.url))
            page.goto((site / "index.html").as_uri())
            page.locator("input[name=query]").first.focus()
            page.keyboard.type("sub-account")
            found = page.locator(".md-search-result__item a").first
            found.wait_for(state="attached")
            assert (found.get_attribute("href") or "").partition("?")[0].partition("#")[0].endswith(".html")
        finally:
            browser.close()
    assert len(asked) > 3
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
