"""Looks at dashboards with Chromium; runs in Superset's environment, which has Playwright.

    look.py CHROMIUM URL FOLDER < {"password": ..., "pages": {name: path}}

It leaves a picture NAME.png of each page, and prints per page what stood on it and what its charts were answered.
Invariant: nothing but URL is reached; whatever else a page asks for is refused and told. It must not judge.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image  # type: ignore[import-not-found]
from playwright.sync_api import (  # type: ignore[import-not-found]
    BrowserContext,
    Page,
    Response,
    Route,
    sync_playwright,
)

WIDTH, HEIGHT = 1600, 3000
TIMEOUT_MS = 300_000
LOOKS = 50

CHARTS = "[data-test-chart-name]"
SHOWN = '[data-test="slice-container"], .ant-alert-error'
LOADED = f"""() => {{
    const charts = [...document.querySelectorAll('{CHARTS}')];
    return charts.length > 0 && charts.every(each => each.querySelector('{SHOWN}') && !each.querySelector('.loading'));
}}"""


class Browser:
    """One person who has signed in."""

    def __init__(self, context: BrowserContext, url: str, password: str) -> None:
        self.elsewhere: list[str] = []
        self._url = url
        self._answers: list[Response] = []
        context.set_default_timeout(TIMEOUT_MS)
        context.route("**/*", self._stay)
        self._page: Page = context.new_page()
        self._page.on("response", self._note)
        self._sign_in(password)

    def look(self, path: str, picture: Path) -> dict[str, Any]:
        """Open a dashboard, wait until every chart has said something, and picture all of it."""
        self._answers.clear()
        self._page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        self._page.goto(f"{self._url}{path}")
        self._page.wait_for_function(LOADED)
        self._page.set_viewport_size({"width": WIDTH, "height": self._bottom()})
        # A third of the size, and no difference to the eye.
        Image.open(io.BytesIO(self._stillness())).convert("RGB").quantize(256, dither=0).save(
            picture, optimize=True
        )
        return {
            "complaints": self._page.locator(".ant-alert-error").all_inner_texts(),
            "charts": self._charts(),
        }

    def _sign_in(self, password: str) -> None:
        self._page.goto(f"{self._url}/login/")
        field = self._page.locator("input[type=password]:visible")
        field.wait_for()
        self._page.locator("input[type=text]:visible").first.fill("admin")
        field.fill(password)
        field.press("Enter")
        self._page.wait_for_url(lambda url: "/login" not in url)

    def _stay(self, route: Route) -> None:
        if route.request.url.startswith((self._url, "data:", "blob:")):
            route.continue_()
            return
        self.elsewhere.append(route.request.url)
        route.abort()

    def _note(self, response: Response) -> None:
        if "/api/v1/chart/data" in response.url:
            self._answers.append(response)

    def _charts(self) -> dict[str, Any]:
        """What each chart was answered, by its title; the choices of a filter are asked for by no chart."""
        told = {_chart_of(each): _told(each) for each in self._answers}
        titles = self._page.locator(CHARTS).evaluate_all(
            "all => all.map(each => [Number(each.dataset.testChartId), each.dataset.testChartName])"
        )
        return {title: told.get(chart) for chart, title in titles}

    def _bottom(self) -> int:
        boxes: list[dict[str, float] | None] = [
            each.bounding_box() for each in self._page.locator(CHARTS).all()
        ]
        return round(max(box["y"] + box["height"] for box in boxes if box)) + 40

    def _stillness(self) -> bytes:
        """A picture that the next one equals: charts grow into their places."""
        before: bytes = self._page.screenshot()
        for _ in range(LOOKS):
            now: bytes = self._page.screenshot()
            if now == before:
                return now
            before = now
        raise TimeoutError("the page never comes to rest")


def _chart_of(response: Response) -> int | None:
    chart: int | None = json.loads(response.request.post_data)["form_data"].get("slice_id")
    return chart


def _told(response: Response) -> dict[str, Any]:
    """How a chart's only query was answered."""
    (result,) = response.json()["result"] if response.ok else ({},)
    return {"status": response.status, "error": result.get("error"), "rows": result.get("data", [])}


def main() -> None:
    chromium, url, folder = sys.argv[1:]
    wanted = json.load(sys.stdin)
    with sync_playwright() as playwright:
        # As root, as in a container, it refuses to put itself into a sandbox.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(timezone_id="UTC", locale="en-US")
        person = Browser(context, url, wanted["password"])
        pages = {
            name: person.look(path, Path(folder, f"{name}.png")) for name, path in wanted["pages"].items()
        }
        browser.close()
    json.dump({"pages": pages, "elsewhere": person.elsewhere}, sys.stdout)


if __name__ == "__main__":
    main()
