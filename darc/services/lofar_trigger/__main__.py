"""``python -m darc.services.lofar_trigger``, which supervisord starts."""

from darc.services.lofar_trigger.service import LOFARTrigger

LOFARTrigger.main()
