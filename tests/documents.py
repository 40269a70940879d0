"""The texts for users, whose blocks of code the tests run."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(page, language):
    """Return the blocks of code in a language, of a page such as "README.md"."""
    text = (ROOT / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
