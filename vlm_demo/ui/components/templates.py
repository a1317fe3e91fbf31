"""Templates: plain values → HTML, filled into the files of ``ui/templates``.

The only module that produces the page's HTML. Autoescape is on for every template, so that whatever a person, a picture
or a model wrote is text; a value that is HTML already is ``Markup``, and only what was rendered here becomes one.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

ENVIRONMENT = Environment(
    loader=PackageLoader("vlm_demo.ui"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, /, **values: Any) -> Markup:
    """Fill a template.

    Args:
        template: the file's name in ``ui/templates``, without its ``.html``.
        values: the template's variables; text is escaped, ``Markup`` is not.
    Raises:
        jinja2.TemplateNotFound: there is no such file.
        jinja2.UndefinedError: the template uses a value that was not given.
    """
    return Markup(ENVIRONMENT.get_template(f"{template}.html").render(values))
