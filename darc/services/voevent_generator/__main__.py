"""``python -m darc.services.voevent_generator``, which supervisord starts."""

from darc.services.voevent_generator.service import VOEventGenerator

VOEventGenerator.main()
