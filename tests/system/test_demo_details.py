"""Details of the demo's page: what is shown at the edges, when there is much, nothing, or no connection."""

from __future__ import annotations

import shlex

from tests.system.test_demo_browser import DESKTOP, PHONE, DemoTestCase, Tab

#: How far a list is from its end, in pixels.
TO_THE_END = """const list = document.getElementById(arguments[0]);
    return list.scrollHeight - list.scrollTop - list.clientHeight"""


class DemoDetailsTests(DemoTestCase):
    def to_the_end(self, tab: Tab, scroller: str) -> bool:
        """:returns: whether a list shows its end"""
        return float(tab.run(TO_THE_END, scroller)) < 2

    def is_shown(self, tab: Tab, name: str) -> bool:
        return bool(tab.find(name).is_displayed())

    def fill_log(self, tab: Tab, count: int = 20) -> None:
        """Push until the lists are longer than their panes."""
        before = len(tab.calls())
        for number in range(count):
            self.assertEqual(self.request("PUT", tab.text("ws-uri"), f"push {number}"), 200)
        tab.until(lambda: len(tab.calls()) == before + count and len(tab.messages("pushed")) == count)
        script = "const list = document.getElementById(arguments[0]); return list.scrollHeight > list.clientHeight"
        self.assertTrue(tab.run(script, "chat-log" if tab.phone else "http-scroll"))

    def test_filters_keep_the_end_of_the_list(self) -> None:
        tab = self.tab(DESKTOP)
        self.fill_log(tab)
        for name in ("filter-push", "filter-push", "filter-callback", "filter-push", "filter-push", "filter-callback"):
            tab.find(name).click()
            self.assertTrue(self.to_the_end(tab, "http-scroll"), name)
        tab.run("document.getElementById('http-scroll').scrollTop = 40")
        tab.until(lambda: not self.to_the_end(tab, "http-scroll"))
        tab.find("filter-callback").click()
        self.assertFalse(self.to_the_end(tab, "http-scroll"), "who has scrolled up stays there")

    def test_who_reads_a_card_stays_there(self) -> None:
        tab = self.tab(DESKTOP)
        self.fill_log(tab)
        tab.all("#http-log summary")[-1].click()
        tab.until(lambda: not self.to_the_end(tab, "http-scroll"))
        where = tab.run("return document.getElementById('http-scroll').scrollTop")
        self.assertEqual(self.request("PUT", tab.text("ws-uri"), "one more"), 200)
        tab.until(lambda: "one more" in tab.messages("pushed"))
        tab.until(lambda: tab.calls()[-1] == "push PUT 200" and self.is_shown(tab, "http-latest"))
        self.assertEqual(tab.run("return document.getElementById('http-scroll').scrollTop"), where)

    def test_an_empty_pane_says_why(self) -> None:
        for size in (DESKTOP, PHONE):
            tab = self.tab(size)
            tab.show("http")
            tab.until(lambda tab=tab: "callback PUT 200" in tab.calls())  # type: ignore[misc]  # bound for this turn
            self.assertFalse(self.is_shown(tab, "http-empty"))
            tab.find("filter-callback").click()
            self.assertEqual(tab.text("http-empty"), "No pushes so far. Callbacks are hidden.")
            tab.find("filter-push").click()
            self.assertEqual(tab.text("http-empty"), "Callbacks and pushes are hidden. Choose above what to show.")
            self.assertTrue(self.is_shown(tab, "http-empty"))
            self.picture(tab, "both-off")
            tab.find("filter-callback").click()
            self.assertFalse(self.is_shown(tab, "http-empty"))
            tab.find("http-clear").click()
            self.assertTrue(self.is_shown(tab, "http-empty"))
            self.assertIn("appears here", tab.text("http-empty"))
            tab.driver.close()
            tab.driver.switch_to.window(tab.driver.window_handles[0])

    def test_what_tells_of_a_lost_connection_hides_no_line(self) -> None:
        for size in (DESKTOP, PHONE):
            tab = self.tab(size)
            self.fill_log(tab)
            self.assertTrue(self.to_the_end(tab, "chat-log"))
            self.assertEqual(self.request("DELETE", tab.text("ws-uri")), 200)
            tab.until(lambda tab=tab: self.is_shown(tab, "lost"))  # type: ignore[misc]  # bound for this turn
            tab.until(lambda tab=tab: self.to_the_end(tab, "chat-log"))  # type: ignore[misc]  # ditto
            self.picture(tab, "lost")

    def test_copy_is_there_when_there_is_something_to_copy(self) -> None:
        tab = self.tab(DESKTOP)
        buttons = tab.all("[data-copy]")
        self.assertEqual([button.is_displayed() for button in buttons], [True] * 3)
        self.gateway.stop()
        tab.until(lambda: tab.data("status", "state") == "lost")
        self.assertEqual([button.is_displayed() for button in buttons], [False] * 3)
        self.picture(tab, "nothing-to-copy")

    def test_a_phone_shows_all_of_a_close_code(self) -> None:
        tab = self.tab(PHONE)
        tab.show("push")
        tab.find("close").click()
        tab.until(lambda: "push DELETE 200" in tab.calls())
        self.assertEqual(self.request("DELETE", f"{self.url}{'a' * 24}?code=4001&reason=bye"), 404)
        tab.until(lambda: tab.calls()[-1] == "push DELETE 404")
        for view, selector in (("http", "#http-log .target"), ("chat", "#ticker-text .target")):
            tab.show(view)
            tab.until(lambda selector=selector: "4001" in tab.all(selector)[-1].text)  # type: ignore[misc]  # for this turn
            self.picture(tab, f"close-code-{view}")
            for target in tab.all(selector):
                hidden = tab.run("return arguments[0].scrollWidth - arguments[0].clientWidth", target)
                self.assertLessEqual(hidden, 0, f"{view}: {target.text}")
            self.assertLessEqual(tab.too_wide(), 0, view)

    def test_an_empty_push_has_its_curl_line(self) -> None:
        tab = self.tab(DESKTOP)
        tab.find("push-text").clear()
        self.assertEqual(shlex.split(tab.text("push-curl"))[3:5], ["-d", ""])
        tab.find("push").click()
        tab.until(lambda: tab.messages("pushed") == ["(an empty message)"])
        # However the text got into the field: the line is that of the push.
        tab.run("document.getElementById('push-text').value = 'by a script'")
        tab.find("push").click()
        tab.until(lambda: "by a script" in tab.messages("pushed"))
        self.assertEqual(shlex.split(tab.text("push-curl"))[3:5], ["-d", "by a script"])

    def test_each_view_of_a_phone_counts_down(self) -> None:
        tab = self.tab(PHONE)
        tab.show("push")
        self.gateway.stop()
        tab.until(lambda: tab.data("status", "state") == "lost")
        for view in ("push", "http", "chat"):
            tab.show(view)
            tab.until(lambda: "Reconnecting in" in tab.find("lost-text").text)
            self.assertTrue(self.is_shown(tab, "reconnect"), view)
            self.assertLessEqual(tab.too_wide(), 0, view)
            self.picture(tab, f"lost-{view}")

    def test_nobody_is_called_alone_beside_others(self) -> None:
        first = self.tab(DESKTOP)
        alone = f"You are {first.name}. No other client is connected."
        self.assertIn(alone, first.messages("notice")[0])
        others = [self.tab(DESKTOP) for _ in range(2)]
        first.until(lambda: all(f"{other.name} joined" in first.messages("notice") for other in others))
        self.assertEqual(first.messages("notice")[0], f"You are {first.name}.")
        self.assertIn("2 other clients are connected", others[1].messages("notice")[0])
        self.assertFalse([notice for notice in first.messages("notice") if "No other client" in notice])
