"""``python -m darc.services.dada_trigger``, which supervisord starts."""

from darc.services.dada_trigger.service import DADATrigger

DADATrigger.main()
