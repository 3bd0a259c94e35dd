"""``python -m darc.services.amber_listener``: what supervisord starts."""

from darc.services.amber_listener.service import AMBERListener

AMBERListener.main()
