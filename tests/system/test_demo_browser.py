"""The demo as people meet it: ``twistd wsaas --demo`` and two tabs of Chromium, at desktop and phone width.

Set ``WSAAS_SCREENSHOTS`` to a directory to get pictures of what the tests saw.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.browser import start_browser
from tests.processes import PATIENCE, environment, start, start_gateway, twistd

DESKTOP, PHONE = (1280, 800), (390, 844)


class Tab:
    """One tab with the page in it."""

    def __init__(self, driver: Any, url: str, size: tuple[int, int]) -> None:
        self.driver = driver
        self.width, height = size
        self.phone = size == PHONE
        driver.switch_to.new_window("tab")
        self.handle = driver.current_window_handle
        metrics = {"width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": self.phone}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(url)
        self.until(lambda: self.data("status", "state") == "open" and self.name)

    def front(self) -> Tab:
        """:returns: this tab, as the one that the driver drives"""
        if self.driver.current_window_handle != self.handle:
            self.driver.switch_to.window(self.handle)
        return self

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until something is true of this tab, and return it."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        self.front()
        wait = WebDriverWait(
            self.driver, PATIENCE, poll_frequency=0.05, ignored_exceptions=[StaleElementReferenceException]
        )
        return wait.until(lambda _: condition())

    def find(self, name: str) -> Any:
        return self.front().driver.find_element("id", name)

    def all(self, selector: str) -> list[Any]:
        found: list[Any] = self.front().driver.find_elements("css selector", selector)
        return found

    def run(self, script: str, *arguments: Any) -> Any:
        return self.front().driver.execute_script(script, *arguments)

    def data(self, name: str, key: str) -> str | None:
        value: str | None = self.find(name).get_attribute(f"data-{key}")
        return value

    def text(self, name: str) -> str:
        """:returns: the text of an element, whether or not its view is shown"""
        return str(self.find(name).get_property("textContent"))

    @property
    def name(self) -> str:
        """What this tab's user is called, once it is known."""
        return str(self.run("return document.title.includes('·') ? document.title.split(' · ')[0] : ''"))

    def messages(self, kind: str) -> list[str]:
        """:returns: the chat's messages of one kind: chat, pushed, notice"""
        script = """return [...document.querySelectorAll(`#chat-log > li[data-type="${arguments[0]}"]`)]
            .map((item) => (item.querySelector(".bubble") || item).textContent)"""
        found: list[str] = self.run(script, kind)
        return found

    def calls(self) -> list[str]:
        """:returns: the HTTP log: direction, method and status of each request"""
        script = """return [...document.querySelectorAll("#http-log > li")]
            .map(({dataset}) => `${dataset.direction} ${dataset.method} ${dataset.status}`)"""
        found: list[str] = self.run(script)
        return found

    def show(self, view: str) -> None:
        """Choose what a narrow screen shows; a wide one shows all."""
        if self.phone:
            self.find(f"view-{view}").click()

    def say(self, text: str) -> None:
        self.show("chat")
        self.find("message").send_keys(text)
        self.find("send").click()

    def too_wide(self) -> int:
        """:returns: by how many pixels the page is wider than its window"""
        return int(self.run("return document.documentElement.scrollWidth")) - self.width


