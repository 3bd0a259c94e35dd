"""``python -m darc.services.amber_listener``, which supervisord starts."""

from darc.services.amber_listener.service import AMBERListener

AMBERListener.main()
