"""A cluster in a box: nodes with names, addresses, homes and sshd of their own on one machine.

Every node is a set of kernel namespaces. Nothing of it is visible outside, and it ends with the
program that created it. For tests and training; requires root.
"""

from simulator.box.box import Box
from simulator.box.check import unavailable
from simulator.box.namespaces import BoxError
from simulator.box.node import BoxNode

__all__ = ["Box", "BoxError", "BoxNode", "unavailable"]
