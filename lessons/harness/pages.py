"""The pages of the app, compiled once for all runs.

To compile them takes a hundredth of a lesson's run. Python keeps its own compiled files the same
way, in the same folder.
"""

import os
import sys
from pathlib import Path

MODULE = "solutions.support.pages"


def load_pages() -> None:
    """Load all pages, if the lesson has any, from what an earlier run has compiled."""
    from jinja2 import FileSystemBytecodeCache

    pages = sys.modules[MODULE]
    templates = pages.get_templates()
    if templates.cache:
        return
    folder = Path(pages.__file__ or "").with_name("__pycache__")
    if os.access(folder, os.W_OK):
        templates.bytecode_cache = FileSystemBytecodeCache(str(folder))
    for name in templates.list_templates(["html"]):
        templates.get_template(name)
