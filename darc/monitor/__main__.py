"""``python -m darc.monitor``, which supervisord starts."""

from darc.monitor.node_monitor import main

main()
