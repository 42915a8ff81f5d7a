"""HTTP: our own routes under /tagbrush/v1, A1111's under /sdapi/v1, and who may use them."""

from .bodies import LimitBodies
from .checks import check_job
from .errors import ErrorBody, install_error_handlers
from .passwords import AskPassword
from .proxies import BehindProxy, Proxies
from .routes import include_routes
from .security import Hosts, Origins, OwnPagesOnly, TellTime
from .services import End, Page, PageState, Services

__all__ = [
    "AskPassword",
    "BehindProxy",
    "End",
    "ErrorBody",
    "Hosts",
    "LimitBodies",
    "Origins",
    "OwnPagesOnly",
    "Page",
    "PageState",
    "Proxies",
    "Services",
    "TellTime",
    "check_job",
    "include_routes",
    "install_error_handlers",
]
