"""``python -m darc.services.amber_clustering``, which supervisord starts."""

from darc.services.amber_clustering.service import AMBERClustering

AMBERClustering.main()
