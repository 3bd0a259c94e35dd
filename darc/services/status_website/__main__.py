"""``python -m darc.services.status_website``, which supervisord starts."""

from darc.services.status_website.service import StatusWebsite

StatusWebsite.main()
