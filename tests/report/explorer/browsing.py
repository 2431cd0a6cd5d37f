"""A page of the explorer in a real browser, driven from outside: what people see, press and read."""

from __future__ import annotations

import re
import time
from contextlib import suppress

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

SETTLED = """return ['ready', 'whole', 'broken'].includes(document.documentElement.dataset.state)
    && !netpick.frame && !netpick.asked"""

PRESSED = """const [css, text] = arguments;
return [...document.querySelectorAll(css)].find(each => each.getAttribute('aria-label') === text ||
    each.checkVisibility() && each.innerText.trim() === text)"""

CHOSEN = """const [css, label] = arguments;
return [...document.querySelectorAll(css)].find(each => each.querySelector('span').innerText.trim() === label)
    ?.querySelector('select')"""


class Page:
    """A page that is open."""

    def __init__(self, browser, url):
        self.browser, self.driver, self.url = browser, browser.driver, url
        self.size, self.errors, self.requests = browser.size, browser.errors, browser.requests
        self.size(1280, 900)
        self.open()

    def open(self, fragment=""):
        """Open the page anew, at a fragment, once all its epochs are read."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}{fragment}")
        self.until("return document.documentElement.dataset.state === 'whole'")
        return self.settle()

    def until(self, condition, seconds=20):
        end = time.monotonic() + seconds
        while not self.js(condition):
            assert time.monotonic() < end, (condition, self.said())
            time.sleep(0.02)

    def settle(self):
        self.until(SETTLED)
        return self

    def js(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self, css):
        return self.js("return document.querySelector(arguments[0])?.innerText ?? ''", css).strip()

    def said(self):
        return self.text("#said")

    def press(self, text, within="body"):
        """Press the button that has a text or a label, as a mouse does."""
        button = self.js(PRESSED, f"{within} button, {within} summary", text)
        assert button, f"no button {text!r} in {within}"
        self.js("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
        button.click()
        return self.settle()

    def choose(self, label, value, within="body"):
        """Choose a value, by its text, in the field with a label."""
        field = self.js(CHOSEN, f"{within} label.choice", label)
        assert field, f"no field {label!r}"
        Select(field).select_by_visible_text(value)
        return self.settle()

    def type(self, css, *keys):
        self.find(css).send_keys(*keys)
        return self.settle()

    def keys(self, *keys, held=None):
        """Press keys wherever the focus is, while another one is held down."""
        chain = ActionChains(self.driver)
        if held:
            chain.key_down(held)
        chain.send_keys(*keys)
        if held:
            chain.key_up(held)
        chain.perform()
        return self.settle()

    def drag(self, css, *path, key=None):
        """Drag along points, given as shares of an element's width and height."""
        element = self.find(css)
        self.js("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        width, height = element.size["width"], element.size["height"]
        places = [(int((x - 0.5) * width), int((y - 0.5) * height)) for x, y in path]
        chain = ActionChains(self.driver, duration=20)
        if key:
            chain.key_down(key)
        chain.move_to_element_with_offset(element, *places[0])
        if len(places) == 1:
            chain.click()
        else:
            chain.click_and_hold()
            for place in places[1:]:
                chain.move_to_element_with_offset(element, *place)
            chain.release()
        if key:
            chain.key_up(key)
        chain.perform()
        return self.settle()

    def rows(self, title, columns=None):
        """Return the rows of the table beside a picture, all its parts one after another."""
        [box] = [each for each in self.all("details.listing") if title in each.text]
        if not box.get_attribute("open"):
            self.js("arguments[0].open = true", box)
            time.sleep(0.05)
        out = []
        while True:
            with suppress(StaleElementReferenceException):
                self.settle()
            part = self.js(
                "return [...arguments[0].querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.innerText))",
                box,
            )
            out += part
            if not self.js(
                "const b = [...arguments[0].querySelectorAll('.paging button')].at(-1);"
                "if (!b || b.disabled) return false; b.click(); return true",
                box,
            ):
                break
        self.js(
            "const b = arguments[0].querySelector('.paging button'); while (b && !arguments[0]."
            "querySelector('.paging button').disabled) arguments[0].querySelector('.paging button').click()",
            box,
        )
        return out if columns is None else [[row[c] for c in columns] for row in out]

    def table(self, css):
        """Return the cells of a table within an element."""
        return self.js(
            "return [...document.querySelectorAll(arguments[0] + ' tr')].map(r => [...r.cells].map(c => c.innerText))",
            css,
        )

    def selected(self):
        """Return the names of the selected networks."""
        return {row[0] for row in self.rows("The networks as a table") if row[3] == "yes"}

    def how_many(self):
        return int(re.match(r"[\d,]+", self.text("#selected"))[0].replace(",", ""))


__all__ = ["Keys", "Page"]
