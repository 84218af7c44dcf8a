"""Applications: what the processes of a job run."""

from sw.apps.application import Application
from sw.apps.random_access import RandomAccess

APPLICATIONS: dict[str, type[Application]] = {"random_access": RandomAccess}
