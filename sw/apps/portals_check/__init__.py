"""The application `portals_check`: each operation of Portals that the NIC has, compared with what must come of it.

`application.py` is what a scenario selects; `side.py` is what a rank has in hand; `checks.py` notes what was compared.
The steps stand in the other files, by subject: each a target's and an initiator's part, written from the specification
and computed in plain Python, never from the NIC.
"""

from sw.apps.portals_check.application import PortalsCheck

__all__ = ["PortalsCheck"]
