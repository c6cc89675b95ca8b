"""States that only a browser shows: opening suites, a stopped server, notices, offers, and the UMAP."""

from __future__ import annotations

import os
import re
import shlex
import signal
from pathlib import Path

import pytest
import started
from browsing import Visit, await_health, free_port, settle, turn_to
from playwright.sync_api import Browser, Page, expect
from tiny import make_suite

pytestmark = pytest.mark.long  # one server and one Chromium for all of the file

ERROR = "[data-testid=stAlertContentError]"
# What takes work: figures, numbers, files and every button with a name.
WORK = "[data-testid=stPlotlyChart], [data-testid=stMetric], [data-testid=stDataFrame], [data-testid=stDownloadButton]"
MERGED = ("overview", "merge", "accuracy", "interference", "sensitivity", "embeddings", "figures")  # of the recipe


def test_enter_opens_a_suite_and_leaving_the_field_does_not(visit: Visit, tmp_path: Path) -> None:
    path = make_suite(tmp_path / "other", resolved=False, seed=1)
    page = visit("experts")
    field = page.get_by_role("textbox", name="Suite file")
    field.fill(str(path))
    page.locator("h1").first.click()
    settle(page, rest=0.6)
    expect(page.locator("h2, h3").filter(has_text="Current suite")).not_to_contain_text("other")
    field.press("Enter")
    expect(page.get_by_role("heading", name="Current suite: other/suite.toml")).to_be_visible()


def test_a_folder_gets_an_offer_and_enter_takes_it(visit: Visit, tmp_path: Path) -> None:
    make_suite(tmp_path / "inside", resolved=False, seed=1)
    page = visit("experts")
    open_suite(page, tmp_path)
    expect(page.locator(ERROR)).to_contain_text("found a folder that holds no suite.toml but")
    page.get_by_role("button", name="Open inside/suite.toml").press("Enter")
    expect(page.get_by_role("heading", name="Current suite: inside/suite.toml")).to_be_visible()
    expect(page.locator(ERROR)).to_have_count(0)


def test_a_checkpoint_gets_the_offer_of_a_draft_and_nothing_green_below(visit: Visit, tmp_path: Path) -> None:
    make_suite(tmp_path)
    page, valid = visit("experts", "suite=demo"), "All files are valid."
    expect(page.get_by_text(valid)).to_be_visible()
    open_suite(page, tmp_path / "original" / "Reds.safetensors")
    expect(page.locator(ERROR)).to_contain_text("found a checkpoint")
    draft = page.get_by_role("button", name="Draft a suite file from")
    expect(draft).to_be_visible()
    assert not re.search("decode|codec|utf", page.locator(ERROR).inner_text(), re.I)
    expect(page.get_by_text(valid)).to_have_count(0)
    draft.click()
    expect(page.get_by_role("textbox", name="Suite file", exact=True).last).to_have_value(
        re.compile(r"Reds\.safetensors")
    )
    expect(page.locator(ERROR)).to_have_count(0)
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_text(valid)).to_be_visible()


def open_suite(page: Page, path: Path) -> None:
    field = page.get_by_role("textbox", name="Suite file")
    field.fill(str(path))
    field.press("Enter")


def test_a_stopped_server_says_how_to_start_this_app_again(browser: Browser, tmp_path: Path) -> None:
    path, port = make_suite(tmp_path / "suite"), free_port()
    words = ["app", str(path), "--port", str(port), "--workspace", str(tmp_path / "with space")]

    def serve() -> started.Started:
        server = started.command(words, environment=os.environ | {"STREAMLIT_SERVER_HEADLESS": "true"})
        await_health(f"http://127.0.0.1:{port}")
        return server

    server = serve()
    page = browser.new_page()
    try:
        page.goto(f"http://127.0.0.1:{port}/accuracy?method=ties")
        settle(page, rest=0.6)
        assert page.locator("#ri-stopped").count() == 0
        server.send_signal(signal.SIGTERM)
        server.wait(20)
        stopped = page.locator("#ri-stopped")
        expect(stopped).to_contain_text("The app has stopped", timeout=20_000)
        expect(stopped.locator("code")).to_have_text(shlex.join(["ri-analysis", *words]))
        page.wait_for_timeout(6000)  # Streamlit's own words come later
        expect(page.get_by_text(re.compile("streamlit run|connected to the internet")).first).not_to_be_visible()
        server = serve()
        expect(stopped).to_have_count(0, timeout=40_000)
        settle(page, rest=0.6)
        expect(page.get_by_text("TIES").first).to_be_visible()
    finally:
        page.close()
        server.terminate()
        server.wait(20)


