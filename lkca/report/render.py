"""Filling the report's HTML templates: text is escaped by itself, an empty slot is an error."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parent / "templates"


def render(template: str, **slots: Any) -> str:
    """Fill a template of lkca/report/templates.

    Args:
        template: The file's name there.
        slots: What the template names; plain text is escaped.

    Raises:
        jinja2.UndefinedError: If the template names a slot that is not given.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(slots)
