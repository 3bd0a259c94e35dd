"""``python -m darc.monitor``: what supervisord starts."""

from darc.monitor.node_monitor import main

main()