def test_a_token_lets_in_whoever_opens_its_address(browser: Browser, tmp_path: Path) -> None:
    path, port, token = make_suite(tmp_path / "suite"), free_port(), "abcdefghijklmnop0123"
    words = ["app", str(path), "--port", str(port), "--workspace", str(tmp_path / "workspace"), "--host", "0.0.0.0"]
    variables = {"STREAMLIT_SERVER_HEADLESS": "true", "RI_ANALYSIS_TOKEN": token}
    server = started.command(words, environment=os.environ | variables)
    stranger, guest = browser.new_context(), browser.new_context()
    try:
        await_health(f"http://127.0.0.1:{port}")
        page = stranger.new_page()
        refused = page.goto(f"http://127.0.0.1:{port}/accuracy?method=ties")
        assert refused is not None
        assert refused.status == 403
        expect(page.locator("body")).to_contain_text("it ends with a token")
        page = guest.new_page()
        page.goto(f"http://127.0.0.1:{port}/accuracy?method=ties&token={token}")
        settle(page, rest=0.6)
        assert "token" not in page.url
        expect(page.get_by_text("TIES").first).to_be_visible()
        page = guest.new_page()  # the cookie lets it in
        page.goto(f"http://127.0.0.1:{port}/")
        settle(page, rest=0.6)
    finally:
        stranger.close()
        guest.close()
        server.terminate()
        server.wait(20)


def test_a_typed_coefficient_out_of_range_is_replaced_and_that_is_said(visit: Visit) -> None:
    page = visit("merge")
    field = page.get_by_label("coefficient of Reds, typed")
    field.fill("40")
    field.press("Enter")
    said = page.locator(".ri-live-limit")
    expect(said).to_have_text("coefficient of Reds: you typed 40. Allowed: −10 to 10; 10 is used.")
    expect(field).to_have_value("10")
    settle(page, rest=0.6)
    expect(said).to_contain_text("10 is used")
    field.fill("0.5")
    field.press("Enter")
    expect(said).to_have_text("")


def test_a_typed_setting_out_of_range_is_replaced_and_that_is_said(visit: Visit) -> None:
    page = visit("resolve")
    field = page.get_by_role("textbox", name="Seed").or_(page.get_by_role("spinbutton", name="Seed"))
    field.fill("-3")
    field.press("Enter")
    expect(page.get_by_text("You typed −3. Allowed: 0 to 2147483647; 0 is used.")).to_be_visible()
    expect(field).to_have_value("0")


def test_a_link_that_is_wrong_in_part_says_so_above_the_page(visit: Visit) -> None:
    page = visit("accuracy", "method=tiess&off=Blues")
    notice = page.locator(".st-key-links\\.notice, [class*=st-key-links]").first
    expect(notice).to_contain_text("did you mean 'ties'?")
    top = page.locator("[data-testid=stMain] h1").bounding_box()
    box = notice.bounding_box()
    assert top is not None
    assert box is not None
    assert box["y"] < top["y"]
    assert "tiess" not in page.url
    page.get_by_role("button", name="Close").click()
    expect(notice).to_have_count(0)


def test_a_method_of_two_experts_offers_to_choose_them(visit: Visit) -> None:
    page = visit("accuracy", "method=slerp")
    expect(page.get_by_text("SLERP merges exactly 2 experts; 3 are switched on.")).to_be_visible()
    expect(page.locator(WORK)).to_have_count(0)
    page.get_by_role("button", name="Merge these").click()
    expect(page.locator(WORK).first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("are switched on")).to_have_count(0)
    assert "off=Blues" in page.url


def test_with_no_task_chosen_there_is_nothing_but_the_offer_to_choose(visit: Visit) -> None:
    page = visit("overview", "off=Reds,Greens,Blues")
    for name in MERGED:
        turn_to(page, name)
        expect(page.get_by_text("No task is switched on, so there is nothing to merge.")).to_be_visible()
        expect(page.locator(f"[data-testid=stMain] :is({WORK}, {ERROR})")).to_have_count(0)
        named = page.locator("[data-testid=stMain] button").filter(has_text=re.compile(r"\S"))
        expect(named).to_have_text(["Merge these"])
    page.get_by_role("button", name="Merge these").click()
    expect(page.locator(WORK).first).to_be_visible(timeout=60_000)
    assert "off=" not in page.url


def test_umap_is_drawn_when_it_is_chosen(visit: Visit) -> None:
    page = visit("embeddings")
    page.get_by_role("radio", name="UMAP").or_(page.get_by_role("button", name="UMAP")).first.click()
    page.get_by_text("UMAP fitted").or_(page.get_by_text("Noise floor:")).first.wait_for(timeout=300_000)
    expect(page.get_by_text("Showing PCA")).to_have_count(0)
    expect(page.locator(".ri-map canvas").first).to_be_visible()
