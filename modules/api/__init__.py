"""HTTP: our own routes under /tagbrush/v1, A1111's under /sdapi/v1, and who may use them."""

from .errors import ErrorBody, install_error_handlers
from .routes import include_routes
from .security import AskPassword, Hosts, OwnPagesOnly, TellTime
from .services import Page, PageState, Services

__all__ = [
    "AskPassword",
    "ErrorBody",
    "Hosts",
    "OwnPagesOnly",
    "Page",
    "PageState",
    "Services",
    "TellTime",
    "include_routes",
    "install_error_handlers",
]
