"""The console in a browser: a chat, a tampered answer turning red, a filter, an export, both themes, a small screen."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.zg_core.serve.serving import ANSWER, QUESTION, TOKEN, Running, running, settings_of
from zg_core.localnet import LocalNet, LocalProvider, LocalWallet, ProviderSpec
from zg_core.money import Amount
from zg_core.receipts import write_bundle
from zg_core.serve.settings import Allowance

pytestmark = pytest.mark.requires("chromium")
GOOD = {"model": "chat-ml", **QUESTION}
SHOTS = Path(__file__).resolve().parents[3] / "docs" / "images"


@pytest.fixture(scope="module")
def browser(chromium: str | None) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs chromium and playwright")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=PATIENCE * 1000)
        yield found
        found.close()


@pytest.fixture(scope="module")
def shop(reach: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    store = f"sqlite:///{tmp_path_factory.mktemp('browser')}/store.db"
    with running(settings_of(reach, store=store, budget=(Allowance(Amount("5"), "day"),))) as server:
        yield server


@pytest.fixture
def page(browser: Any, shop: Running, net: LocalNet) -> Iterator[Any]:
    """A page of the console in a fresh profile; nothing may go wrong in it, and nothing be asked of elsewhere."""
    context = browser.new_context(viewport={"width": 1200, "height": 800}, accept_downloads=True)
    context.set_default_timeout(PATIENCE * 1000)
    wrong: list[str] = []
    tab = context.new_page()
    tab.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    tab.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    tab.on("request", lambda request: request.url.startswith((shop.url, "blob:")) or wrong.append(request.url))
    tab.goto(f"{shop.url}/#token={TOKEN}")
    tab.wait_for_selector("#page-calls:not([hidden])")
    yield tab
    context.close()
    for provider in net.providers:
        provider.clear_faults()
    assert wrong == []


def ask(page: Any, text: str = "What is the capital of France?", model: str = "chat-ml") -> Any:
    """The answer to a question, with its verdict."""
    page.goto(page.url.partition("#")[0] + "#chat")
    page.wait_for_selector(f"#ask-model option[value='{model}']", state="attached")
    page.select_option("#ask-model", model)
    page.fill("#ask-text", text)
    page.keyboard.press("Control+Enter")
    box = page.locator("article.said:not(.me)").last
    box.locator("button", has_text="Receipt").wait_for()
    return box


def test_the_token_of_the_address_is_taken_out_of_it(page: Any) -> None:
    assert TOKEN not in page.url
    assert TOKEN not in page.content()


def test_without_a_token_it_asks_for_one(browser: Any, shop: Running) -> None:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    tab = context.new_page()
    tab.goto(shop.url)
    tab.wait_for_selector("#page-token:not([hidden])")
    tab.fill("#token", "a wrong token")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("text=This token opens nothing here.")
    tab.fill("#token", TOKEN)
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#page-calls:not([hidden])")
    context.close()


def test_a_chat_shows_the_verdict_beside_the_answer_and_leads_to_its_receipt(page: Any) -> None:
    box = ask(page)
    assert box.locator(".words").inner_text() == ANSWER
    assert box.locator(".tag").inner_text() == "verified"
    box.locator("button", has_text="Receipt").click()
    page.wait_for_selector("dialog[open]")
    assert "signed exactly these bytes" in page.inner_text("#detail-verdict")
    page.click("#detail-again")
    page.wait_for_selector("#detail-checked >> text=passed")
    assert "nobody vouches for" in page.inner_text("#detail-open")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")


def test_a_tampered_answer_turns_red(page: Any, provider: LocalProvider) -> None:
    provider.fault("body_changed")
    box = ask(page)
    assert box.locator(".tag").inner_text() == "failed"
    assert "bad" in box.get_attribute("class")
    assert "line-through" in box.locator(".words").evaluate("each => getComputedStyle(each).textDecorationLine")
    assert "do not trust" in box.inner_text()
    page.goto(page.url.replace("#chat", "#calls"))
    page.wait_for_selector("tr.bad")
    red, green = (
        page.locator(name).first.evaluate("each => getComputedStyle(each).color") for name in ("tr.bad .tag", "body")
    )
    assert red != green


def test_text_of_a_stranger_is_text(page: Any, net: LocalNet, shop: Running) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    shop.server.seen.receipt(*named(shop, evil))
    page.wait_for_selector("#f-model option >> nth=2", state="attached")
    page.select_option("#f-model", evil)
    page.wait_for_selector("#calls tr")
    assert evil in page.inner_text("#calls")
    assert page.title() == "zerog console"
    assert page.locator("#calls img").count() == 0
    box = ask(page, f"echo {evil}")
    assert box.locator("img, script").count() == 0
    assert page.title() == "zerog console"


def named(shop: Running, model: str) -> Any:
    """A receipt with a model of this name."""
    from zg_core.receipts.model import Receipt

    shop.chat(GOOD)
    sighting = shop.server.seen.after(0)[-1]
    receipt = Receipt.from_dict({**sighting.receipt.to_dict(), "model": model, "receipt_id": "ab" * 16})
    return receipt, type("C", (), {"name": "owner"})(), type("E", (), {"name": "*"})()


def test_a_filter_and_an_export_agree(page: Any, shop: Running, provider: LocalProvider, tmp_path: Path) -> None:
    shop.chat(GOOD)
    provider.fault("body_changed")
    sent = shop.chat(GOOD).headers["x-zerog-receipt"]
    page.wait_for_selector(f"[data-receipt='{sent}']")
    page.select_option("#f-verdict", "failed")
    rows = page.locator("#calls tr")
    assert set(page.locator("#calls .tag").all_inner_texts()) == {"failed"}
    with page.expect_download() as got:
        page.click("#export-json")
    got.value.save_as(tmp_path / "receipts.json")
    exported = json.loads((tmp_path / "receipts.json").read_text())["receipts"]
    assert len(exported) == rows.count() > 0
    assert {each["status"] for each in exported} == {"failed"}
    with page.expect_download() as got:
        page.click("#export-csv")
    assert got.value.suggested_filename == "receipts.csv"
    page.select_option("#f-verdict", "verified")
    page.wait_for_selector("#calls tr")
    assert set(page.locator("#calls .tag").all_inner_texts()) == {"verified"}


def test_new_calls_appear_by_themselves(page: Any, shop: Running) -> None:
    sent = shop.chat(GOOD).headers["x-zerog-receipt"]
    page.wait_for_selector(f"[data-receipt='{sent}']")


def test_everything_is_reached_with_the_keyboard(page: Any, shop: Running) -> None:
    sent = shop.chat(GOOD).headers["x-zerog-receipt"]
    page.wait_for_selector(f"[data-receipt='{sent}']")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement?.dataset?.receipt ?? ''"):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")


def test_a_bundle_is_checked_line_by_line(page: Any, shop: Running, tmp_path: Path) -> None:
    sent = shop.chat(GOOD).headers["x-zerog-receipt"]
    write_bundle(tmp_path / "run.zip", [shop.server.seen.get(sent).receipt], run="the run")
    page.goto(f"{shop.url}/#bundle")
    page.set_input_files("#bundle-file", tmp_path / "run.zip")
    page.click("#bundle-form button")
    page.wait_for_selector("#bundle-lines tr >> text=passed")
    assert "the run" in page.inner_text("#bundle-facts")
    (tmp_path / "run.zip").write_bytes(b"no zip")
    page.set_input_files("#bundle-file", tmp_path / "run.zip")
    page.click("#bundle-form button")
    page.wait_for_selector("#problem:not([hidden])")


PAGES = {
    "spend": "Left of 5 0G per day",
    "providers": "chat-separated",
    "account": "zerog deposit 3",
    "bundle": "Check a bundle",
    "use": "OpenAI(base_url=",
}


def test_other_pages_show_what_they_are_for(page: Any, shop: Running) -> None:
    shop.chat(GOOD)
    for name, text in PAGES.items():
        page.goto(f"{shop.url}/#{name}")
        page.wait_for_selector(f"#page-{name} >> text={text}")
        assert page.get_attribute(f"nav a[href='#{name}']", "aria-current") == "page"


def test_a_screen_of_360_pixels_needs_no_scrolling_aside(page: Any, shop: Running) -> None:
    shop.chat(GOOD)
    ask(page)
    page.set_viewport_size({"width": 360, "height": 740})
    for name, text in {"calls": "Export CSV", "chat": ANSWER, **PAGES}.items():
        page.goto(f"{shop.url}/#{name}")
        page.wait_for_selector(f"#page-{name} >> text={text}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name


def test_both_themes_are_there_and_remembered(page: Any, shop: Running) -> None:
    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="light")
    light = background()
    page.emulate_media(color_scheme="dark")
    assert background() != light
    page.select_option("#theme", "light")
    assert background() == light
    page.reload()
    assert background() == light


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, LocalNet]]:
    """A network with a name or two, for pictures."""
    specs = [ProviderSpec(model="qwen/qwen-2.5-7b-instruct"), ProviderSpec(model="openai/gpt-oss-120b", kind="TeeTLS")]
    with LocalNet(providers=specs) as net:
        rich: LocalWallet = net.new_wallet()
        for provider in net.providers:
            net.open_account(rich, provider, 20 * 10**18)
        reach = {"private_key": rich.private_key, "network": "local", "rpc_url": net.rpc_url}
        reach |= {"ledger": net.ledger, "inference": net.inference}
        store = f"sqlite:///{tmp_path_factory.mktemp('show')}/store.db"
        with running(settings_of(reach, store=store, budget=(Allowance(Amount("5"), "day"),))) as server:
            yield server, net


@pytest.mark.skipif(
    not os.environ.get("ZEROG_SCREENSHOTS"), reason="ZEROG_SCREENSHOTS=1 takes the pictures of the docs"
)
def test_pictures_of_both_themes(browser: Any, show: tuple[Running, LocalNet]) -> None:
    server, net = show
    SHOTS.mkdir(exist_ok=True)
    for number in range(8):
        got = server.chat({"model": net.providers[number % 2].model, "stream": number % 3 == 0, **QUESTION})
        assert got.status == 200, got.body
    net.providers[0].fault("body_changed")
    server.chat({"model": net.providers[0].model, **QUESTION})
    server.chat({"model": net.providers[1].model, **QUESTION})
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": 1200, "height": 640}, color_scheme=scheme)
        tab = context.new_page()
        tab.goto(f"{server.url}/#token={TOKEN}")
        tab.wait_for_selector("#calls tr.bad")
        tab.screenshot(path=SHOTS / f"console-calls-{scheme}.png")
        ask(tab, model=net.providers[0].model)
        net.providers[0].fault("body_changed")
        ask(tab, "And of Italy?", model=net.providers[0].model)
        tab.screenshot(path=SHOTS / f"console-chat-{scheme}.png")
        context.close()
