"""Open311 GeoReport v2: residents' own programs report and read here, and matters go on to other cities' servers."""
