"""``python -m darc.services.amber_clustering``: what supervisord starts."""

from darc.services.amber_clustering.service import AMBERClustering

AMBERClustering.main()
