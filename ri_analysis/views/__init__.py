"""What single pages are made of. No view knows of another: what two of them need stands in `ui`."""

from importlib import import_module
from pkgutil import iter_modules


def load() -> None:
    """Import every view: pages are there at once, and any page's address may hold what only another page reads."""
    for view in iter_modules(__path__):
        import_module(f"{__name__}.{view.name}")
