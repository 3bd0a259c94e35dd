"""``python -m darc.services.dada_trigger``: what supervisord starts."""

from darc.services.dada_trigger.service import DADATrigger

DADATrigger.main()
