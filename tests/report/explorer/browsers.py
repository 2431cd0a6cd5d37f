"""The browsers in which the page is tested, and what WebDriver has no words for: each says it in its own."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import time

SELENIUM = [] if importlib.util.find_spec("selenium") else ["selenium"]

PREFERENCES = {
    "marionette.port": 0,  # any that is free
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
}
"""Of Firefox: nothing of its own is on the page, and it calls nobody."""


class Chromium:
    """Chromium with its driver."""

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver_program = shutil.which("chromedriver")
    missing = (
        *(["chromium"] if not program else []), *(["chromedriver"] if not driver_program else []), *SELENIUM,
    )  # fmt: skip

    def __init__(self, profile):
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = self.program
        for argument in (
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(self.driver_program))

    def size(self, width, height, scale=1, dark=False, still=False):
        """Give the page so many CSS pixels, each of `scale` real ones, and what people asked their system for."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if still else "no-preference",
        }
        wanted = [{"name": name, "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})

    def errors(self):
        """Return what the browser complained of since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self):
        """Return what was asked of any network, disk or data URL since it was last asked."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def quit(self):
        self.driver.quit()


class Firefox:
    """Firefox by its own protocol: Debian has no geckodriver."""

    program = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
    missing = (*(["firefox"] if not program else []), *SELENIUM)

    def __init__(self, profile):
        from marionette import Marionette

        profile.joinpath("user.js").write_text(
            "".join(f'user_pref("{name}", {json.dumps(value)});\n' for name, value in PREFERENCES.items())
        )
        self.process = subprocess.Popen(
            [self.program, "--headless", "--marionette", "--remote-allow-system-access", "--profile", str(profile)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.driver = Marionette(port(profile))
        self.driver.set_script_timeout(30)

    def size(self, width, height, scale=1, dark=False, still=False):
        """Give the page so many CSS pixels, each of `scale` real ones, and what people asked their system for."""
        self.driver.chrome(
            """const [width, height, scale, scheme, still] = arguments;
            const {browsingContext, style} = gBrowser.selectedBrowser;
            for (const [side, size] of [['width', width], ['height', height]]) {
              for (const least of ['', 'min-', 'max-']) style.setProperty(least + side, `${size}px`);
            }
            browsingContext.overrideDPPX = scale;
            browsingContext.prefersColorSchemeOverride = scheme;
            Services.prefs.setIntPref('ui.prefersReducedMotion', still);""",
            width, height, scale, "dark" if dark else "light", int(still),
        )  # fmt: skip
        wanted, end = [width, height, scale], time.monotonic() + 10
        while (there := self.driver.execute_script("return [innerWidth, innerHeight, devicePixelRatio]")) != wanted:
            assert time.monotonic() < end, there
            time.sleep(0.02)

    def errors(self):
        """Return what the browser complained of since it was last asked."""
        return self.driver.chrome(
            """const all = Services.console.getMessageArray().filter(each => each instanceof Ci.nsIScriptError &&
              !(each.flags & each.warningFlag) && each.sourceName.startsWith('file:'));
            Services.console.reset();
            return all.map(each => each.errorMessage);"""
        )

    def requests(self):
        """Return what was asked of any network, disk or data URL since it was last asked."""
        return self.driver.execute_script(
            """const all = performance.getEntriesByType('resource').map(each => each.name);
            performance.clearResourceTimings();
            return all;"""
        )

    def quit(self):
        self.driver.quit()
        self.process.wait(20)


def port(profile, seconds=60):
    """Return the port that Firefox has taken, once it says so in its profile."""
    path, end = profile / "MarionetteActivePort", time.monotonic() + seconds
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < end, "Firefox has not begun"
        time.sleep(0.05)
    return int(path.read_text())
