"""``python -m darc.services.offline_processing``, which supervisord starts."""

from darc.services.offline_processing.service import OfflineProcessing

OfflineProcessing.main()
