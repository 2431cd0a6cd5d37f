"""Selenium's way into Firefox without geckodriver: what that translates WebDriver to, Firefox's own Marionette.

A message is JSON with its length in front: [0, number, command, parameters], and [1, number, error, result] back. Most
commands are WebDriver's own, some under another name.
"""

from __future__ import annotations

import json
import socket
import time

from selenium.webdriver.remote.command import Command
from selenium.webdriver.remote.webdriver import WebDriver

NAMES = {
    Command.GET: "Navigate",
    Command.GO_BACK: "Back",
    Command.GO_FORWARD: "Forward",
    Command.GET_CURRENT_URL: "GetCurrentURL",
    Command.W3C_EXECUTE_SCRIPT: "ExecuteScript",
    Command.W3C_EXECUTE_SCRIPT_ASYNC: "ExecuteAsyncScript",
    Command.FIND_CHILD_ELEMENT: "FindElement",
    Command.FIND_CHILD_ELEMENTS: "FindElements",
    Command.CLICK_ELEMENT: "ElementClick",
    Command.SEND_KEYS_TO_ELEMENT: "ElementSendKeys",
    Command.W3C_ACTIONS: "PerformActions",
    Command.GET_ELEMENT_VALUE_OF_CSS_PROPERTY: "GetElementCSSValue",
    Command.SCREENSHOT: "TakeScreenshot",
}
"""Commands that have another name there than in selenium."""


class Connection:
    """A socket to Firefox, that selenium takes for a driver's server."""

    def __init__(self, port, seconds=30):
        end = time.monotonic() + seconds
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.number = 0
        self.text = b""
        self._message()  # who is there

    def execute(self, command, parameters):
        """Do what selenium asks, and answer as a driver's server does."""
        parameters = {key: value for key, value in parameters.items() if key != "sessionId"}
        if command == Command.NEW_SESSION:
            parameters = parameters["capabilities"]["alwaysMatch"]
        elif command in (Command.FIND_CHILD_ELEMENT, Command.FIND_CHILD_ELEMENTS):
            parameters["element"] = parameters.pop("id")
        elif command == Command.SCREENSHOT:
            parameters["full"] = False
        error, value = self.ask(f"WebDriver:{NAMES.get(command, command[0].upper() + command[1:])}", parameters)
        if error:
            return {"status": 500, "value": json.dumps({"value": error})}
        return {"value": value["value"] if isinstance(value, dict) and set(value) == {"value"} else value}

    def ask(self, name, parameters):
        """Send a command; return error and result."""
        self.number += 1
        content = json.dumps([0, self.number, name, parameters]).encode()
        self.socket.sendall(b"%d:%b" % (len(content), content))
        _, number, error, value = self._message()
        assert number == self.number
        return error, value

    def _message(self):
        while b":" not in self.text:
            self.text += self._some()
        length, _, self.text = self.text.partition(b":")
        while len(self.text) < int(length):
            self.text += self._some()
        content, self.text = self.text[: int(length)], self.text[int(length) :]
        return json.loads(content)

    def _some(self):
        some = self.socket.recv(2**20)
        if not some:
            raise ConnectionError("Firefox has gone")
        return some

    def close(self):
        self.socket.close()


class Marionette(WebDriver):
    """A driver of the Firefox that listens at a port."""

    def __init__(self, port):
        from selenium.webdriver import FirefoxOptions

        self.marionette = Connection(port)
        super().__init__(command_executor=self.marionette, options=FirefoxOptions())
        self._is_remote = False  # Firefox reads the files of this machine

    def chrome(self, script, *arguments):
        """Run a script with the rights of the browser itself."""
        self.marionette.ask("Marionette:SetContext", {"value": "chrome"})
        try:
            return self.execute_script(script, *arguments)
        finally:
            self.marionette.ask("Marionette:SetContext", {"value": "content"})

    def quit(self):
        self.marionette.ask("Marionette:Quit", {"flags": ["eForceQuit"]})
        self.marionette.close()
