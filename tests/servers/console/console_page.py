"""What tests of the console do on the page."""

# Keys, as WebDriver writes them.
BACKSPACE = "\ue003"
ARROW_UP, ARROW_DOWN, SHIFT, CONTROL, RELEASE = "\ue013\ue015\ue008\ue009\ue000"


class Console:
    """The page, as its user sees it."""

    def __init__(self, browser, server):
        self.browser, self.server = browser, server
        self.find, self.wait, self.expect = browser.find, browser.wait, browser.expect

    def visit(self, path):
        self.browser.driver.get(self.server.url(path, "http"))
        self.wait(lambda: self.find("#console").is_displayed())
        return self

    def connect(self, path=None, state="Open"):
        """Open a page and press its button until a state is reached."""
        if path is not None:
            self.visit(path)
        self.find("#connect").click()
        self.wait(lambda: self.state.startswith(state))
        return self

    @property
    def state(self):
        return self.find("#state").text

    @property
    def focused(self):
        return self.browser.driver.switch_to.active_element

    def choose(self, kind):
        self.find(f"[name=kind][value={kind}]").find_element("xpath", "..").click()

    def write(self, keys):
        self.find("#text").send_keys(keys)

    def messages(self, kind):
        """Return the texts of the messages of a kind that are shown."""
        found = self.browser.driver.find_elements("css selector", f".message.{kind}")
        return [
            message.find_element("css selector", ".body").text
            for message in found
            if message.is_displayed()
        ]

    def last(self, kind):
        """Wait for a message of a kind and return the last one."""
        self.wait(lambda: self.messages(kind))
        return self.messages(kind)[-1]

    def saved(self, folder, pattern):
        """Wait for a file that the browser saves, and return its path."""
        self.wait(lambda: [path.stat().st_size for path in folder.glob(pattern)] > [0])
        return next(folder.glob(pattern))

    def run(self, script, *arguments):
        return self.browser.run(script, *arguments)
