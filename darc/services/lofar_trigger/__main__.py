"""``python -m darc.services.lofar_trigger``: what supervisord starts."""

from darc.services.lofar_trigger.service import LOFARTrigger

LOFARTrigger.main()
