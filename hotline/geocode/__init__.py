"""The geocoder: what place inside the district a text means, how surely, and why."""

from hotline.geocode.gazetteer import Gazetteer
from hotline.geocode.geocoder import Geocoder
from hotline.geocode.model import WHY, Answer, AreaEntry, Entry, Kind, Match, Status

__all__ = ["WHY", "Answer", "AreaEntry", "Entry", "Gazetteer", "Geocoder", "Kind", "Match", "Status"]
