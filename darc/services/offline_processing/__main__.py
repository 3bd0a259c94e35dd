"""``python -m darc.services.offline_processing``: what supervisord starts."""

from darc.services.offline_processing.service import OfflineProcessing

OfflineProcessing.main()
