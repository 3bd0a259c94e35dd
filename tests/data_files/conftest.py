"""Property tests run beside others on few cores: how long one example takes says nothing."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
