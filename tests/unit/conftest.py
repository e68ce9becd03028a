"""Property tests are judged by what holds, never by how long a loaded machine takes."""

from hypothesis import HealthCheck, settings

settings.register_profile("wangge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wangge")