class DemoTestCase(SynchronousTestCase):
    """A demo and a browser; what tests of the page share."""

    def setUp(self) -> None:
        self.driver = start_browser(self)
        self.gateway = start_gateway(self, "--demo", PUBLISH_TOKEN="a-token")
        self.url = self.gateway.http_url + "/"

    def tab(self, size: tuple[int, int]) -> Tab:
        return Tab(self.driver, self.url, size)

    def picture(self, tab: Tab, name: str) -> None:
        """Save a screenshot in both colour schemes, if asked to."""
        if folder := os.environ.get("WSAAS_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            for scheme in ("dark", "light"):
                media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
                tab.front().driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
                tab.driver.execute_async_script(
                    "Promise.all(document.getAnimations().map((one) => one.finished)).finally(arguments[0])"
                )
                tab.driver.save_screenshot(str(Path(folder, f"{name}-{tab.width}-{scheme}.png")))

    def assert_clean(self, tab: Tab) -> None:
        """Nothing was loaded from elsewhere, and the browser had nothing to complain about."""
        names = tab.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        self.assertGreater(len(names), 1)
        self.assertEqual([name for name in names if not name.startswith(self.url)], [])
        self.assertEqual([entry["message"] for entry in tab.driver.get_log("browser")], [])

    def request(self, method: str, uri: str, body: str | None = None, headers: dict[str, str] | None = None) -> int:
        parts = urlsplit(uri)
        connection = HTTPConnection(parts.netloc, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request(method, parts._replace(scheme="", netloc="").geturl(), body, headers or {})
        return connection.getresponse().status


class DemoBrowserTests(DemoTestCase):
    def chat(self, size: tuple[int, int]) -> None:
        first, second = self.tab(size), self.tab(size)
        self.assertNotEqual(first.name, second.name)
        first.until(lambda: f"{second.name} joined" in first.messages("notice"))

        text = "Hello <b>second</b> tab, it's me"
        first.say(text)
        for tab in (first, second):
            tab.until(lambda tab=tab: text in tab.messages("chat"))  # type: ignore[misc]  # bound for this turn
            self.assertEqual(tab.all(".bubble b"), [], "data was taken for HTML")

        pushed = "it's <i>pushed</i>"
        second.show("push")
        second.find("push-text").clear()
        second.find("push-text").send_keys(pushed)
        second.find("push").click()
        second.until(lambda: "PUT → 200" in second.text("answer"))
        second.until(lambda: pushed in second.messages("pushed"))
        self.assertNotIn(pushed, first.messages("pushed"))

        for view in ("chat", "http", "push"):
            for tab in (first, second):
                tab.show(view)
                self.assertLessEqual(tab.too_wide(), 0, view)
            self.picture(first, f"before-{view}")

        name = second.name
        second.show("push")
        second.find("close").click()
        second.until(lambda: "DELETE → 200" in second.text("answer"))
        second.until(lambda: any("4001 “bye”" in notice for notice in second.messages("notice")))
        self.picture(second, "closed")
        first.until(lambda: f"{name} left · 4001 “bye” · closed by api" in first.messages("notice"))

        first.until(lambda: "callback DELETE 200" in first.calls())
        calls = first.calls()
        for expected in ("callback POST 200", "callback PUT 200", "push PUT 200", "push DELETE 200"):
            self.assertIn(expected, calls)
        self.assertEqual(calls[0], "callback POST 200", "requests stand in the order in which they were made")
        self.assertEqual(calls.count("push PUT 200"), 1, "the chat itself needs no request to the gateway")
        first.show("http")
        said = [card for card in first.all('#http-log > li[data-method="PUT"]') if text in card.text]
        self.assertIn("Ws-Publish text groups/chat", " ".join(said[0].text.split()))
        cards = first.all('#http-log > li[data-method="DELETE"][data-direction="callback"]')
        first.until(lambda: "Ws-Close-Code 4001" in " ".join(cards[-1].text.split()))
        cards[-1].find_element("css selector", "summary").click()
        first.until(lambda: "Ws-Closed-By: api" in cards[-1].text)
        self.picture(first, "after-http")
        first.show("chat")
        self.picture(first, "after-chat")

        second.until(lambda: second.data("status", "state") == "open" and second.name == name)
        for tab in (first, second):
            self.assert_clean(tab)

    def test_desktop(self) -> None:
        self.chat(DESKTOP)

    def test_phone(self) -> None:
        self.chat(PHONE)

    def test_320_pixels(self) -> None:
        """The width of a page that is enlarged to 400 % (WCAG 2.2, 1.4.10)."""
        tab = self.tab((320, 640))
        for view in ("chat", "http", "push"):
            tab.find(f"view-{view}").click()
            self.assertLessEqual(tab.too_wide(), 0, view)
            self.picture(tab, view)

    def test_everything_has_a_name(self) -> None:
        tab = self.tab(DESKTOP)
        elements = [found for found in tab.all("button, input, select, a, [tabindex]") if found.is_displayed()]
        self.assertGreater(len(elements), 15)
        for element in elements:
            self.assertTrue(element.accessible_name, element.get_attribute("outerHTML"))

    def test_push_to_the_other_tab(self) -> None:
        first, second = self.tab(DESKTOP), self.tab(DESKTOP)
        option = f'#target option:not([value="{first.text("ws-uri")}"])'
        first.until(lambda: first.all(option))
        first.all(option)[0].click()
        self.assertIn(second.name, first.text("push-label"))
        first.find("push").click()
        second.until(lambda: second.messages("pushed") == ["Hello from HTTP"])
        self.assertEqual(first.messages("pushed"), [])
        first.find("close").click()
        second.until(lambda: any("4001" in notice for notice in second.messages("notice")))

    def test_curl_lines(self) -> None:
        """What the page offers to copy is what a shell makes the same request of."""
        tab = self.tab(DESKTOP)
        tab.find("push-text").clear()
        tab.find("push-text").send_keys("don't $HOME `x`")
        curl, x, method, data, text, ws_uri = shlex.split(tab.text("push-curl"))
        self.assertEqual((curl, x, method, data), ("curl", "-X", "PUT", "-d"))
        self.assertEqual(ws_uri, tab.text("ws-uri"))
        form = {"Content-Type": "application/x-www-form-urlencoded"}  # what curl says of -d
        self.assertEqual(self.request(method, ws_uri, text, form), 200)
        tab.until(lambda: tab.messages("pushed") == ["don't $HOME `x`"])
        tab.until(lambda: tab.calls()[-1] == "push PUT 200")
        curl, x, method, ws_uri = shlex.split(tab.text("close-curl"))
        self.assertEqual(self.request(method, ws_uri), 200)
        tab.until(lambda: any("4001 “bye”" in notice for notice in tab.messages("notice")))

    def test_published_by_name(self) -> None:
        """From anywhere, with a token: to everybody in the chat, to one user; the page shows the requests."""
        first, second = self.tab(DESKTOP), self.tab(DESKTOP)
        headers = {"Content-Type": "text/plain", "Authorization": "Bearer a-token"}
        self.assertEqual(self.request("PUT", self.url + "groups/chat", "hello, all", headers), 200)
        self.assertEqual(self.request("PUT", f"{self.url}users/{quote(second.name)}", "hello, you", headers), 200)
        self.assertEqual(self.request("PUT", self.url + "groups/chat", "no token"), 401)
        second.until(lambda: second.messages("pushed") == ["hello, all", "hello, you"])
        first.until(lambda: first.messages("pushed") == ["hello, all"])
        first.until(lambda: "push PUT 401" in first.calls())
        shown = " ".join(card.text for card in first.all('#http-log > li[data-direction="push"]'))
        self.assertIn("/groups/chat", shown)
        self.assertIn(f"/users/{quote(second.name)}", shown)
        self.assertNotIn("a-token", shown)

    def test_copy(self) -> None:
        tab = self.tab(DESKTOP)
        grant = {"origin": self.gateway.http_url, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
        self.driver.execute_cdp_cmd("Browser.grantPermissions", grant)
        self.assertEqual(self.copied(tab, "close"), tab.text("close-curl"))
        # As on a page that is neither https: nor on localhost.
        tab.run("navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed'))")
        self.assertEqual(self.copied(tab, "push"), tab.text("push-curl"))

    def copied(self, tab: Tab, what: str) -> str:
        tab.find(f"{what}-copy").click()
        tab.until(lambda: tab.text(f"{what}-copy") == "Copied")
        text: str = tab.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
        return text

    def test_the_gateway_goes_and_comes(self) -> None:
        tab = self.tab(DESKTOP)
        name, ws_uri = tab.name, tab.text("ws-uri")
        self.gateway.stop()
        tab.until(lambda: tab.data("status", "state") == "lost")
        self.assertIn("Your connection was closed · 1001", " ".join(tab.messages("notice")))
        port = self.gateway.port
        where = {"WS_LISTEN": f"tcp:{port}:interface=127.0.0.1", "WS_HOSTNAME": f"http://127.0.0.1:{port}"}
        start(self, [*twistd(), "--demo"], environment(**where))
        tab.until(lambda: tab.data("status", "state") == "open" and tab.text("ws-uri") not in (ws_uri, "not connected"))
        self.assertEqual(tab.name, name)
        tab.say("back again")
        tab.until(lambda: "back again" in tab.messages("chat"))
        tab.until(lambda: tab.calls().count("callback POST 200") == 2)
