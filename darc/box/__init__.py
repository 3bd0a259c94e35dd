"""A cluster in a box: nodes with names, addresses, homes and sshd of their own on one machine.

Every node is a set of kernel namespaces. Nothing of it is visible outside, and all of it ends with
the program that made it. For tests and training; needs root.
"""

from darc.box.box import Box
from darc.box.check import unavailable
from darc.box.namespaces import BoxError
from darc.box.node import BoxNode

__all__ = ["Box", "BoxError", "BoxNode", "unavailable"]
