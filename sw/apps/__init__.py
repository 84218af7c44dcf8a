"""Applications: what the processes of a job run."""

from sw.apps.application import Application
from sw.apps.forger import Forger
from sw.apps.portals_check import PortalsCheck
from sw.apps.random_access import RandomAccess

APPLICATIONS: dict[str, type[Application]] = {
    "forger": Forger,
    "portals_check": PortalsCheck,
    "random_access": RandomAccess,
}
