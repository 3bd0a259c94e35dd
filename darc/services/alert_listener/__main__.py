"""``python -m darc.services.alert_listener``, which supervisord starts."""

from darc.services.alert_listener.service import AlertListener

AlertListener.main()
