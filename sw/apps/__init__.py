"""Applications: what the processes of a job run."""

from sw.apps.application import Application
from sw.apps.forger import Forger
from sw.apps.random_access import RandomAccess

APPLICATIONS: dict[str, type[Application]] = {"forger": Forger, "random_access": RandomAccess}
